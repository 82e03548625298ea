"""A script being performed: a generator that goes one step of 20 ms at each `next`.

It waits by yielding, so it needs neither a clock nor an event loop, and its timing is exact to the frame.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from openclaw_voicecall.providers.local.phone import script as parts
from openclaw_voicecall.providers.local.phone.audio import FRAME_SECONDS, dtmf_tone, tone
from openclaw_voicecall.providers.local.phone.far_end import FarEnd, LineEnd

Lines = Mapping[str | Path, bytes]
"""The mu-law audio of every sentence and file of a script."""

_KEY_SECONDS = 0.1
_KEY_GAP = 0.1


def perform(script: parts.Script, lines: Lines, line: FarEnd) -> Iterator[None]:
    """Do what the script says on a line, then listen until the other side hangs up or `linger` is over."""
    line.mouth.make_noise(script.noise)
    yield from _do_all(script.steps, lines, line)
    yield from _pass(script.linger)
    line.report.note(line.now, "lingered long enough")
    line.end = LineEnd(reason="caller-hung-up", detail="nobody hung up after the last step")


def _do_all(steps: Sequence[parts.Step], lines: Lines, line: FarEnd) -> Iterator[None]:
    for step in steps:
        yield from _do(step, lines, line)


def _do(step: parts.Step, lines: Lines, line: FarEnd) -> Iterator[None]:
    match step:
        case parts.Say() | parts.Play():
            yield from _speak(step, lines, line)
        case parts.WaitForAgent():
            yield from _wait(step, line)
        case parts.Interrupt():
            yield from _interrupt(step, lines, line)
        case parts.Silence(seconds=seconds):
            yield from _pass(seconds)
        case parts.Press():
            yield from _press(step, line)
        case parts.Noise(dbfs=dbfs):
            line.report.note(line.now, "noise", dbfs=dbfs)
            line.mouth.make_noise(dbfs)
        case parts.Tone(hz=hz, seconds=seconds, dbfs=dbfs):
            line.report.note(line.now, "tone", hz=hz, ms=round(seconds * 1000))
            line.mouth.say(tone((hz,), seconds, dbfs))
            yield from _finish_speaking(line)
        case parts.Drop(seconds=seconds, cut=cut):
            line.report.note(line.now, "drops the media stream")
            detail = "the phone's script lost the media stream"
            yield from _end(
                line, LineEnd(reason="media-lost", detail=detail, orderly=False, cut=cut, delay=seconds)
            )
        case parts.HangUp():
            line.report.note(line.now, "hangs up")
            yield from _end(line, LineEnd(reason="caller-hung-up"))
        case parts.Repeat(times=times, steps=steps):
            for _ in range(times):
                yield from _do_all(steps, lines, line)


def _pass(seconds: float) -> Iterator[None]:
    for _ in range(round(seconds / FRAME_SECONDS)):
        yield


def _end(line: FarEnd, end: LineEnd) -> Iterator[None]:
    line.end = end
    while True:
        yield


def _finish_speaking(line: FarEnd) -> Iterator[None]:
    while line.mouth.speaking:
        yield
    line.ear.forget()


def _speak(words: parts.Say | parts.Play, lines: Lines, line: FarEnd) -> Iterator[None]:
    start = line.now
    key, text = (words.text, words.text) if isinstance(words, parts.Say) else (words.path, words.path.name)
    line.mouth.say(lines[key])
    yield from _finish_speaking(line)
    line.spoke(text, start)


def _wait(step: parts.WaitForAgent, line: FarEnd) -> Iterator[None]:
    latest = line.now + step.timeout
    while not line.ear.spoke:
        if line.now >= latest:
            line.report.note(line.now, "waited in vain", seconds=step.timeout)
            return
        yield
    while line.ear.quiet_for < step.pause:
        yield
    line.ear.forget()


def _interrupt(step: parts.Interrupt, lines: Lines, line: FarEnd) -> Iterator[None]:
    latest = line.now + step.timeout
    while (speaking_for := line.ear.speaking_for) is None:
        if line.now >= latest:
            line.report.note(line.now, "waited in vain", seconds=step.timeout)
            break
        yield
    else:
        yield from _pass(max(0.0, step.after - speaking_for))
        line.report.note(line.now, "interrupts", agentSpeaking=line.ear.speaking_for is not None)
    yield from _speak(step.words, lines, line)


def _press(step: parts.Press, line: FarEnd) -> Iterator[None]:
    for key in step.digits:
        if key == "w":
            yield from _pass(0.5)
            continue
        if step.audible:
            line.mouth.say(dtmf_tone(key, _KEY_SECONDS))
        line.press(key)
        yield from _pass(_KEY_SECONDS + _KEY_GAP)
