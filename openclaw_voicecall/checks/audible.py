"""Every hop by ear.

The synthesizers say a phrase, the transcribers hear it as on a line, in real time, and the responders answer a
question. The limits are those of a call.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from openclaw_voicecall.api.responder import TextDelta, TurnRequest
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.api.speech import Heard, SpeechRequest, TranscriptionRequest, TranscriptionStream
from openclaw_voicecall.checks.parts import Part, Parts
from openclaw_voicecall.checks.report import Finding, Report, Status, Subject, attempt
from openclaw_voicecall.checks.words import is_understood
from openclaw_voicecall.media.audio import FRAME_BYTES, FRAME_MS, seconds, silence
from openclaw_voicecall.media.level import LevelMeter
from openclaw_voicecall.providers.local.phone.prompts import SHIPPED, shipped_lines
from openclaw_voicecall.session.deadline import FIRST_AUDIO_LIMIT
from openclaw_voicecall.session.listening import FINAL_LIMIT, OPEN_LIMIT

CALL_ID = "doctor"
QUESTION = "Hello, can you hear me?"
RECORDED = "what time is it please"
"""A line that comes with the package, for when no synthesizer speaks."""
SPEECH_LIMIT = 30.0
"""Seconds for a whole phrase."""
OPENING = 20.0
"""Seconds that engines on this machine may take to load, on top of everything else."""
LETTER_SECONDS = (0.02, 0.25)
"""Shortest and longest a letter may take; people take 0.05 to 0.1."""
LEAST_AUDIBLE = 0.3
"""Part of the audio that must be sound."""
LEAD = 0.4
"""Seconds of silence before the phrase, as on a line."""
PAUSE_AFTER = 0.3
"""Seconds after the last sound when a turn detector notices the pause."""
TURN_AFTER = 1.0
"""Seconds after the last sound when the turn is over."""
SETTLE = 1.5
"""Seconds to wait for more words once some came that are not those."""
_CONTAINERS = {b"RIFF": "a WAV file", b"ID3": "an MP3 file", b"OggS": "an Ogg file", b"fLaC": "a FLAC file"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What is said and asked, and how long an answer may take."""

    phrase: str
    language: str
    response_timeout: float
    """Seconds."""
    timeout_setting: str = "responseTimeoutMs"
    """What sets that; empty where nothing does."""
    filler_after: float
    """Seconds after which callers hear a filler."""
    system_prompt: str = ""


@dataclass(slots=True)
class _Voices:
    """Audio of the phrase, by the synthesizer that made it."""

    audio: dict[Part, bytes] = field(default_factory=dict)


async def check_by_ear(
    report: Report, parts: Parts, runtime: Runtime, rehearsal: Rehearsal, broken: frozenset[Part]
) -> None:
    """Let everything that works so far speak, hear and answer; models are tried elsewhere."""
    voices = _Voices()
    able = [part for part in parts.synthesizers if part not in broken]
    for finding in await asyncio.gather(*(_speak(part, runtime, rehearsal, voices) for part in able)):
        report.add(finding)
    ears = [part for part in parts.transcribers if part not in broken]
    first = next((part for part in able if part in voices.audio), None)
    if first is None:
        for finding in await asyncio.gather(*(_hear_recorded(part, runtime, rehearsal) for part in ears)):
            report.add(finding)
    else:
        audio = voices.audio[first]
        for finding in await asyncio.gather(
            *(_hear(part, runtime, rehearsal, audio, first) for part in ears)
        ):
            report.add(finding)
    # One after the other: how long they take is what is asked.
    for part in parts.responders:
        if part not in broken:
            report.add(await _answer(part, runtime, rehearsal))


async def _speak(part: Part, runtime: Runtime, rehearsal: Rehearsal, voices: _Voices) -> Finding:
    async def speak() -> Finding:
        request = SpeechRequest(call_id=CALL_ID, text=rehearsal.phrase, language=rehearsal.language)
        audio, first = bytearray(), 0.0
        async with part.open(runtime) as synthesizer:
            began = time.monotonic()
            async with asyncio.timeout(SPEECH_LIMIT), aclosing(synthesizer.speak(request)) as pieces:
                async for piece in pieces:
                    first = first or time.monotonic() - began
                    audio += piece
        finding = judge_audio(bytes(audio), first, rehearsal.phrase, part.subject)
        if finding.status is not Status.FAILED:
            voices.audio[part] = bytes(audio)
        return finding

    limit = OPENING + SPEECH_LIMIT
    return await attempt(speak, hop=part.role, name=part.label, limit=limit, section=part.section)


