"""What this package adds between a speech-to-speech model and the telephone, with both stood in for by emulators.

Starts the service with OpenAI's realtime model on Twilio's media stream, and lets somebody call it who asks, listens,
and talks over the agent. Both emulators run in this process, so every time is of one clock, and what the emulators
themselves compute between two times is in the figures too.

* sound to carrier: a `response.output_audio.delta` leaves the model, its last byte reaches Twilio. The model makes
  sound faster than it is heard, and we send no more than a second of it ahead (`playout.leadMs`), so only deltas that
  fit into that second when they leave the model count: the others wait on purpose. Left out as well are a last delta
  that is shorter than the others, which waits for the reply's end, and the greeting, whose first 200 ms are listened to
  before they are played, in case they are noise;
* barge-in to clear: `input_audio_buffer.speech_started` leaves the model while the agent is heard, `clear` reaches
  Twilio. How long the model takes to notice the caller is not in it;
* truncation: how far `audio_end_ms` of `conversation.item.truncate` is from what of that item the caller's recording
  holds, in ms of audio, either way;
* turn: `input_audio_buffer.speech_stopped` leaves the model, the first sound of the reply reaches Twilio, less the time
  that the emulated model is told to think. What else it does meanwhile, such as making out the words, is in it;
* turn, ours: the same, less all that the model took until its first sound left;
* answer to session: the call is answered, the model confirms the session (`session.updated` leaves it). Below zero
  where it was confirmed before the answer;
* answer to greeting: the call is answered, the greeting's first sound reaches Twilio;
* session to greeting: from that confirmation to that sound. The model's own time to begin it is in it, and the 200 ms
  of sound that are listened to, which the emulator makes in 20 ms.

    python bench/model_line.py                      # four calls, one after the other, about 90 s
    python bench/model_line.py --calls 8 --at-once 4
    python bench/model_line.py --check              # exit code 1 when a target is missed
"""

import argparse
import asyncio
import base64
import json
import math
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from openclaw_voicecall.testing.emulators.clips import CHUNK, ClipBook
from openclaw_voicecall.testing.emulators.openai_replies import Cue, Reply
from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator
from openclaw_voicecall.testing.emulators.openai_voice_records import VoiceSession
from openclaw_voicecall.testing.emulators.twilio import Call, Person, TwilioEmulator
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.service import RunningService

TARGETS_MS = {"sound to carrier": 20, "barge-in to clear": 40, "truncation": 60}
"""For the 95th percentile."""
THINKING = 0.3
"""Seconds between the end of a turn and the model's first output, as the emulator is told."""
DELTA_MS, DELTA_INTERVAL = 100, 0.02
"""The model makes 100 ms of sound every 20 ms."""
LEAD = 1.0
"""Seconds of sound that the service sends ahead; its own default."""
MARGIN = 0.05
"""Seconds of the lead that are left out, so that the pacer's own rounding decides nothing here."""
TALK_OVER_AFTER = (0.7, 1.13, 1.67)
"""Seconds that the agent is heard before the caller talks over it, in turn."""
CLEAR_LIMIT = 1.0
"""Seconds after which a `clear` has nothing to do with the barge-in."""
RATE = 8000

OURS = "+12670000000"
SID, VOICE = "AC" + "0" * 31 + "1", "marin"
GREETING = "Hello, how can I help?"
SPEECH_STARTED, SPEECH_STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
DELTA, UPDATED, TRUNCATE = "response.output_audio.delta", "session.updated", "conversation.item.truncate"
CANCELLED_ALREADY = ("response.cancel", "Cancellation failed: no active response found")
"""A caller who talks over a reply that is still being made: the model ends it by itself, and our order comes after."""
SHORT = "Yes, call {} of the day, item {}."
LONG = "Here is what I know of number {}, item {}: it is an old town by the water, and many people come every year."


