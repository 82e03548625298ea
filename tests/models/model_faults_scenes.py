"""Calls with a speech-to-speech model in which something fails: many at once, each with a fault of its own.

Faults of a vendor's stand-in strike whoever comes next. Here each is switched on in the very moment in which the call
that it belongs to comes to it: when the model is about to say certain words, or has understood certain words. What
befalls the opening of a session is switched on before the call, and the next call waits until it was heard.
"""

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from hearing import LONGEST_SILENCE, first_heard, longest_silence
from model_line import GREETING, OURS, VOICE, ModelLine, lines, model_line

from openclaw_voicecall.errors import CallNotFound
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator
from openclaw_voicecall.testing.emulators.openai_replies import Brain, Cue, Reply
from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator
from openclaw_voicecall.testing.emulators.openai_voice_records import VoiceSession
from openclaw_voicecall.testing.emulators.twilio import Call, Person, Pickup
from openclaw_voicecall.testing.emulators.twilio_phone import AUDIBLE, RATE
from openclaw_voicecall.testing.ports import free_port

APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again?"
GOODBYE = "I'm sorry, I can't go on with this call. Goodbye."
BYE = "Thank you, bye."
OTHER_VOICE = "54noaetjxv80HAvkIbfQ"
"""Of the synthesizer that speaks where no model does."""
CALL_LIMIT = 50.0
AT_ONCE = 8
"""Calls that are held on one line at the same time."""

_AUDIBLE = bytes((~code & 0x7F) >= AUDIBLE for code in range(256))
_SUBSCRIBERS = count(1)

Script = Callable[[Person], Awaitable[None]]


class Mind(Brain):
    """What the model says, by what it has heard; and what goes wrong then.

    Args:
        vendor: Whose faults are switched on.
    """

    def __init__(self, vendor: OpenAIVoiceEmulator) -> None:
        super().__init__(self._think)
        self._vendor = vendor
        self._answers: dict[str, list[Reply | str]] = {}
        self._said: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self._heard: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self._ears, vendor.recognizer, vendor.brain = vendor.recognizer, self._understand, self

    def answers(self, words: str, *replies: Reply | str) -> None:
        """The replies to these words of a caller, one for each time that they come; the last one from then on."""
        self._answers.setdefault(words, []).extend(replies)

    def fails_to_say(self, text: str, fault: str, **options: Any) -> None:
        """This happens the next time that the model is about to say a text."""
        self._said.setdefault(text, []).append((fault, options))

    def fails_after(self, words: str, fault: str, **options: Any) -> None:
        """This happens the next time that the model has understood these words."""
        self._heard.setdefault(words, []).append((fault, options))

    def reply(self, cue: Cue, own_instructions: str = "") -> Reply:
        """As every brain; then the fault, which the vendor looks for next."""
        reply = super().reply(cue, own_instructions)
        self._strike(self._said, reply.text)
        return reply

    def _think(self, cue: Cue) -> Reply | str:
        left = self._answers.get(cue.heard, ["All right."])
        return left.pop(0) if len(left) > 1 else left[0]

    async def _understand(self, audio: bytes) -> str:
        assert self._ears is not None
        words = await self._ears(audio)
        self._strike(self._heard, words)
        return words

    def _strike(self, table: dict[str, list[tuple[str, dict[str, Any]]]], text: str) -> None:
        for fault, options in table.pop(text, ()):
            self._vendor.fail_next(fault, **options)


