"""What a client of an emulated Realtime session may want of it: one handler for each client event.

Client events are those of the OpenAI SDK, `types/realtime/realtime_client_event`.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import numpy as np

from openclaw_voicecall.media.g711 import alaw_to_ulaw, pcm_to_ulaw
from openclaw_voicecall.testing.emulators import openai_checks, openai_voice_sessions
from openclaw_voicecall.testing.emulators.openai_checks import SessionRefused
from openclaw_voicecall.testing.emulators.openai_conversation import checked_item
from openclaw_voicecall.testing.emulators.openai_talk import Talk
from openclaw_voicecall.testing.emulators.openai_voice_records import UnjustRefusal
from openclaw_voicecall.testing.emulators.serving import Fault

EVENTS: Final = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "output_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.truncate",
    "conversation.item.delete",
    "conversation.item.retrieve",
    "response.create",
    "response.cancel",
)


class Orders:
    """Carries out what clients order of one session."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._session = talk.session
        self._emulator = talk.emulator

    async def take(self, event: dict[str, Any]) -> None:
        """Carry out an event of the client.

        Raises:
            SessionRefused: The vendor does not.
        """
        name = event.get("type")
        openai_checks.check_type(event.get("event_id", ""), str, "event_id")
        handle = self._handlers().get(str(name))
        if handle is None:
            openai_checks.required(event, "type", "type")
            raise openai_checks.unsupported_value(name, EVENTS, "type")
        await handle(event)

    def _handlers(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[None]]]:
        return dict(
            zip(
                EVENTS,
                (
                    self._update,
                    self._append,
                    self._commit,
                    self._clear,
                    self._clear_output,
                    self._create_item,
                    self._truncate,
                    self._delete,
                    self._retrieve,
                    self._create_response,
                    self._cancel,
                ),
                strict=True,
            )
        )

    async def _update(self, event: dict[str, Any]) -> None:
        self._session.updates.append(event)
        try:
            after = openai_voice_sessions.updated_session(
                self._session.config,
                event,
                audio_made=self._session.audio_made,
                prompts=self._emulator.prompts,
            )
        except SessionRefused:
            # What was negotiated for the line is lost with the rest.
            self._talk.static = self._talk.static or self._talk.line is not None
            raise
        match self._emulator.take_fault("refuse-update", "slow-start", "no-session-updated"):
            case Fault(name="refuse-update", options=options):
                param = options.get("param", "session.type")
                message = options.get("message", f"Missing required parameter: '{param}'.")
                if options.get("static"):
                    self._talk.lose_formats()
                raise UnjustRefusal(message, options.get("code", "missing_required_parameter"), param)
            case Fault(name="slow-start", options=options):
                self._talk.spawn(self._talk.put_in_force(after, float(options.get("seconds", 1.0))))
            case None:
                await self._talk.put_in_force(after)

    async def _append(self, event: dict[str, Any]) -> None:
        audio = decoded(event)
        if self._talk.line is not None:
            message = "Audio cannot be appended to the input of a SIP session."
            raise SessionRefused(message, "invalid_value", "audio")
        self._session.appends += 1
        if not self._session.ready:
            # The vendor's default is PCM at 24 kHz: what a phone sends is noise to it.
            if not self._session.early:
                self._emulator.refuse("input_audio_buffer.append", "audio before session.updated")
            self._session.early += len(audio)
            return
        await self._talk.hear(as_mulaw(audio, self._session.config["audio"]["input"]["format"]["type"]))

    async def _commit(self, event: dict[str, Any]) -> None:
        _bare(event)
        await self._talk.commit_all()

    async def _clear(self, event: dict[str, Any]) -> None:
        _bare(event)
        await self._talk.forget_input()

    async def _clear_output(self, event: dict[str, Any]) -> None:
        _bare(event)
        if self._talk.line is None:
            message = "'output_audio_buffer.clear' is supported on WebRTC and SIP sessions only."
            raise SessionRefused(message, "invalid_value", "type")
        await self._talk.cut_line()

    async def _create_item(self, event: dict[str, Any]) -> None:
        item = self._talk.conversation.create(event, self._talk.next_id("item"))
        if item.type == "function_call_output":
            self._talk.results.append(item.output)
        for name in ("conversation.item.added", "conversation.item.done"):
            await self._talk.tell_item(name, item)

    async def _truncate(self, event: dict[str, Any]) -> None:
        item = self._talk.conversation.truncate(event)
        place = {"item_id": item.id, "content_index": 0, "audio_end_ms": item.truncated_ms}
        await self._talk.send("conversation.item.truncated", **place)

    async def _delete(self, event: dict[str, Any]) -> None:
        item = self._talk.conversation.delete(event)
        await self._talk.send("conversation.item.deleted", item_id=item.id)

    async def _retrieve(self, event: dict[str, Any]) -> None:
        item = self._talk.conversation.retrieve(event)
        await self._talk.send("conversation.item.retrieved", item=item.wire())

    async def _create_response(self, event: dict[str, Any]) -> None:
        openai_checks.allow_keys(event, ("type", "event_id", "response"), "")
        asked = event.get("response", {})
        openai_voice_sessions.check_response(
            asked, self._session.config, audio_made=self._session.audio_made, prompts=self._emulator.prompts
        )
        for index, item in enumerate(asked.get("input", ())):
            if item.get("type") != "item_reference":
                checked_item(item, "", f"response.input[{index}]")
        active = self._talk.active_response
        if active and asked.get("conversation", "auto") == "auto":
            message = (
                f"Conversation already has an active response in progress: {active}. "
                "Wait until the response is finished before creating a new one."
            )
            raise SessionRefused(message, "conversation_already_has_active_response", None)
        shape = asked.get("audio", {}).get("output", {}).get("format", {"type": "audio/pcmu"})
        if self._talk.line is not None and shape["type"] != "audio/pcmu":
            self._talk.static = True
        await self._talk.respond("asked", asked)

    async def _cancel(self, event: dict[str, Any]) -> None:
        openai_checks.allow_keys(event, ("type", "event_id", "response_id"), "")
        openai_checks.check_type(event.get("response_id", ""), str, "response_id")
        active = self._talk.active_response
        if not active or event.get("response_id", active) != active:
            message = "Cancellation failed: no active response found"
            raise SessionRefused(message, "response_cancel_not_active", None)
        await self._talk.cancel_response("client_cancelled")


def decoded(event: Mapping[str, Any]) -> bytes:
    """The audio of an `input_audio_buffer.append`.

    Raises:
        SessionRefused: It has none.
    """
    encoded = openai_checks.required(event, "audio", "audio")
    openai_checks.allow_keys(event, ("type", "event_id", "audio"), "")
    openai_checks.check_type(encoded, str, "audio")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        text = "Invalid 'audio'. Expected base64-encoded audio bytes but got an invalid value."
        raise SessionRefused(text, "invalid_value", "audio") from None


def as_mulaw(audio: bytes, kind: str) -> bytes:
    """Audio of a format as mu-law at 8 kHz; of 24 kHz PCM every third sample is taken."""
    if kind == "audio/pcm":
        return pcm_to_ulaw(np.frombuffer(audio[: len(audio) // 2 * 2], "<i2")[::3].tobytes())
    return alaw_to_ulaw(audio) if kind == "audio/pcma" else audio


def _bare(event: Mapping[str, Any]) -> None:
    openai_checks.allow_keys(event, ("type", "event_id"), "")
