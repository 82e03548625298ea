"""Several calls at the same time over one service of a Twilio user, each with a person who follows a script."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from vendor_line import CALLER, OURS, VendorLine, vendor_line

from openclaw_voicecall.errors import CallNotFound
from openclaw_voicecall.media.g711 import ulaw_to_pcm
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.emulators.clips import Found
from openclaw_voicecall.testing.emulators.twilio import Call, Pickup
from openclaw_voicecall.testing.ports import free_port

Script = Any
CALL_LIMIT = 60.0
"""Seconds for a whole call and its record."""


@dataclass(frozen=True)
class Scene:
    """A call that is over: as Twilio had it, as the person heard it, and as it was written down."""

    call: Call
    record: dict[str, Any]
    journal: list[dict[str, Any]]
    found: list[Found]
    """What was heard of the agent, with its place in the audio."""

    @property
    def heard(self) -> str:
        """What was heard of the agent."""
        return " ".join(found.text for found in self.found if found.text)

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The transcript."""
        return [(line["speaker"], line["text"]) for line in self.record["transcript"]]

    def ends(self, text: str) -> float:
        """When the person had heard all of a text for the first time, in seconds since the answer."""
        return next(found.end for found in self.found if found.clip == text and found.whole) / 8000


class Stage:
    """A line, and what calls on it."""

    def __init__(self, line: VendorLine, client: ControlClient) -> None:
        self.line = line
        self.client = client
        self._dialling = asyncio.Lock()

    async def ring(self, number: str, person: Script = None, *, to: str = OURS, **extra: str) -> Scene:
        """Somebody calls us."""
        return await self.over(await self.line.twilio.dial_in(number, to, person, **extra))

    async def place(
        self, to: str = CALLER, person: Script = None, *, pickup: Pickup | None = None, **order: Any
    ) -> Scene:
        """We call somebody."""
        async with self.answered_by(person, pickup):
            record = await self.client.place_call({"to": to, "mode": "conversation", **order})
            call = await self.dialled(to)
        return await self.over(call, record["callId"])

    @asynccontextmanager
    async def answered_by(self, person: Script, pickup: Pickup | None = None) -> AsyncIterator[None]:
        """Calls that are placed meanwhile are this person's."""
        async with self._dialling:
            self.line.twilio.pickup, self.line.twilio.person = pickup or Pickup(), person
            yield

    async def dialled(self, to: str) -> Call:
        """The newest call to a number, once Twilio has it."""
        async with asyncio.timeout(15):
            while True:
                for call in reversed(self.line.twilio.calls.values()):
                    if call.to_number == to and not call.ended:
                        return call
                await asyncio.sleep(0.01)

    async def over(self, call: Call, call_id: str = "") -> Scene:
        """Wait for the end of a call and of its record."""
        async with asyncio.timeout(CALL_LIMIT):
            await call.finished()
            record: dict[str, Any] = {"endReason": None}
            while not record["endReason"]:
                await asyncio.sleep(0.05)
                with suppress(CallNotFound):  # Twilio's id is in the store a moment after the call
                    record = await self.client.get_call(call_id or call.sid)
        journal = await self.client.journal(record["callId"])
        heard = bytes(call.phone.heard) if call.phone is not None else b""
        return Scene(call, record, journal, self.line.agent.read(heard))

    def asked(self, words: str) -> list[dict[str, Any]]:
        """Requests to the model whose last words of the caller are these, oldest first."""
        return [dict(asked.body) for asked in self.line.chat.requests if last_words(asked.messages) == words]


def last_words(messages: list[dict[str, Any]]) -> str:
    """What the caller said last, as the model was told."""
    said = [message["content"] for message in messages if message["role"] == "user"]
    return said[-1].rpartition("\n")[2] if said else ""


def answering(answers: Mapping[str, Any]) -> Any:
    """A model that answers by the caller's last words; a list has the replies of one turn's rounds of tools."""

    def respond(messages: list[dict[str, Any]], body: dict[str, Any]) -> Any:
        answer = answers[last_words(messages)]
        if callable(answer):
            return answer(messages)
        if not isinstance(answer, list):
            return answer
        turn = max(at for at, message in enumerate(messages) if message["role"] == "user")
        rounds = sum(message["role"] == "assistant" for message in messages[turn:])
        return answer[rounds]

    return respond


def tool(name: str, words: str | None = None, **arguments: Any) -> dict[str, Any]:
    """A reply that calls a tool, after these words."""
    call = {"name": name, "arguments": arguments}
    return {"tool_calls": [call]} if words is None else {"content": words, "tool_calls": [call]}


@asynccontextmanager
async def stage(config: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Stage]:
    """Start a line of its own, with the reported configuration under `config`."""
    folder = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp"))
    try:
        async with (
            vendor_line(folder / "state", free_port(), config=config, **options) as line,
            ControlClient(folder / "state" / "control.sock") as client,
        ):
            yield Stage(line, client)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Played(dict[str, Any]):
    """What came of scenes by name; asking for one that failed raises its error."""

    def __getitem__(self, name: str) -> Any:
        result = super().__getitem__(name)
        if isinstance(result, BaseException):
            raise result
        return result


async def together(scenes: Mapping[str, Coroutine[Any, Any, Any]]) -> Played:
    """Play scenes at the same time; each result, or the error in its place, under the scene's name."""
    results = await asyncio.gather(*scenes.values(), return_exceptions=True)
    return Played(zip(scenes, results, strict=True))


KEYS = {
    (row, column): key
    for row, keys in zip((697, 770, 852, 941), ("123A", "456B", "789C", "*0#D"), strict=True)
    for column, key in zip((1209, 1336, 1477, 1633), keys, strict=True)
}
BLOCK = 80
"""Samples that are judged at a time: 10 ms, as long as a low tone's period takes to show."""
SHORTEST = 4
"""Blocks that a key has to last: receivers take what sounds for 40 ms (ITU-T Q.24)."""


def keys_heard(audio: bytes) -> str:
    """The keys whose tones are in some mu-law audio, in order."""
    keys = "".join(_key(audio[at : at + 2 * BLOCK]) for at in range(0, len(audio) - 2 * BLOCK, BLOCK))
    return "".join(run[0] for run in re.findall(rf"([^ ])\1{{{SHORTEST - 2},}}", keys))


def _key(audio: bytes) -> str:
    """The key that sounds through 20 ms, or a space: two of the eight tones, and hardly anything besides."""
    if len(set(audio)) < 3:
        return " "
    wave = np.frombuffer(ulaw_to_pcm(audio), "<i2").astype(float)
    total = float(np.dot(wave, wave))
    if total < len(wave) * 500.0**2:
        return " "
    rows, columns = ([(_goertzel(wave, hz), hz) for hz in hertz] for hertz in _TONES)
    (low, row), (high, column) = max(rows), max(columns)
    if low + high < 0.8 * total or min(low, high) < 0.2 * total:
        return " "
    return KEYS[row, column]


_TONES = sorted({row for row, _ in KEYS}), sorted({column for _, column in KEYS})


def _goertzel(wave: "np.ndarray[Any, Any]", hz: int) -> float:
    """Energy of one tone in some samples."""
    turn = np.exp(-2j * np.pi * hz / 8000 * np.arange(len(wave)))
    return float(2 * abs(np.dot(wave, turn)) ** 2 / len(wave))
