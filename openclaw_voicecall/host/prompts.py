"""What a host's agent is told about a telephone call, by the name that hosts know it under."""

from openclaw_voicecall.api.prompts import CALLER_CHARS, said_last, spoken_style

__all__ = ["CALLER_CHARS", "said_last", "spoken_style"]