@dataclass(frozen=True)
class Held:
    """A call that is over, from every side."""

    call: Call
    record: dict[str, Any]
    journal: list[dict[str, Any]]
    line: ModelLine
    sessions: list[VoiceSession]

    @property
    def heard(self) -> list[str]:
        """What the caller heard, in the right voice or in the carrier's, in order."""
        return self.line.heard(self.call.line.heard)

    @property
    def said(self) -> str:
        """The same as one text."""
        return " ".join(self.heard)

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Who said what, by our record."""
        return lines(self.record)

    @property
    def caller_words(self) -> list[str]:
        """What the caller said, by our record."""
        return [text for speaker, text in self.lines if speaker == "caller"]

    @property
    def agent_words(self) -> list[str]:
        """What the agent said, by our record."""
        return [text for speaker, text in self.lines if speaker == "agent"]

    @property
    def silence(self) -> float:
        """The longest time, in seconds, in which neither side was to be heard on the telephone."""
        return longest_silence(self.call.line.heard, self.call.line.said)

    @property
    def noise(self) -> float:
        """Seconds of audible sound that is no word that anybody was to hear."""
        audio = bytes(self.call.line.heard)
        sound = bytearray(audio.translate(_AUDIBLE))
        for found in (*self.line.agent.read(audio), *self.line.wrong.read(audio)):
            sound[found.start : found.end] = bytes(found.end - found.start)
        return sound.count(1) / RATE

    def words(self, name: str) -> list[dict[str, Any]]:
        """The data of the journal's entries of this name."""
        return [entry["data"] for entry in self.journal if entry["event"] == name]

    def require_failure(self, cause: str, action: str = "") -> None:
        """The journal says of the model what failed, and what was done about it."""
        told = [
            data
            for word in ("vendor-failed", "line-silent", "vendor-complained", "line-static")
            for data in self.words(word)
        ]
        found = [
            data
            for data in told
            if data["hop"] == "model"
            and cause in data["detail"]
            and (not action or action in data.get("action", ""))
        ]
        assert found, f"nothing says {cause!r} and {action!r} of the model: {told}"

    def require_live_line(self) -> None:
        """The caller was never kept in silence, nor in a stranger's voice, and no vendor had to refuse anything."""
        assert self.silence <= LONGEST_SILENCE, (self.silence, self.heard)
        figures = self.record["line"]
        assert figures is None or figures["longestSilenceMs"] <= 1000 * LONGEST_SILENCE, figures
        assert self.line.heard_wrong(self.call.line.heard) == []
        assert self.call.application_error is None
        bad = [
            (hook.kind, hook.status, hook.problem)
            for hook in self.call.webhooks
            if hook.problem is not None or hook.status is None
        ]
        assert not bad
        # Who hears the caller begin cancels the reply, as the vendor does: which comes first is chance.
        model = [refusal for refusal in self.line.model.refusals if refusal.where != "response.cancel"]
        refused = [*model, *self.line.twilio.refusals, *self.line.chat.refusals]
        assert not refused, refused