@dataclass
class Line:
    """The service, what stands in for the vendors, and what is said."""

    service: RunningService
    twilio: TwilioEmulator
    model: OpenAIVoiceEmulator
    caller: ClipBook
    replies: dict[str, str]
    """What the model answers to what."""

    def ask(self, text: str, reply: str) -> bytes:
        """The sound of a question, for which there is an answer."""
        self.replies[text] = reply
        return self.caller.add(text, babble(text, seed="caller"))

    def session_of(self, text: str) -> VoiceSession:
        """The session in which the caller said this."""
        found = [session for session in self.model.sessions if text in session.heard]
        if len(found) != 1:
            raise RuntimeError(
                f"{text!r} was understood {len(found)} times; heard was "
                f"{[session.heard for session in self.model.sessions]}\n{self.service.stderr}"
            )
        return found[0]


@dataclass
class Held:
    """A call that is over."""

    call: Call
    session: VoiceSession
    answered: float
    """Seconds of `time.monotonic`."""


@dataclass
class Figures:
    """What was measured: seconds, those of `truncations` of audio."""

    sounds: list[float] = field(default_factory=list)
    clears: list[float] = field(default_factory=list)
    truncations: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    sessions: list[float] = field(default_factory=list)
    greetings: list[float] = field(default_factory=list)
    confirmed: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What should have happened and did not."""


class Arrivals:
    """What Twilio was sent in one call: bytes, and when each of them came."""

    def __init__(self, call: Call) -> None:
        (stream,) = call.streams
        self._audio = b"".join(audio for _, audio in stream.arrivals)
        self._times = [at for at, _ in stream.arrivals]
        self._ends = list(accumulate(len(audio) for _, audio in stream.arrivals))
        self._searched = 0

    def when(self, audio: bytes) -> tuple[float, float] | None:
        """When the first and the last byte of this came, after what was found before; None where they did not."""
        place = self._audio.find(audio, self._searched)
        if place < 0:
            return None
        self._searched = place
        return self._at(place), self._at(place + len(audio) - 1)

    def _at(self, place: int) -> float:
        return self._times[bisect_right(self._ends, place)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, help="calls in all [4, or as many as at once]")
    parser.add_argument("--at-once", type=int, default=1, help="calls at the same time [1]")
    parser.add_argument("--turns", type=int, default=1, help="turns of a call, interruptions not counted [1]")
    parser.add_argument("--interruptions", type=int, default=5, help="interruptions of a call [5]")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    options.calls = options.calls or max(4, options.at_once)
    figures = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(1 if options.check and figures["missed"] else 0)


async def measure(options: argparse.Namespace) -> dict:
    calls: list[Held] = []
    with tempfile.TemporaryDirectory(prefix="ovc-bench-") as folder:
        async with model_line(Path(folder) / "state") as line:
            for start in range(0, options.calls, options.at_once):
                batch = range(start, min(start + options.at_once, options.calls))
                calls += await asyncio.gather(*(hold_call(line, number, options) for number in batch))
            refusals = [
                f"{each.vendor}: {refusal.where}: {refusal.why}"
                for each in (line.twilio, line.model)
                for refusal in each.refusals
                if (refusal.where, refusal.why) != CANCELLED_ALREADY
            ]
    figures = Figures()
    for held in calls:
        measure_model(held, figures)
        measure_truncations(held, figures)
    return summarise(figures, options, refusals)


@asynccontextmanager
async def model_line(state: Path) -> AsyncIterator[Line]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    webhook = f"http://127.0.0.1:{port}/voice/webhook"
    caller, replies = ClipBook(), {}

    def think(cue: Cue) -> Reply:
        return Reply(replies.get(cue.heard, "Pardon?"), delay=THINKING)

    speed = {"delta_ms": DELTA_MS, "delta_interval": DELTA_INTERVAL}
    async with (
        TwilioEmulator(account_sid=SID, numbers={OURS: webhook}) as twilio,
        OpenAIVoiceEmulator(recognizer=caller, replies=think, **speed) as model,
    ):
        config = {
            "provider": "twilio",
            "twilio": {"accountSid": SID, "authToken": "emulated-token", "apiBaseUrl": twilio.url},
            "fromNumber": OURS,
            "inboundPolicy": "open",
            "inboundGreeting": GREETING,
            "publicUrl": webhook,
            "maxConcurrentCalls": 100,
            "playout": {"leadMs": round(LEAD * 1000)},
            "realtime": {
                "enabled": True,
                "provider": "openai",
                "instructions": "You are the front office.",
                "providers": {"openai": {"apiKey": model.key, "baseUrl": f"{model.url}/v1", "voice": VOICE}},
            },
        }
        service = RunningService(state, port=port, config=config)
        await asyncio.to_thread(service.__enter__)
        try:
            yield Line(service, twilio, model, caller, replies)
        finally:
            await asyncio.to_thread(service.__exit__, None, None, None)


async def hold_call(line: Line, number: int, options: argparse.Namespace) -> Held:
    """One call: so many turns, then so many answers that the caller talks over, and the answer to the last of it."""
    answered, questions = 0.0, []

    def question(reply: str) -> bytes:
        place = len(questions)
        questions.append(f"ask {number} {place}")
        return line.ask(questions[-1], reply.format(number, place))

    async def person(phone: Person) -> None:
        nonlocal answered
        answered = time.monotonic() - phone.now
        await phone.wait_for_agent(quiet=0.5)
        for _ in range(options.turns):
            await phone.say(question(SHORT))
            await phone.wait_for_agent(quiet=0.5)
        for place in range(options.interruptions):
            await phone.say(question(LONG))
            await phone.wait_for_sound()
            await phone.wait(TALK_OVER_AFTER[place % len(TALK_OVER_AFTER)])
        if options.interruptions:
            await phone.say(question(SHORT))
            await phone.wait_for_agent(quiet=0.5)
        phone.hang_up()

    call = await line.twilio.dial_in(f"+1555000{number:04d}", OURS, person)
    async with asyncio.timeout(30 + 15 * (options.turns + options.interruptions)):
        await call.finished()
    session = line.session_of(questions[0])
    if session.heard != questions:
        raise RuntimeError(f"understood was {session.heard} and not {questions}\n{line.service.stderr}")
    return Held(call, session, answered)


def measure_model(held: Held, figures: Figures) -> None:
    """Go through what the model sent, in order, and look for what Twilio got of it."""
    arrivals, clears = Arrivals(held.call), clears_of(held.call)
    replies = {item.id: reply for reply in held.session.responses for item in reply.items}
    greeting = held.session.responses[0]
    begun: set[str] = set()
    confirmed = stopped = 0.0
    drained = 0.0
    """When the caller would have heard all that the model has made so far, were it sent on at once."""
    for at, event in zip(held.session.sent_at, held.session.sent, strict=True):
        if event["type"] == UPDATED and not confirmed:
            confirmed = at
            figures.sessions.append(confirmed - held.answered)
        elif event["type"] == SPEECH_STOPPED:
            stopped = at
        elif event["type"] == SPEECH_STARTED and drained > at:
            clear = next((each for each in clears if each >= at), math.inf)
            if clear - at > CLEAR_LIMIT:
                figures.wrong.append("the caller talked over the agent, and Twilio was not told to clear")
            else:
                figures.clears.append(clear - at)
                drained = clear
        elif event["type"] == DELTA:
            audio, reply = base64.b64decode(event["delta"]), replies[event["item_id"]]
            starts = max(drained, at)
            drained = starts + len(audio) / RATE
            at_once = drained - at <= LEAD - MARGIN and len(audio) == DELTA_MS * RATE // 1000
            came = arrivals.when(audio) if at_once else None
            if at_once and came is None:
                figures.wrong.append("a delta that could leave at once did not reach Twilio")
            elif came is not None and reply is greeting:
                if reply.id not in begun:
                    figures.greetings.append(came[0] - held.answered)
                    figures.confirmed.append(came[0] - confirmed)
            elif came is not None:
                figures.sounds.append(came[1] - at)
                if reply.id not in begun and reply.why == "turn":
                    figures.turns.append(came[0] - stopped - THINKING)
                    figures.own.append(came[0] - at)
            begun.add(reply.id)


def clears_of(call: Call) -> list[float]:
    return [each.at for each in call.exchange.moments if (each.what, each.about) == ("clear", call.sid)]


def measure_truncations(held: Held, figures: Figures) -> None:
    """Compare what the model was told was heard of an item with what the caller's recording holds of it."""
    heard, book = bytes(held.call.line.heard), ClipBook()
    texts = {item.id: (reply.text, reply.voice) for reply in held.session.responses for item in reply.items}
    for text, voice in texts.values():
        book.add(text, babble(text, seed=voice))
    finds = book.read(heard)
    told = [event for event in held.session.received if event["type"] == TRUNCATE]
    for event in told:
        text, voice = texts[event["item_id"]]
        audio, reached = babble(text, seed=voice), 0
        for found in finds:
            if found.clip == text:
                end = (found.chunks[-1] + 1) * CHUNK
                reached = max(reached, end + alike(audio[end:], heard[found.end :]))
        figures.truncations.append(abs(event["audio_end_ms"] / 1000 - reached / RATE))
    if len(told) < len(clears_of(held.call)):
        figures.wrong.append("the agent was interrupted, and the model was not told how much was heard")


