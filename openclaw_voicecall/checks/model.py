"""A speech-to-speech model by ear.

A session is opened as a call would open it, with the same voice, instructions and tools. It has to be ready in time,
say a phrase that can be heard, and understand and answer the same phrase when it is played into it as on a line. What
it calls of its tools meanwhile is not run.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace

from openclaw_voicecall.api.realtime import (
    CallerSaid,
    RealtimeEvent,
    RealtimeModel,
    RealtimeRequest,
    RealtimeSession,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyText,
    SessionReady,
    ToolCalled,
    VendorComplained,
)
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.checks.audible import LEAD, Rehearsal, judge_audio, short
from openclaw_voicecall.checks.report import Finding, Report, Status, Subject, failure
from openclaw_voicecall.checks.words import is_understood
from openclaw_voicecall.errors import VendorRejected, VendorUnavailable
from openclaw_voicecall.media.audio import FRAME_BYTES, FRAME_MS, seconds, silence
from openclaw_voicecall.media.static import StaticDetector
from openclaw_voicecall.session.modelkeeper import READY_LIMIT, REPLY_LIMIT

OPEN_LIMIT = 1.0
"""Seconds for opening the socket, on top of those for the session to be ready."""
ANSWER_LIMIT = 8.0
"""Seconds after the last sound until the answer to it must have begun: the most patient turn detection takes most."""
WORDS_LIMIT = 3.0
"""Seconds after that until the words that were heard must be there."""
WHOLE_LIMIT = 90.0
"""Seconds for everything."""
LINE_SILENCE = 60.0
"""Seconds of silence that there are to send, more than is ever waited."""

_FIXES = (
    ("session.tools", "correct the plugin that registers that tool, or leave it out with plugins.disabled"),
    ("output.voice", "set voice in {section} to one that the model has, or leave it out"),
    ("turn_detection", "correct turnDetection and what belongs to it in {section}, or leave it out"),
    ("reasoning", "leave reasoningEffort in {section} out"),
    ("tracing", "leave tracing in {section} out"),
    ("speed", "leave speed in {section} out"),
    ("noise_reduction", "leave noiseReduction in {section} out"),
    ("max_output_tokens", "correct maxOutputTokens in {section}, or leave it out"),
    ("transcription", "set transcriptionModel in {section} to one that the account has, or leave it out"),
    ("instructions", "look at realtime.instructions and responseSystemPrompt: they go to the model"),
    ("voice", "set voice in {section} to one that the model has, or leave it out"),
    ("model", "set model in {section} to one that the account has, or leave it out"),
)
"""What to do by what a refusal names, the most telling first."""


async def try_model(
    report: Report,
    subject: Subject,
    opens: Callable[[], AbstractAsyncContextManager[RealtimeModel]],
    request: RealtimeRequest,
    rehearsal: Rehearsal,
) -> None:
    """Talk with a model; the report gets a line for each thing it can do, and the first that it cannot."""
    try:
        async with asyncio.timeout(WHOLE_LIMIT), opens() as model:
            began = time.monotonic()
            async with model.open_session(request) as session:
                trial = _Trial(subject, session, rehearsal, began)
                try:
                    for step in (trial.get_ready, trial.speak, trial.hear):
                        if report.add(await step()).status is Status.FAILED:
                            break
                finally:
                    await trial.close()
        for finding in trial.complaints():
            report.add(finding)
    except Exception as error:  # a check that breaks is a finding like any other
        finding = failure(
            error, hop=subject.hop, name=subject.name, limit=WHOLE_LIMIT, section=subject.section
        )
        # For a wrong key, or too many requests, something else is to be done than for a setting.
        if type(error) is VendorRejected:
            finding = replace(finding, fix=advice(str(error), subject.section))
        report.add(finding)


def advice(refusal: str, section: str) -> str:
    """What to do about a refusal, by the setting that it names."""
    said = refusal.lower()
    fix = next((fix for word, fix in _FIXES if word in said), "")
    return (
        fix.format(section=section)
        or f"change in {section} what the message names; if it names nothing, look at the account on the vendor's site"
    )


@dataclass(slots=True)
class _Reply:
    """What the model says at one time."""

    asked: str
    text: str = ""
    audio: bytearray = field(default_factory=bytearray)
    first: float = 0.0
    """When its first sound was there, monotonic seconds."""
    acted: bool = False
    """Whether it called a tool."""
    status: str = ""
    """How it ended; empty while it goes on."""
    detail: str = ""


class _Trial:
    """One session, and what has happened in it."""

    def __init__(
        self, subject: Subject, session: RealtimeSession, rehearsal: Rehearsal, began: float
    ) -> None:
        self._subject = subject
        self._session = session
        self._rehearsal = rehearsal
        self._began = began
        self._ready_at = 0.0
        self._replies: dict[str, _Reply] = {}
        self._before: frozenset[str] = frozenset()
        """Replies that are no answer to anything."""
        self._noticed = False
        self._heard: list[str] = []
        self._settled = False
        """Whether a turn of the caller was written down, be it without words."""
        self._complaints: list[str] = []
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Read no more of it."""
        self._reader.cancel()
        await asyncio.wait([self._reader])

    def complaints(self) -> list[Finding]:
        """What the vendor has refused without ending the session."""
        return [
            Finding(
                hop=self._subject.hop,
                name=self._subject.name,
                status=Status.WARNING,
                text="something was refused on the way",
                cause=complaint,
                fix=advice(complaint, self._subject.section),
            )
            for complaint in dict.fromkeys(self._complaints)
        ]

    async def get_ready(self) -> Finding:
        """The vendor has to confirm every setting."""
        if not await self._until(lambda: self._ready_at > 0, READY_LIMIT + OPEN_LIMIT):
            return self._subject.wrong(
                "its session is not ready in time",
                f"the vendor did not confirm voice, tools and format within {READY_LIMIT + OPEN_LIMIT:g} s",
                f"check the network and the vendor's status page, and the model in {self._subject.section}",
            )
        took = (self._ready_at - self._began) * 1000
        return self._subject.good(f"its session is ready after {took:.0f} ms, as a call would ask for it")

    async def speak(self) -> Finding:
        """It has to say the phrase, so that it can be heard and understood."""
        phrase, section = self._rehearsal.phrase, self._subject.section
        began = time.monotonic()
        self._session.say(phrase, asked="phrase")
        if not await self._until(lambda: self._said.first > 0 or bool(self._said.status), REPLY_LIMIT):
            return self._subject.wrong(
                "it says nothing in time",
                f"no sound within {REPLY_LIMIT:g} s; a call waits no longer",
                f"choose a faster model in {section}{self._or_another}",
            )
        size = -1
        while not self._said.status and len(self._said.audio) > size:
            size = len(self._said.audio)
            await self._until(lambda: bool(self._said.status), REPLY_LIMIT)
        said = self._said
        if said.status != "completed":
            return self._broken_off(said)
        audio = bytes(said.audio)
        if StaticDetector().push(audio):
            return self._subject.wrong(
                "its sound is noise",
                "what comes is not in the format that was agreed, mu-law at 8000 Hz",
                f"choose another model in {section}{self._or_another}; a call would leave this one",
            )
        finding = judge_audio(audio, said.first - began, phrase, self._subject)
        if finding.status is Status.FAILED or is_understood(phrase, said.text):
            return finding if finding.status is Status.FAILED else _with(finding, said.text)
        return self._subject.wrong(
            "it does not say what it is told to",
            f'it was to say "{short(phrase)}", and says it said "{short(said.text)}"',
            f"choose another model in {section}; look at realtime.instructions, which may contradict it",
        )

    async def hear(self) -> Finding:
        """It has to notice its own phrase from the line, understand it and answer."""
        phrase, section = self._rehearsal.phrase, self._subject.section
        audio = bytes(self._said.audio)
        self._before = frozenset(self._replies)
        ended = await self._play(audio)
        await self._until(lambda: self._settled, WORDS_LIMIT)
        heard, answer = " ".join(self._heard), self._answer
        said = f'"{short(phrase)}" was played into it'
        if not self._noticed:
            return self._subject.wrong(
                "it hears nothing",
                f"{said}, and within {ANSWER_LIMIT:g} s it noticed no speech; there was no error either",
                f"look at the settings of turn detection in {section}, or choose another model{self._or_another}",
            )
        if not heard:
            return self._subject.wrong(
                "what callers say is not written down",
                f"{said}, and it noticed speech, but no words came back",
                f"set transcriptionModel in {section} to another one, or leave it out",
            )
        if not is_understood(phrase, heard):
            return self._subject.wrong(
                "it does not understand what was said",
                f'{said}, and it heard "{short(heard)}"',
                f"check that `language` is that of the talk, and the models in {section}",
            )
        if answer is None or not (answer.first or answer.acted):
            if answer is not None and answer.status:
                return self._broken_off(answer)
            return self._subject.wrong(
                "it hears, and does not answer",
                f'it understood "{short(heard)}", and no answer began within {ANSWER_LIMIT:g} s',
                f"choose another model in {section}{self._or_another}",
            )
        took = (answer.first or time.monotonic()) - ended
        how = f"its answer begins after {took * 1000:.0f} ms" if answer.first else "it calls a tool"
        return self._subject.good(f'hears: "{short(heard)}"; {how}')

    @property
    def _or_another(self) -> str:
        """What else helps; where the vendor keeps the audio, no other model can take over."""
        fallback = ", or name one more in realtime.fallbacks"
        return fallback if self._subject.section.startswith("realtime.") else ""

    @property
    def _said(self) -> _Reply:
        """The reply that was asked for."""
        return next((reply for reply in self._replies.values() if reply.asked), _Reply(""))

    @property
    def _answer(self) -> _Reply | None:
        """The newest reply to what was played into it."""
        replies = reversed(self._replies.items())
        return next((reply for name, reply in replies if name not in self._before), None)

    def _broken_off(self, reply: _Reply) -> Finding:
        how = f"it ended as {reply.status}" if reply.status else f"for {REPLY_LIMIT:g} s nothing more came"
        return self._subject.wrong(
            "it breaks off" if reply.first else "it says nothing",
            f"{how}{f': {reply.detail}' if reply.detail else ''}",
            f"look at the model in {self._subject.section}, at the account's credits and the vendor's status page",
        )

    async def _play(self, audio: bytes) -> float:
        """Send the line's audio in real time until there is an answer; returns when the last sound was sent."""
        line = silence(LEAD * 1000) + audio + silence(LINE_SILENCE * 1000)
        ends = LEAD + seconds(len(audio))
        started = time.monotonic()
        for number, at in enumerate(range(0, len(line) - FRAME_BYTES + 1, FRAME_BYTES), 1):
            now = number * FRAME_MS / 1000
            await self._until(lambda: False, started + now - time.monotonic())
            self._session.send(line[at : at + FRAME_BYTES])
            answer = self._answer
            answered = answer is not None and (answer.first or answer.acted or answer.status)
            if now > ends and ((answered and self._settled) or now > ends + ANSWER_LIMIT):
                break
        return started + ends

    async def _until(self, condition: Callable[[], bool], limit: float) -> bool:
        """Wait for something to happen. Raises what the session ends with, if it ends first."""
        deadline = time.monotonic() + limit
        while not condition():
            if self._reader.done():
                self._reader.result()
                raise VendorUnavailable("the vendor ended the session", operation="talk")
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._news.clear()
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                return condition()
        return True

    async def _read(self) -> None:
        try:
            async for event in self._session:
                self._take(event)
                self._news.set()
        finally:
            self._news.set()

    def _take(self, event: RealtimeEvent) -> None:
        match event:
            case SessionReady():
                self._ready_at = time.monotonic()
            case SpeechEdge(speaking=True):
                self._noticed = True
            case CallerSaid(text=text, final=final):
                self._noticed = self._noticed or bool(text.strip())
                self._settled = self._settled or final
                if final and text.strip():
                    self._heard.append(text.strip())
            case VendorComplained(what=what, detail=detail):
                self._complaints.append(f"{what}: {detail}" if what else detail)
            case _:
                self._take_of_reply(event)

    def _take_of_reply(self, event: RealtimeEvent) -> None:
        match event:
            case ReplyBegan(reply=name, asked=asked):
                self._replies[name] = _Reply(asked)
            case ReplyAudio(reply=name, audio=audio) if name in self._replies:
                reply = self._replies[name]
                reply.first = reply.first or time.monotonic()
                reply.audio += audio
            case ReplyText(reply=name, text=text) if name in self._replies:
                self._replies[name].text += text
            case ToolCalled(reply=name) if name in self._replies:
                self._replies[name].acted = True
            case ReplyEnded(reply=name, status=status, detail=detail, asked=asked):
                reply = self._replies.setdefault(name, _Reply(asked))
                reply.status, reply.detail = status, detail


def _with(finding: Finding, words: str) -> Finding:
    return replace(finding, text=f'{finding.text}: "{short(words)}"')
