"""The caller's side of a speech-to-speech session: when they talk, and what they said.

What they said is transcribed beside the talk, so the words of a later utterance may come first; they leave in order.
"""

from collections.abc import Callable
from typing import Any, Final

from openclaw_voicecall.api.realtime import CallerSaid, RealtimeEvent
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.media.audio import SAMPLE_RATE, seconds
from openclaw_voicecall.providers.openai.items import MAX_ITEMS, Items
from openclaw_voicecall.providers.openai.voice_settings import VoiceSettings

WORDS_LIMIT: Final = 10.0
"""Seconds after which the words of an utterance are given up, so that those of later ones do not wait for ever."""


class Caller:
    """What is known of the caller in one session.

    Args:
        settings: What the session was asked for.
        tell: Takes what happens.
    """

    def __init__(self, settings: VoiceSettings, tell: Callable[[RealtimeEvent], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._items = Items()
        self._shown: dict[str, str] = {}
        self._sent = 0
        self._speaking = False
        self._now_ms = 0

    def sent(self, size: int) -> None:
        """Count bytes of the caller's audio; OpenAI counts its times in them."""
        self._sent += size

    def tick(self, now: float) -> None:
        """Time goes on; `now` is monotonic, seconds."""
        self._now_ms = round(now * 1000)
        self._give_finals()

    def on_started(self, event: dict[str, Any]) -> None:
        """`input_audio_buffer.speech_started`. Its time includes the padding from before the speech."""
        if not self._speaking and isinstance(event.get("item_id"), str):  # it silences the agent
            self._speaking = True
            padding = self._settings.turn_detection.get("prefix_padding_ms", 0)
            self._tell(SpeechEdge(speaking=True, ago=self._ago(event.get("audio_start_ms"), padding)))

    def on_stopped(self, event: dict[str, Any]) -> None:
        """`input_audio_buffer.speech_stopped`. Its time includes the silence that was waited for."""
        if self._speaking:
            self._speaking = False
            waited = self._settings.turn_detection.get("silence_duration_ms", 0)
            self._tell(SpeechEdge(speaking=False, ago=self._ago(event.get("audio_end_ms"), -waited)))

    def on_committed(self, event: dict[str, Any]) -> None:
        """`input_audio_buffer.committed`: an utterance is over, and its place in the talk is known."""
        item_id, previous = event.get("item_id"), event.get("previous_item_id")
        if isinstance(item_id, str) and item_id:
            self._items.commit(item_id, previous if isinstance(previous, str) else None, self._now_ms)
            self._give_finals()

    def on_words(self, what: str, event: dict[str, Any]) -> None:
        """`conversation.item.input_audio_transcription.delta`, `completed` and `failed`."""
        item_id, words = event.get("item_id"), event.get("delta" if what == "delta" else "transcript")
        if not isinstance(item_id, str) or not item_id:
            return
        text = words if isinstance(words, str) else ""
        if what == "delta":
            self._items.add(item_id, text)
            self._give_interim(item_id)
        elif what in ("completed", "failed"):
            self._items.finish(item_id, text if what == "completed" else "", self._now_ms)
            self._give_finals()

    def _give_interim(self, item_id: str) -> None:
        words = self._items.words(item_id)
        if words and words != self._shown.get(item_id):
            self._shown[item_id] = words
            self._tell(CallerSaid(item_id, words, final=False))

    def _give_finals(self) -> None:
        self._items.give_up(self._now_ms - round(WORDS_LIMIT * 1000), MAX_ITEMS)
        for item in self._items.take_complete():
            self._shown.pop(item.id, None)
            self._tell(CallerSaid(item.id, item.text.strip(), final=True))

    def _ago(self, at: Any, correction: float) -> float:
        """Seconds of audio since a time in the session's audio; 0 where none passes through here."""
        if self._settings.sip or not isinstance(at, int | float) or not 0 <= at < 1e9:
            return 0.0
        return max(0.0, seconds(self._sent - round((at + correction) * SAMPLE_RATE / 1000)))
