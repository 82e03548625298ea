"""The service under test, as a Twilio user would have configured it, on a core of its own."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load.carrier import OURS
from load.process import pinned
from load.vendors import ACCOUNT, AUTH_TOKEN, CHAT_KEY, OPENAI_KEY, VOICE, VOICE_KEY
from openclaw_voicecall.testing.service import RunningService, ServiceCrashed

PATH = "/voice/webhook"


class NotStarted(Exception):
    """The service did not get ready; the message says why in words for whoever runs the benchmark."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How the service is run."""

    cores: tuple[int, ...] = ()
    """Where it runs; anywhere if there are none."""
    workers: int = 1
    speculation: bool = True
    inside: Sequence[str] = ()
    """What to put before it, such as a profiler."""


class _Serving(RunningService):
    """The service with its public address known before its start, and perhaps with workers."""

    def __init__(self, state: Path, port: int, config: dict[str, Any], setting: Setting) -> None:
        inside = (*pinned(setting.cores), *setting.inside)
        super().__init__(state, port=port, config=config, inside=inside)
        self._workers = setting.workers

    def _common(self) -> list[str]:
        workers = ["--workers", str(self._workers)] if self._workers > 1 else []
        return [*workers, *super()._common()]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def webhook(port: int) -> str:
    """Where calls to the service are announced."""
    return f"http://127.0.0.1:{port}{PATH}"


def configuration(port: int, vendors: str, *, calls: int, setting: Setting) -> dict[str, Any]:
    """Settings for so many calls over vendors at an address."""
    config: dict[str, Any] = {
        "provider": "twilio",
        "twilio": {"accountSid": ACCOUNT, "authToken": AUTH_TOKEN, "apiBaseUrl": vendors},
        "fromNumber": OURS,
        "publicUrl": webhook(port),
        "inboundPolicy": "open",
        "inboundGreeting": "Hello, this is an AI assistant. How can I help you?",
        "maxConcurrentCalls": calls + 20,
        "maxDurationSeconds": 3600,
        "streaming": {
            "provider": "openai",
            "maxConnections": calls + 20,
            "maxPendingConnections": calls + 64,
            "providers": {
                "openai": {"apiKey": OPENAI_KEY, "baseUrl": f"{vendors}/v1", "silenceDurationMs": 500}
            },
        },
        "responseModel": "xai/grok-4.3",
        "responders": {"xai": {"apiKey": CHAT_KEY, "baseUrl": f"{vendors}/v1"}},
        "tts": {
            "provider": "elevenlabs",
            "providers": {"elevenlabs": {"apiKey": VOICE_KEY, "baseUrl": vendors, "speakerVoiceId": VOICE}},
        },
        "logging": {"level": "warning"},
    }
    if not setting.speculation:
        config["endpointing"] = {"speculate": False}
    return config


@contextmanager
def serving(
    folder: Path, port: int, vendors: str, *, calls: int, setting: Setting
) -> Iterator[RunningService]:
    """Run the service; its state goes below `folder`. Raises `NotStarted`."""
    config = configuration(port, vendors, calls=calls, setting=setting)
    service = _Serving(folder / "state", port, config, setting)
    try:
        service.__enter__()
    except ServiceCrashed as error:
        raise NotStarted(_why(str(error), setting)) from None
    try:
        yield service
    except BaseException as error:
        service.__exit__(type(error), error, error.__traceback__)
        raise
    service.__exit__(None, None, None)


def _why(said: str, setting: Setting) -> str:
    if not setting.speculation and "speculate" in said:
        return f"this version has no setting endpointing.speculate, so --no-speculation is of no use:\n{said}"
    if setting.workers > 1 and "No such option" in said:
        return f"this version's `serve` has no option --workers:\n{said}"
    return said