@dataclass
class Place:
    """A line on which calls with faults are held."""

    line: ModelLine
    client: ControlClient
    mind: Mind
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the call that vendor and carrier have to deal with alone."""

    def stays(self, *questions: tuple[str, str], **options: Any) -> Script:
        """Somebody who asks in the same way, and waits for the agent to hang up."""
        return self.talk(*questions, hangs_up=False, **options)

    def talk(
        self,
        *questions: tuple[str, str],
        retries: int = 2,
        first: str = GREETING,
        hangs_up: bool = True,
        arm: str = "",
    ) -> Script:
        """Somebody who asks until each question is answered, repeats it when asked to, and hangs up then.

        Args:
            questions: Each with the answer that is waited for.
            retries: How often a question is said again.
            first: What is waited for before anything is said.
            hangs_up: Whether it is they who end the call.
            arm: A fault that befalls what is said first.
        """
        spoken = {question: self.line.words(question) for question, _ in questions}
        self.line.will_say(APOLOGY, GOODBYE, first, *(answer for _, answer in questions))

        async def person(phone: Person) -> None:
            if first:
                await first_heard(phone, self.line.agent, first, since=0.0)
            if arm:
                self.line.model.fail_next(arm)
            for question, answer in questions:
                for _ in range(1 + retries):
                    await phone.wait(0.3)
                    await phone.say(spoken[question])
                    if await first_heard(phone, self.line.agent, answer, APOLOGY, GOODBYE) == answer:
                        break
            await phone.wait(0.3)
            if hangs_up:
                phone.hang_up()

        return person

    async def ring(self, person: Script | None) -> Held:
        """Somebody calls us; returns when all is over."""
        number = f"+1555000{next(_SUBSCRIBERS):04d}"
        call = await self.line.twilio.dial_in(number, OURS, person)
        return await self.over(call)

    async def ring_into(self, fault: str, person: Script, **options: Any) -> Held:
        """The same, alone with a fault of the session that is opened for the call."""
        async with self.opening:
            self.line.model.fail_next(fault, **options)
            return await self.ring(person)

    async def taken(self, fault: str) -> None:
        """Wait until a fault had its occasion."""
        async with asyncio.timeout(CALL_LIMIT):
            while fault not in self.line.model.taken:
                await asyncio.sleep(0.02)

    async def place(
        self,
        person: Script | None,
        *,
        pickup: Pickup | None = None,
        lead: Callable[[str], Awaitable[None]] | None = None,
        **order: Any,
    ) -> Held:
        """We call somebody, and `lead` the call by commands; returns when all is over."""
        number = f"+1555100{next(_SUBSCRIBERS):04d}"
        async with self.opening:
            self.line.twilio.pickup, self.line.twilio.person = pickup or Pickup(), person
            record = await self.client.place_call({"to": number, "mode": "conversation", **order})
            call = await self.line.twilio.next_call()
        leading = lead(record["callId"]) if lead is not None else asyncio.sleep(0)
        held, _ = await asyncio.gather(self.over(call, record["callId"]), leading)
        return held

    async def over(self, call: Call, call_id: str = "") -> Held:
        """Wait for the end of a call and of its record."""
        try:
            async with asyncio.timeout(CALL_LIMIT):
                await call.finished()
                record: dict[str, Any] = {"endReason": None}
                while not record["endReason"]:
                    await asyncio.sleep(0.05)
                    with suppress(CallNotFound):
                        record = await self.client.get_call(call_id or call.sid)
        except Exception as error:
            record = await self.client.get_call(call_id or call.sid)
            heard = self.line.heard(call.line.heard) if call.line else []
            told = [
                entry for entry in await self.client.journal(record["callId"]) if entry["data"].get("hop")
            ]
            raise AssertionError(
                f"{error!r}; record: {lines(record)}; heard: {heard}; journal: {told}"
            ) from error
        journal = await self.client.journal(record["callId"])
        return Held(call, record, journal, self.line, sessions_of(self.line.model, record["callId"]))


def sessions_of(vendor: OpenAIVoiceEmulator, call_id: str) -> list[VoiceSession]:
    """The sessions of a call, which their traces name."""
    return [
        session
        for session in vendor.sessions
        if any(
            (update.get("session", {}).get("tracing") or {}).get("group_id") == call_id
            for update in session.updates
        )
    ]


@asynccontextmanager
async def place(
    *,
    realtime: dict[str, Any] | None = None,
    openai: dict[str, Any] | None = None,
    pipeline: bool = False,
    **options: Any,
) -> AsyncIterator[Place]:
    """Start a line of its own.

    Args:
        realtime: Laid over the settings of that section.
        openai: Laid over the settings of the model.
        pipeline: Whether transcriber, responder and synthesizer go on when no model is left.
        options: As for `model_line`.
    """
    folder, port = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp")), free_port()
    config = dict(options.pop("config", None) or {})
    section = {"apiKey": "sk-emulated", "baseUrl": f"http://127.0.0.1:{port}/v1", "voice": VOICE}
    section |= {"tracing": {"workflowName": "front office"}, **(openai or {})}
    config["realtime"] = {**(realtime or {}), "providers": {"openai": section}}
    try:
        async with AsyncExitStack() as stack:
            if pipeline:
                ears = await stack.enter_async_context(OpenAIRealtimeEmulator())
                mouth = await stack.enter_async_context(ElevenLabsEmulator(voices=[OTHER_VOICE]))
                config |= _pipeline(ears, mouth)
                config["realtime"]["fallbacks"] = ["pipeline"]
            line = await stack.enter_async_context(
                model_line(folder / "state", free_port(), config=config, model={"port": port}, **options)
            )
            client = await stack.enter_async_context(ControlClient(folder / "state" / "control.sock"))
            if pipeline:
                ears.recognizer, mouth.clips = line.caller, line.agent
            yield Place(line, client, Mind(line.model))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pipeline(ears: OpenAIRealtimeEmulator, mouth: ElevenLabsEmulator) -> dict[str, Any]:
    hears = {"apiKey": "sk-emulated", "baseUrl": ears.url + "/v1"}
    speaks = {"apiKey": "xi-emulated", "voiceId": OTHER_VOICE, "baseUrl": mouth.url}
    return {
        "streaming": {"provider": "openai", "providers": {"openai": hears}},
        "tts": {"provider": "elevenlabs", "providers": {"elevenlabs": speaks}},
    }


def static(start: int, voice: bytes) -> bytes:
    """What a line with a wrong codec sends instead of a voice."""
    return random.Random(start).randbytes(len(voice))


Scenes = Callable[[Place], Awaitable[dict[str, Coroutine[Any, Any, Held]]]]
Lane = tuple[Scenes, dict[str, Any]]
"""Makes the scenes of a line, and the options of that line."""


def at_once(lanes: Mapping[str, Lane]) -> Callable[[str], Held]:
    """Hold the calls of all lanes at the same time; gives each by its name, or raises what it failed with."""
    outcomes: dict[str, Held | BaseException] = {}

    async def play(scenes: Scenes, options: dict[str, Any]) -> None:
        async with place(**options) as on:
            coming = await scenes(on)
            room = asyncio.Semaphore(AT_ONCE)

            async def one(scene: Coroutine[Any, Any, Held]) -> Held:
                async with room:
                    return await scene

            done = await asyncio.gather(*map(one, coming.values()), return_exceptions=True)
            outcomes.update(zip(coming, done, strict=True))

    async def run() -> list[BaseException | None]:
        return await asyncio.gather(*(play(*lane) for lane in lanes.values()), return_exceptions=True)

    broken = [error for error in asyncio.run(run()) if error is not None]

    def outcome(name: str) -> Held:
        if name not in outcomes:
            raise ExceptionGroup(f"{name} was not held", broken)
        held = outcomes[name]
        if isinstance(held, BaseException):
            raise held
        return held

    return outcome
