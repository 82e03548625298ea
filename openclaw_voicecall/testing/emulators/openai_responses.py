"""One response of an emulated Realtime session: words and sound in pieces, calls of functions, and how it ends.

The events and their order are those of the OpenAI SDK, `types/realtime/response_*_event` and `conversation_item_*`.
Sound is generated faster than it is heard, so that a client that does not tell sent from played is found out.
"""

import asyncio
import base64
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from openclaw_voicecall.media.g711 import ulaw_to_alaw, ulaw_to_pcm
from openclaw_voicecall.testing.emulators.openai_conversation import BYTES_PER_MS, CHARACTER_MS, Item
from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse
from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.voices import babble

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.openai_talk import Talk

TOKEN_MS: Final = 50
"""How much sound a token of output is."""
AHEAD: Final = 20
"""How many characters the words are ahead of the sound."""
FAULTS: Final = (
    "response-failed",
    "stall",
    "mid-sentence-close",
    "double-response",
    "late-deltas",
    "static",
    "silence",
)


@dataclass(slots=True)
class ResponseRecord:
    """What became of one response."""

    id: str
    why: str
    """As in `Cue.why`."""
    voice: str
    """In whose voice it was."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """The `response` of the `response.create`; empty where the vendor began by itself."""
    status: str = "in_progress"
    reason: str = ""
    """Why it was cancelled or is incomplete."""
    text: str = ""
    """What was to be said in the end, all of it."""
    items: list[Item] = field(default_factory=list)


class Response:
    """Generates one response.

    Args:
        talk: Where it belongs.
        record: What tests look at.
        reply: What it says.
        fault: What goes wrong with it.
    """

    def __init__(self, talk: "Talk", record: ResponseRecord, reply: Reply, fault: Fault | None) -> None:
        self._talk = talk
        self.record = record
        self._reply = reply
        self._fault = fault.name if fault else ""
        self._options: Mapping[str, Any] = fault.options if fault else {}
        config, asked = talk.session.config, record.asked
        self._in_conversation = asked.get("conversation", "auto") == "auto"
        self._modalities = asked.get("output_modalities", config["output_modalities"])
        self._format = (
            asked.get("audio", {}).get("output", {}).get("format", config["audio"]["output"]["format"])
        )
        self._limit = asked.get("max_output_tokens", config["max_output_tokens"])
        self._stopped = asyncio.Event()
        self._finished = asyncio.Event()
        self._tokens = [0, 0]
        """Of text and of sound."""

    async def run(self) -> None:
        """Give the response from its beginning to its end."""
        try:
            await self._talk.send("response.created", response=self._wire())
            limits = [{"name": "tokens", "limit": 200_000, "remaining": 190_000, "reset_seconds": 3.0}]
            await self._talk.send("rate_limits.updated", rate_limits=limits)
            await self._pause(self._reply.delay)
            if self._fault == "response-failed":
                self.record.status = "failed"
            else:
                if self._reply.text and not self._stopped.is_set():
                    await self._speak()
                for call in self._reply.calls:
                    if not self._stopped.is_set():
                        await self._call(call)
            await self._end()
        finally:
            self._finished.set()

    async def cancel(self, reason: str) -> None:
        """End it now; returns when its end was told."""
        self.record.reason = self.record.reason or reason
        self._stopped.set()
        await self._finished.wait()

    async def _speak(self) -> None:
        talk, text = self._talk, self._reply.text
        item = Item(talk.next_id("item"), "message", "assistant", status="in_progress")
        item.spoken = self._modalities == ["audio"]
        place = await self._open(item)
        part = {"type": "audio", "transcript": ""} if item.spoken else {"type": "text", "text": ""}
        place = {**place, "content_index": 0}
        await talk.send("response.content_part.added", **place, part=part)
        kind = "output_audio_transcript" if item.spoken else "output_text"
        audio = babble(text, seed=self.record.voice)
        step = talk.emulator.delta_ms * BYTES_PER_MS
        trouble = len(audio) // 2 if self._fault in ("stall", "mid-sentence-close") else len(audio) + 1
        for at in range(0, len(audio), step):
            if self._stopped.is_set() or self._is_enough(item):
                break
            if at >= trouble:
                await self._get_into_trouble()
                break
            ahead = at // BYTES_PER_MS + talk.emulator.delta_ms + AHEAD * CHARACTER_MS
            if words := _words_until(text, len(item.text), ahead // CHARACTER_MS):
                item.text += words
                await talk.send(f"response.{kind}.delta", **place, delta=words)
            if item.spoken:
                await self._sound(place, item, audio[at : at + step])
            await self._pause(talk.emulator.delta_interval)
        if not self._stopped.is_set() and self.record.status == "in_progress":
            rest, item.text = text[len(item.text) :], text
            if rest:
                await talk.send(f"response.{kind}.delta", **place, delta=rest)
        await self._close(item, place, kind)
        if self._fault == "late-deltas" and self._broken and item.spoken and talk.line is None:
            talk.spawn(self._straggle(place, audio[item.audio_ms * BYTES_PER_MS :], step))

    async def _sound(self, place: Mapping[str, Any], item: Item, piece: bytes) -> None:
        talk = self._talk
        if self._fault == "static" or talk.static:
            piece = random.randbytes(len(piece))
        elif self._fault == "silence":
            piece = b"\xff" * len(piece)
        talk.session.audio_made = True
        item.audio_ms += len(piece) // BYTES_PER_MS
        self._tokens[1] = math.ceil(item.audio_ms / TOKEN_MS)
        if talk.line is None:
            await talk.send("response.output_audio.delta", **place, delta=encoded(piece, self._format))
        else:
            talk.line.play(self.record.id, item.id, piece)

    async def _close(self, item: Item, place: Mapping[str, Any], kind: str) -> None:
        talk = self._talk
        self._tokens[0] += len(item.text.split())
        item.status = (
            "completed" if self.record.status == "in_progress" and not self._broken else "incomplete"
        )
        if item.spoken:
            await talk.send("response.output_audio.done", **place)
            await talk.send(f"response.{kind}.done", **place, transcript=item.text)
            part = {"type": "audio", "transcript": item.text}
        else:
            await talk.send(f"response.{kind}.done", **place, text=item.text)
            part = {"type": "text", "text": item.text}
        await talk.send("response.content_part.done", **place, part=part)
        await self._complete(item, place["output_index"])

    async def _call(self, call: ToolUse) -> None:
        talk = self._talk
        item = Item(talk.next_id("item"), "function_call", name=call.name, status="in_progress")
        item.call_id = talk.next_id("call")
        place = {**await self._open(item), "call_id": item.call_id}
        for at in range(0, len(call.written), 16):
            if self._stopped.is_set():
                break
            item.arguments += call.written[at : at + 16]
            await talk.send(
                "response.function_call_arguments.delta", **place, delta=call.written[at : at + 16]
            )
        self._tokens[0] += len(item.arguments) // 4 + 1
        item.status = "incomplete" if self._broken else "completed"
        done = "response.function_call_arguments.done"
        await talk.send(done, **place, name=item.name, arguments=item.arguments)
        await self._complete(item, place["output_index"])

    async def _open(self, item: Item) -> dict[str, Any]:
        talk = self._talk
        place = {"response_id": self.record.id, "output_index": len(self.record.items)}
        self.record.items.append(item)
        await talk.send("response.output_item.added", **place, item=item.wire())
        if self._in_conversation:
            talk.conversation.add(item)
            await talk.tell_item("conversation.item.added", item)
        return {**place, "item_id": item.id}

    async def _complete(self, item: Item, index: int) -> None:
        if self._in_conversation:
            await self._talk.tell_item("conversation.item.done", item)
        place = {"response_id": self.record.id, "output_index": index}
        await self._talk.send("response.output_item.done", **place, item=item.wire())

    async def _end(self) -> None:
        record = self.record
        if record.status == "in_progress":
            record.status = "cancelled" if self._stopped.is_set() else "completed"
        self._talk.response_ended(self)
        if self._talk.line is not None:
            self._talk.line.finish(record.id)
        await self._talk.send("response.done", response=self._wire())
        if self._fault == "double-response" and record.status == "completed":
            await self._talk.respond(record.why, record.asked, again=self._reply)

    async def _straggle(self, place: Mapping[str, Any], rest: bytes, step: int) -> None:
        """Sound of a reply that is over, as it comes when a generator is slow to hear of it."""
        await self._finished.wait()
        for at in range(0, min(len(rest), step * int(self._options.get("count", 5))), step):
            delta = encoded(rest[at : at + step], self._format)
            await self._talk.send("response.output_audio.delta", **place, delta=delta)

    async def _get_into_trouble(self) -> None:
        if self._fault == "mid-sentence-close":
            self._talk.spawn(self._talk.drop(self._options.get("code")))
        await self._stopped.wait()

    @property
    def _broken(self) -> bool:
        return self._stopped.is_set() or self.record.status != "in_progress"

    def _is_enough(self, item: Item) -> bool:
        if self._limit == "inf" or len(item.text.split()) + item.audio_ms / TOKEN_MS < self._limit:
            return False
        self.record.status, self.record.reason = "incomplete", "max_output_tokens"
        return True

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass

    def _wire(self) -> dict[str, Any]:
        record = self.record
        ended = record.status != "in_progress"
        return {
            "object": "realtime.response",
            "id": record.id,
            "status": record.status,
            "status_details": self._details() if ended else None,
            "output": [item.wire() for item in record.items],
            "conversation_id": "conv_0000000000000001" if self._in_conversation else None,
            "output_modalities": self._modalities,
            "max_output_tokens": self._limit,
            "audio": {"output": {"format": self._format, "voice": record.voice}},
            "usage": self._usage() if ended else None,
            "metadata": record.asked.get("metadata"),
        }

    def _details(self) -> dict[str, Any] | None:
        status = self.record.status
        if status == "failed":
            error = {
                "type": self._options.get("type", "server_error"),
                "code": self._options.get("code", "server_error"),
                "message": self._options.get(
                    "message", "The server had an error while processing your request."
                ),
            }
            return {"type": status, "error": error}
        return {"type": status, "reason": self.record.reason} if self.record.reason else None

    def _usage(self) -> dict[str, Any]:
        text, sound = self._tokens
        heard = len(self._talk.session.audio) // (TOKEN_MS * 2 * BYTES_PER_MS)
        read = sum(len(item.text.split()) for item in self._talk.conversation.items)
        return {
            "total_tokens": text + sound + heard + read,
            "input_tokens": heard + read,
            "output_tokens": text + sound,
            "input_token_details": {"text_tokens": read, "audio_tokens": heard, "cached_tokens": 0},
            "output_token_details": {"text_tokens": text, "audio_tokens": sound},
        }


def encoded(audio: bytes, shape: Mapping[str, Any]) -> str:
    """Mu-law audio as the `delta` of a format: 24 kHz PCM is every sample three times."""
    if shape["type"] == "audio/pcm":
        audio = np.repeat(np.frombuffer(ulaw_to_pcm(audio), "<i2"), 3).tobytes()
    elif shape["type"] == "audio/pcma":
        audio = ulaw_to_alaw(audio)
    return base64.b64encode(audio).decode()


def _words_until(text: str, start: int, end: int) -> str:
    """The whole words of a text from one character to another, with the space after them."""
    if end >= len(text):
        return text[start:]
    return text[start : max(text.rfind(" ", start, end) + 1, start)]