def alike(one: bytes, other: bytes) -> int:
    """How many bytes two sounds have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, pair in pairs if pair[0] != pair[1]), min(len(one), len(other)))


def summarise(figures: Figures, options: argparse.Namespace, refusals: list[str]) -> dict:
    rows = [
        row("sound to carrier", figures.sounds),
        row("barge-in to clear", figures.clears),
        row("truncation", figures.truncations),
        row("turn", figures.turns),
        row("turn, ours", figures.own),
        row("answer to session", figures.sessions),
        row("answer to greeting", figures.greetings),
        row("session to greeting", figures.confirmed),
    ]
    measured = {each["measure"]: each for each in rows if each["n"]}
    missed = [
        f"{name} takes {measured[name]['p95_ms']} ms at the 95th percentile, more than {target}"
        for name, target in TARGETS_MS.items()
        if name in measured and measured[name]["p95_ms"] > target
    ]
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "calls": options.calls,
        "at_once": options.at_once,
        "rows": list(measured.values()),
        "targets_ms": TARGETS_MS,
        "missed": missed + figures.wrong + [f"refused by {refusal}" for refusal in refusals],
    }


def row(name: str, seconds: list[float]) -> dict[str, float | int | str]:
    values = sorted(value * 1000 for value in seconds)
    if not values:
        return {"measure": name, "n": 0}
    return {
        "measure": name,
        "n": len(values),
        "p50_ms": round(statistics.median(values), 1),
        "p95_ms": round(values[math.ceil(0.95 * len(values)) - 1], 1),
        "max_ms": round(values[-1], 1),
    }


def show(figures: dict) -> None:
    print(
        f"{figures['machine']}; calls with a speech model over Twilio's emulator: {figures['calls']}, "
        f"{figures['at_once']} at once"
    )
    for each in figures["rows"]:
        target = figures["targets_ms"].get(each["measure"])
        print(
            f"{each['measure']:20} n={each['n']:<4} p50 {each['p50_ms']:>7.1f}  p95 {each['p95_ms']:>7.1f}  "
            f"max {each['max_ms']:>7.1f}  ms{f'   target {target}' if target else ''}"
        )
    for miss in figures["missed"]:
        print(f"missed: {miss}")


if __name__ == "__main__":
    main()
