"""The telephone as a platform of hermes' gateway: so the gateway starts and stops our service with its own channels."""

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openclaw_voicecall.host.hermes.line import PhoneLine

NO_CHAT = "a telephone takes no chat messages; use the tool voice_call"


def adapter(config: Any, line: "PhoneLine", platform: str) -> Any:
    """What the gateway makes of `config` for our platform; hermes' base class is there in its gateway only."""
    from gateway.config import Platform  # noqa: PLC0415 as above
    from gateway.platforms.base import BasePlatformAdapter, SendResult  # noqa: PLC0415 as above

    class Telephone(BasePlatformAdapter):  # type: ignore[misc] # hermes has no types
        """Opens the phone line with the gateway and closes it with it. Talk does not pass through it."""

        async def connect(self, *, is_reconnect: bool = False) -> bool:
            """Begin to open the line; the gateway need not wait for speech engines."""
            line.start()
            return True

        async def disconnect(self) -> None:
            """Let live calls finish for a while, and stop."""
            await asyncio.to_thread(line.stop)

        async def send(self, chat_id: str, content: str, *_: Any, **__: Any) -> Any:
            """Refuse: there is no chat."""
            return SendResult(success=False, error=NO_CHAT)

        async def get_chat_info(self, chat_id: str) -> dict[str, Any]:
            """Nothing is known of a chat that does not exist."""
            return {"name": chat_id, "type": "dm"}

    return Telephone(config, Platform(platform))
