"""What this package adds between a speech-to-speech model and the telephone, with both stood in for by emulators.

Starts the service with OpenAI's realtime model on Twilio's media stream, and lets somebody call it who asks, listens,
and talks over the agent. Both emulators run in this process, so every time is of one clock, and what the emulators
themselves compute between two times is in the figures too.

* sound to carrier: a `response.output_audio.delta` leaves the model, its last byte reaches Twilio. The model makes
  sound faster than it is heard, and we send no more than a second of it ahead (`playout.leadMs`), so only deltas that
  fit into that second when they come count: the others wait on purpose. Left out as well is a last delta that is
  shorter than the others, which waits for the reply's end, and the greeting, whose first 200 ms are listened to before
  they are played, in case they are noise;
* barge-in to clear: `input_audio_buffer.speech_started` leaves the model while the agent is heard, `clear` reaches
  Twilio;
* truncation: how far `audio_end_ms` of `conversation.item.truncate` is from what of that item the caller's recording
  holds, in ms of audio, either way;
* turn: `input_audio_buffer.speech_stopped` leaves the model, the first sound of the reply reaches Twilio, less the time
  that the emulated model is told to think. The rest of what it does for a turn, such as making out the words, is in it;
* turn, ours: the same, less all that the model took until its first sound left;
* answer to session: the call is answered, the model confirms the session (`session.updated` leaves it). Nothing is
  said before;
* answer to greeting: the call is answered, the greeting's first sound reaches Twilio;
* session to greeting: from that confirmation to that sound; the vendor's answer to our asking for it is in it.

    python bench/model_line.py                      # three calls, one after the other, about 80 s
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
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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
TALK_OVER_AFTER = (1.1, 1.63, 2.17)
"""Seconds that the agent is heard before the caller talks over it, in turn."""
RATE = 8000

OURS = "+12670000000"
SID, VOICE = "AC" + "0" * 31 + "1", "marin"
GREETING = "Hello, how can I help?"
SPEECH_STARTED, SPEECH_STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
DELTA, UPDATED, TRUNCATE = "response.output_audio.delta", "session.updated", "conversation.item.truncate"
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
    """What was measured in one call: seconds, those of `truncated` of audio."""

    sounds: list[float] = field(default_factory=list)
    clears: list[float] = field(default_factory=list)
    truncated: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    session: float = 0.0
    """Of the answer, as `greeting`."""
    greeting: float = 0.0
    wrong: list[str] = field(default_factory=list)
    """What should have happened and did not."""


@dataclass(frozen=True)
class Delta:
    """A piece of sound that the model made."""

    at: float
    item: str
    audio: bytes


class Arrivals:
    """What Twilio was sent in one call: bytes, and when each of them came."""

    def __init__(self, call: Call) -> None:
        (stream,) = call.streams
        self.audio = b"".join(audio for _, audio in stream.arrivals)
        self._ends, place = [], 0
        for at, audio in stream.arrivals:
            place += len(audio)
            self._ends.append((place, at))
        self._searched = 0

    def when(self, audio: bytes) -> tuple[float, float] | None:
        """When the first and the last byte of this came, after what was looked for before; None if they did not."""
        place = self.audio.find(audio, self._searched)
        if place < 0:
            return None
        self._searched = place
        return self._at(place), self._at(place + len(audio) - 1)

    def _at(self, place: int) -> float:
        return next(at for end, at in self._ends if place < end)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, help="calls in all [3, or as many as at once]")
    parser.add_argument("--at-once", type=int, default=1, help="calls at the same time [1]")
    parser.add_argument("--turns", type=int, default=3, help="turns of a call without an interruption [3]")
    parser.add_argument("--interruptions", type=int, default=3, help="interruptions of a call [3]")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    options.calls = options.calls or max(3, options.at_once)
    figures = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(1 if options.check and figures["missed"] else 0)


async def measure(options: argparse.Namespace) -> dict:
    held: list[Held] = []
    with tempfile.TemporaryDirectory(prefix="ovc-bench-") as folder:
        async with model_line(Path(folder) / "state") as line:
            for start in range(0, options.calls, options.at_once):
                batch = range(start, min(start + options.at_once, options.calls))
                held += await asyncio.gather(*(hold_call(line, number, options) for number in batch))
            refusals = [f"{each.vendor}: {why}" for each in (line.twilio, line.model) for why in each.refusals]
    return summarise(held, options, refusals)


@asynccontextmanager
async def model_line(state: Path) -> AsyncIterator[Line]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    webhook = f"http://127.0.0.1:{port}/voice/webhook"
    caller, replies = ClipBook(), {}

    def think(cue: Cue) -> Reply:
        return Reply(replies[cue.heard], delay=THINKING)

    async with (
        TwilioEmulator(account_sid=SID, numbers={OURS: webhook}) as twilio,
        OpenAIVoiceEmulator(
            recognizer=caller, replies=think, delta_ms=DELTA_MS, delta_interval=DELTA_INTERVAL
        ) as model,
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
        questions.append(f"call {number} question {place}")
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
    return measure_call(line, call, session, answered, options.interruptions)


def measure_call(line: Line, call: Call, session: VoiceSession, answered: float, interruptions: int) -> Held:
    events = list(zip(session.sent_at, session.sent, strict=True))
    replies = {text: list(deltas) for text, deltas in replies_of(session, events)}
    arrivals, held = Arrivals(call), Held()
    confirmed = next(at for at, event in events if event["type"] == UPDATED)
    first, *others = replies
    begun = arrivals.when(replies[first][0].audio[:CHUNK])
    if begun is None:
        raise RuntimeError(f"the greeting was not heard\n{line.service.stderr}")
    held.session, held.greeting = confirmed - answered, begun[0] - answered
    drained = begun[0]
    for text in others:
        drained = measure_sounds(replies[text], arrivals, drained, held, whole=text.startswith(SHORT[:9]))
    return held