def judge_audio(audio: bytes, first: float, phrase: str, subject: Subject) -> Finding:
    """Whether audio can be the phrase: audible, of a length that fits, and begun in time.

    Args:
        audio: All of it.
        first: Seconds from the request to its first piece.
        phrase: What was to be said.
        subject: Whose audio it is.
    """
    wrong, section = subject.wrong, subject.section
    account = f"look at the voice and model in {section}, and at the account's credits"
    length, meter = seconds(len(audio)), LevelMeter()
    meter.push(audio, length)
    if not audio:
        return wrong("it says nothing", "the vendor took the text and sent no audio", account)
    for mark, container in _CONTAINERS.items():
        if audio.startswith(mark):
            return wrong(
                "its audio is no telephone audio",
                f"it is {container}, not raw mu-law at 8000 Hz",
                f"set the output format in {section} to mu-law at 8000 Hz",
            )
    if meter.audible_ms < LEAST_AUDIBLE * meter.total_ms or not meter.audible_ms:
        audible = meter.audible_ms / 1000
        return wrong(
            "it cannot be heard",
            f"of {length:.1f} s of audio {audible:.1f} s are louder than silence",
            account,
        )
    shortest, longest = (limit * len(phrase) for limit in LETTER_SECONDS)
    if not shortest <= length <= longest:
        return wrong(
            "its audio has the wrong length",
            f"{length:.1f} s for a phrase that takes {shortest:.1f} to {longest:.1f} s: the rate or format is wrong, "
            "or it broke off",
            account,
        )
    if first > FIRST_AUDIO_LIMIT:
        return wrong(
            "it is too slow",
            f"the first sound came after {first:.1f} s; a call waits {FIRST_AUDIO_LIMIT:g} s",
            f"choose a faster model in {section}, or another provider",
        )
    return subject.good(f"speaks: {length:.1f} s of sound, the first after {first * 1000:.0f} ms")


async def _hear(part: Part, runtime: Runtime, rehearsal: Rehearsal, audio: bytes, voice: Part) -> Finding:
    async def hear() -> Finding:
        request = TranscriptionRequest(call_id=CALL_ID, language=rehearsal.language)
        async with part.open(runtime) as transcriber, transcriber.open_stream(request) as stream:
            heard = await transcribe(stream, audio, lambda text: is_understood(rehearsal.phrase, text))
        if is_understood(rehearsal.phrase, heard):
            return Finding(hop=part.role, name=part.label, text=f'hears: "{short(heard)}"')
        said = f'{voice.name} said "{rehearsal.phrase}"'
        if heard:
            return Finding(
                hop=part.role,
                name=part.label,
                status=Status.FAILED,
                text="it does not understand what was said",
                cause=f'{said}, and it heard "{short(heard)}"',
                fix=f"check that `language` is that of the talk, and the model in {part.section}",
            )
        return Finding(
            hop=part.role,
            name=part.label,
            status=Status.FAILED,
            text="it hears nothing",
            cause=f"{said}; no words came back within {TURN_AFTER + FINAL_LIMIT:g} s of the last sound, and no error",
            fix=f"check the model in {part.section} and the account, or name another one in streaming.fallbacks",
        )

    limit = OPENING + OPEN_LIMIT + seconds(len(audio)) + LEAD + TURN_AFTER + FINAL_LIMIT
    return await attempt(hear, hop=part.role, name=part.label, limit=limit, section=part.section)


async def _hear_recorded(part: Part, runtime: Runtime, rehearsal: Rehearsal) -> Finding:
    """Without a voice a recorded line has to do: it shows a session that is refused, and proves no more than that."""
    audio = (SHIPPED / shipped_lines()[RECORDED]).read_bytes()

    async def hear() -> Finding:
        request = TranscriptionRequest(call_id=CALL_ID, language=rehearsal.language)
        async with part.open(runtime) as transcriber, transcriber.open_stream(request) as stream:
            heard = await transcribe(stream, audio, bool)
        if is_understood(RECORDED, heard):
            return Finding(hop=part.role, name=part.label, text=f'hears a recorded line: "{short(heard)}"')
        return Finding(
            hop=part.role,
            name=part.label,
            status=Status.SKIPPED,
            text="takes audio; not heard through, because no synthesizer spoke",
        )

    limit = OPENING + OPEN_LIMIT + seconds(len(audio)) + LEAD + TURN_AFTER + FINAL_LIMIT
    return await attempt(hear, hop=part.role, name=part.label, limit=limit, section=part.section)


async def transcribe(stream: TranscriptionStream, audio: bytes, enough: Callable[[str], bool]) -> str:
    """What a transcriber makes of audio that comes in as on a line: 20 ms at a time, silence before and after.

    Args:
        stream: The transcriber's.
        audio: mu-law at 8000 Hz.
        enough: Whether these words will do, so that there is no more to wait for.

    Raises:
        VendorError: The transcriber failed.
    """
    finals: list[str] = []
    last_word = [0.0]

    async def listen() -> None:
        async for event in stream:
            if isinstance(event, Heard) and event.final and event.text.strip():
                finals.append(event.text.strip())
                last_word[0] = time.monotonic()
                if enough(" ".join(finals)):
                    return

    listening = asyncio.create_task(listen())
    try:
        async with aclosing(_frames(stream, audio, listening)) as frames:
            async for done_speaking in frames:
                settled = finals and time.monotonic() - last_word[0] > SETTLE
                if listening.done() or (done_speaking and settled):
                    break
        if listening.done():
            await listening
    finally:
        listening.cancel()
        await asyncio.wait([listening])
    return " ".join(finals)


async def _frames(
    stream: TranscriptionStream, audio: bytes, listening: asyncio.Task[None]
) -> AsyncGenerator[bool, None]:
    """Send the line's audio in real time; says after each frame whether the turn is over."""
    begin, end = LEAD, LEAD + seconds(len(audio))
    line = silence(LEAD * 1000) + audio + silence((TURN_AFTER + FINAL_LIMIT) * 1000)
    edges = [
        (begin, stream.speech_started),
        (end + PAUSE_AFTER, stream.speech_stopped),
        (end + TURN_AFTER, stream.finish_utterance),
    ]
    started = time.monotonic()
    for number, at in enumerate(range(0, len(line) - FRAME_BYTES + 1, FRAME_BYTES), 1):
        now = number * FRAME_MS / 1000
        await asyncio.wait([listening], timeout=max(started + now - time.monotonic(), 0.0))
        await stream.send(line[at : at + FRAME_BYTES])
        while edges and edges[0][0] <= now:
            await edges.pop(0)[1]()
        yield not edges


async def _answer(part: Part, runtime: Runtime, rehearsal: Rehearsal) -> Finding:
    limit, setting = rehearsal.response_timeout, rehearsal.timeout_setting
    why = f" ({setting})" if setting else ", which is what a model's question may take"

    def late(cause: str) -> Finding:
        return Finding(
            hop=part.role,
            name=part.label,
            status=Status.FAILED,
            text="it does not answer in time",
            cause=cause,
            fix=f"choose a faster model with responseModel{f', or raise {setting}' if setting else ''}",
        )

    async def answer() -> Finding:
        request = TurnRequest(
            call_id=CALL_ID,
            turn=1,
            text=QUESTION,
            direction="inbound",
            session_key=CALL_ID,
            system_prompt=rehearsal.system_prompt,
            language=rehearsal.language,
        )
        text, first = "", 0.0
        async with part.open(runtime) as responder:
            began = time.monotonic()
            try:
                async with asyncio.timeout(limit), aclosing(responder.respond(request)) as events:
                    async for event in events:
                        if isinstance(event, TextDelta):
                            text += event.text
                            first = first or (time.monotonic() - began if text.strip() else 0.0)
            except TimeoutError:
                begun = f"it began after {first:.1f} s, and " if first else ""
                return late(f"{begun}no whole reply came within {limit:g} s{why}")
            whole = time.monotonic() - began
        return _judge_answer(part, text, first, whole, rehearsal)

    return await attempt(answer, hop=part.role, name=part.label, limit=OPENING + limit, section=part.section)


def _judge_answer(part: Part, text: str, first: float, whole: float, rehearsal: Rehearsal) -> Finding:
    if not text.strip():
        return Finding(
            hop=part.role,
            name=part.label,
            status=Status.FAILED,
            text="it says nothing",
            cause=f'the answer to "{QUESTION}" had no words',
            fix=f"look at responseModel, responseSystemPrompt and {part.section}",
        )
    said = f'answers "{short(text)}": first word after {first * 1000:.0f} ms, all after {whole * 1000:.0f} ms'
    if first > rehearsal.filler_after:
        return Finding(
            hop=part.role,
            name=part.label,
            status=Status.WARNING,
            text=said,
            cause="callers will hear a filler before every answer",
            fix="choose a faster model with responseModel",
        )
    return Finding(hop=part.role, name=part.label, text=said)


def short(text: str, most: int = 70) -> str:
    """The beginning of a text, on one line."""
    words = " ".join(text.split())
    return words if len(words) <= most else f"{words[:most].rstrip()}..."
