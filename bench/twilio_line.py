"""What this package adds to a turn of a Twilio call, with every vendor stood in for by its emulator.

Starts the service with the configuration of a Twilio user (OpenAI listens, xAI's Grok answers, ElevenLabs speaks) and
lets somebody call it. Every time is one at which an emulator took a message in or sent one, all on one clock:

* a turn: the transcript leaves OpenAI (0), the request reaches the model (1), the last token of the first utterance
  leaves the model (2), its text reaches ElevenLabs (3), its first audio leaves ElevenLabs (4), the first audio of the
  turn reaches Twilio (5). Our share is 0-1, 2-3 and 4-5; in between we wait for a vendor;
* a barge-in: OpenAI reports speech while the agent speaks, `clear` reaches Twilio, the caller hears silence.

    python bench/twilio_line.py                       # one call of 20 turns and 10 interruptions
    python bench/twilio_line.py --calls 5 --check     # five of them; exit code 1 when a target is missed
"""

import argparse
import asyncio
import json
import math
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator
from openclaw_voicecall.testing.emulators.serving import Moment
from openclaw_voicecall.testing.emulators.twilio import Call, Person, TwilioEmulator
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.service import RunningService

TARGET_MS = 60
"""For the median of our share of a turn, and of `clear` after the vendor's report of speech."""
TRANSCRIPT_DELAY = 0.3
FIRST_TOKEN_DELAY, TOKEN_DELAY = 0.25, 0.03
FIRST_AUDIO_DELAY, CHUNK_DELAY = 0.1, 0.02
"""Seconds that the vendors take. Audio comes in pieces of 0.1 s on average, so four times as fast as it plays."""
TALK_OVER_AFTER = 0.8
"""Seconds that the agent is heard before the caller talks over it."""
AUDIBLE = bytes((~byte & 0x7F) >= 0x18 for byte in range(256))
"""Mu-law codes to 1 where they can be heard."""
RATE, FRAME = 8000, 160

OURS, CALLER = "+12670000000", "+15550001111"
SID, VOICE = "AC" + "0" * 31 + "1", "54noaetjxv80HAvkIbfQ"
COMPLETED = "conversation.item.input_audio_transcription.completed"
SPEECH_STARTED = "input_audio_buffer.speech_started"

CONFIG = {
    "provider": "twilio",
    "twilio": {"accountSid": SID, "authToken": "emulated-token"},
    "fromNumber": OURS,
    "inboundPolicy": "open",
    "inboundGreeting": "Hello, how can I help?",
    "skipSignatureVerification": True,
    "maxConcurrentCalls": 20,
    "maxDurationSeconds": 3600,
    "tunnel": {"provider": "none"},
    "outbound": {"defaultMode": "conversation", "notifyHangupDelaySec": 3},
    "streaming": {"enabled": True, "streamPath": "/voice/stream", "openaiApiKey": "sk-emulated"},
    "responseModel": "xai/grok-4-1-fast-reasoning",
    "responseTimeoutMs": 20000,
    "tts": {
        "provider": "elevenlabs",
        "elevenlabs": {"apiKey": "xi-emulated", "voiceId": VOICE, "modelId": "eleven_turbo_v2_5"},
    },
}

PLACES = ("Oslo", "Bergen", "Porto", "Lima", "Cairo", "Delhi", "Perth", "Quito", "Sofia", "Turin")
SHORT = (
    "It is sunny in {}. Tomorrow there may be some rain.",
    "Yes, you can. The next train to {} goes at noon.",
    "The office in {} is open. It closes at six today.",
    "Of course, for {} that is easy, and it takes a minute.",
)
LONG = "Here is what I know of {}. It is an old town by the water, and many people come to see it every year."


@dataclass
class Line:
    """The service, what stands in for the vendors, and what is said."""

    service: RunningService
    twilio: TwilioEmulator
    openai: OpenAIRealtimeEmulator
    chat: ChatEmulator
    elevenlabs: ElevenLabsEmulator
    caller: ClipBook
    replies: dict[str, str]
    """What the model answers to what."""

    def ask(self, text: str, reply: str) -> bytes:
        """The sound of a question, for which there is an answer."""
        self.replies[text] = reply
        return self.caller.add(text, babble(text, seed="caller"))

    def all_refusals(self) -> list[str]:
        emulators = (self.twilio, self.openai, self.chat, self.elevenlabs)
        return [f"{each.vendor}: {refusal}" for each in emulators for refusal in each.refusals]


@dataclass(frozen=True)
class Turn:
    """Seconds of one clock; see the head of this file for 0 to 5."""

    spoken: float
    """When the caller's last sound was over."""
    marks: tuple[float, float, float, float, float, float]
    next_token: float
    """When the model sent what follows the first utterance; only that shows that the sentence is over."""
    last_token: float

    @property
    def ours(self) -> tuple[float, float, float]:
        zero, one, two, three, four, five = self.marks
        return one - zero, three - two, five - four

    @property
    def awaited(self) -> float:
        """The part of 2-3 in which the next token was awaited."""
        return max(0.0, min(self.next_token, self.marks[3]) - self.marks[2])

    @property
    def own(self) -> float:
        return sum(self.ours)

    @property
    def vendors(self) -> float:
        """From the transcript to the first audio, less our share."""
        return self.marks[5] - self.marks[0] - self.own

    @property
    def early(self) -> bool:
        """Whether Twilio had the first audio while the model still wrote."""
        return self.marks[5] < self.last_token


@dataclass(frozen=True)
class BargeIn:
    """Seconds from the vendor's report of speech."""

    clear: float
    silence: float
    """Until the caller heard nothing any more."""
    since_sound: float
    """From the caller's first sound to that silence; the vendor's detection is in it."""
    resumed: bool
    """Whether the agent went on with what it had said before."""


@dataclass
class Held:
    """What was measured in one call."""

    turns: list[Turn]
    after: list[Turn]
    """Answers to what the caller said in talking over the agent."""
    barge_ins: list[BargeIn]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1, help="calls, one after the other [1]")
    parser.add_argument(
        "--turns", type=int, default=20, help="turns of a call, interruptions not counted [20]"
    )
    parser.add_argument("--interruptions", type=int, default=10, help="interruptions of a call [10]")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    figures = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(1 if options.check and figures["missed"] else 0)


async def measure(options: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory(prefix="ovc-bench-") as folder:
        async with vendor_line(Path(folder) / "state") as line:
            calls = [
                await hold_call(line, options.turns, options.interruptions) for _ in range(options.calls)
            ]
            refusals = line.all_refusals()
    return summarise(calls, options, refusals)


@asynccontextmanager
async def vendor_line(state: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    webhook = f"http://127.0.0.1:{port}/voice/webhook"
    caller, replies = ClipBook(), {}
    async with AsyncExitStack() as stack:
        twilio = await stack.enter_async_context(TwilioEmulator(account_sid=SID, numbers={OURS: webhook}))
        openai = await stack.enter_async_context(
            OpenAIRealtimeEmulator(recognizer=caller, delay=TRANSCRIPT_DELAY)
        )
        chat = await stack.enter_async_context(
            ChatEmulator(
                respond=lambda messages, body: replies[messages[-1]["content"]],
                first_token_delay=FIRST_TOKEN_DELAY,
                token_delay=TOKEN_DELAY,
            )
        )
        elevenlabs = await stack.enter_async_context(
            ElevenLabsEmulator(voices=[VOICE], chunk_delay=CHUNK_DELAY)
        )
        elevenlabs.fail_next("slow", times=0, seconds=FIRST_AUDIO_DELAY)
        config = json.loads(json.dumps(CONFIG))
        config["publicUrl"] = webhook
        config["twilio"]["apiBaseUrl"] = twilio.url
        config["streaming"]["providers"] = {"openai": {"baseUrl": openai.url + "/v1"}}
        config["responders"] = {"xai": {"baseUrl": chat.url + "/v1", "apiKey": "sk-emulated"}}
        config["tts"]["providers"] = {"elevenlabs": {"baseUrl": elevenlabs.url}}
        service = RunningService(state, port=port, config=config)
        await asyncio.to_thread(service.__enter__)
        try:
            await quiet(elevenlabs)
            yield Line(service, twilio, openai, chat, elevenlabs, caller, replies)
        finally:
            await asyncio.to_thread(service.__exit__, None, None, None)


async def quiet(elevenlabs: ElevenLabsEmulator) -> None:
    """Wait until the service has fetched the phrases that it keeps ready: in use it has done so long before."""
    known = -1
    while len(elevenlabs.moments) != known:
        known = len(elevenlabs.moments)
        await asyncio.sleep(1.0)


async def hold_call(line: Line, turns: int, interruptions: int) -> Held:
    """One call: so many turns, then so many answers that the caller talks over, and the answer to the last of it."""
    texts, begin, epoch = [], len(line.openai.moments), 0.0

    def question(number: int, reply: str) -> bytes:
        place = PLACES[number % len(PLACES)]
        texts.append(f"{place} please, item {'abcdefghijklmnopqrstuvwxyz'[number // len(PLACES)]}")
        return line.ask(texts[-1], reply.format(place))

    async def person(phone: Person) -> None:
        nonlocal epoch
        epoch = time.monotonic() - phone.now
        await phone.wait_for_agent(quiet=0.5)
        for number in range(turns):
            await phone.say(question(number, SHORT[number % len(SHORT)]))
            await phone.wait_for_agent(quiet=0.8)
        for number in range(turns, turns + interruptions + 1):
            asked = len(line.chat.requests)
            await phone.say(question(number, LONG))
            await reply_begins(line, phone, asked)
            await phone.wait(TALK_OVER_AFTER)
        phone.hang_up()

    call = await line.twilio.dial_in(CALLER, OURS, person)
    async with asyncio.timeout(30 + 20 * (turns + interruptions)):
        await call.finished()
    heard = line.openai.sessions[-1].transcripts
    if heard != texts:
        raise RuntimeError(
            f"the caller was not understood: {heard} instead of {texts}\n{line.service.stderr}"
        )
    measured = measure_turns(line, call, line.openai.moments[begin].at, epoch)
    return Held(measured[:turns], measured[turns + 1 :], measure_barge_ins(line, call, epoch, turns))


async def reply_begins(line: Line, phone: Person, asked: int) -> None:
    """Wait until the model was asked once more and its answer sounds."""
    async with asyncio.timeout(15):
        while len(line.chat.requests) == asked:
            await phone.wait(0.02)
        since = len(line.elevenlabs.moments)
        while not any(moment.what == "audio" for moment in line.elevenlabs.moments[since:]):
            await phone.wait(0.02)


def measure_turns(line: Line, call: Call, since: float, epoch: float) -> list[Turn]:
    """Every turn of the model in a call, in order."""
    starts = [moment.at for moment in line.openai.moments if moment.what == COMPLETED and moment.at >= since]
    ends = [epoch + at + len(audio) / RATE for at, audio in call.line.said]
    turns = []
    for spoken, zero, end in zip(ends, starts, [*starts[1:], math.inf], strict=True):
        one = first(line.chat.moments, "request", zero, end)
        tokens = [each for each in line.chat.moments if each.what == "token" and one.at < each.at < end]
        reply = "".join(token.about for token in tokens)
        three = first(line.elevenlabs.moments, "request", one.at, end, of=reply)
        two = last_of(three.about, tokens)
        four = first(line.elevenlabs.moments, "audio", three.at, end, of=three.about)
        five = first(line.twilio.moments, "media", four.at, end)
        following = next((token.at for token in tokens if token.at > two.at), two.at)
        turns.append(
            Turn(spoken, (zero, one.at, two.at, three.at, four.at, five.at), following, tokens[-1].at)
        )
    return turns


def measure_barge_ins(line: Line, call: Call, epoch: float, turns: int) -> list[BargeIn]:
    """Every time that the caller talked over the agent."""
    heard, found = bytes(call.line.heard).translate(AUDIBLE), []
    begin = epoch + call.line.said[turns + 1][0]
    edges = [moment for moment in line.openai.moments if moment.what in (SPEECH_STARTED, COMPLETED)]
    spoke = [
        (edge.at, done.at)
        for edge, done in pairwise(edges)
        if edge.what == SPEECH_STARTED and edge.at >= begin
    ]
    for (at, understood), (said, _) in zip(spoke, call.line.said[turns + 1 :], strict=True):
        clear = first(line.twilio.moments, "clear", at, understood).at
        silence = quiet_from(heard, round((at - epoch) * RATE)) / RATE + epoch
        resumed = any(each.what == "media" and clear < each.at < understood for each in line.twilio.moments)
        found.append(BargeIn(clear - at, silence - at, silence - (epoch + said), resumed))
    return found


def first(moments: list[Moment], what: str, after: float, before: float, *, of: str = "") -> Moment:
    """The first of a kind between two times; where a text is given, it has to begin with what the moment is about."""
    for moment in moments:
        if moment.what == what and after <= moment.at < before and (not of or of.startswith(moment.about)):
            return moment
    raise RuntimeError(f"no {what} came in a turn")


def last_of(piece: str, tokens: list[Moment]) -> Moment:
    """The token that completes the text of an utterance."""
    written = ""
    for token in tokens:
        written += token.about
        if written.strip() == piece:
            return token
    raise RuntimeError(f"{piece!r} is not the beginning of what the model wrote")


def quiet_from(heard: bytes, at: int) -> int:
    """Where the first silence of 100 ms after a place begins."""
    quiet = 0
    for place in range(at, len(heard) - FRAME, FRAME):
        quiet = 0 if 1 in heard[place : place + FRAME] else quiet + FRAME
        if quiet == 5 * FRAME:
            last = heard.rfind(1, 0, place + FRAME - quiet)
            return max(at, last + 1)
    return len(heard)


def summarise(calls: list[Held], options: argparse.Namespace, refusals: list[str]) -> dict:
    turns = [turn for call in calls for turn in call.turns]
    after = [turn for call in calls for turn in call.after]
    cuts = [barge_in for call in calls for barge_in in call.barge_ins]
    rows = [
        row("transcript to model", [turn.ours[0] for turn in turns]),
        row("sentence to voice", [turn.ours[1] for turn in turns]),
        row("  next token awaited", [turn.awaited for turn in turns]),
        row("audio to Twilio", [turn.ours[2] for turn in turns]),
        row("added in a turn", [turn.own for turn in turns]),
        row("vendors in a turn", [turn.vendors for turn in turns]),
        row("silence, transcript", [turn.marks[0] - turn.spoken for turn in turns]),
        row("the whole turn", [turn.marks[5] - turn.spoken for turn in turns]),
        row("added after barge-in", [turn.own for turn in after]),
        row("barge-in to clear", [cut.clear for cut in cuts]),
        row("barge-in to silence", [cut.silence for cut in cuts]),
        row("sound to silence", [cut.since_sound for cut in cuts]),
    ]
    figures = {each["measure"]: each for each in rows if each["n"]}
    early = sum(turn.early for turn in turns)
    missed = [
        f"{name} takes {figures[name]['p50_ms']} ms at the median, more than {TARGET_MS}"
        for name in ("added in a turn", "barge-in to clear")
        if name in figures and figures[name]["p50_ms"] > TARGET_MS
    ]
    if early < len(turns):
        missed.append(
            f"in {len(turns) - early} turns nothing was heard before the model had written everything"
        )
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "calls": len(calls),
        "rows": list(figures.values()),
        "medians_of_calls": {
            "added in a turn": [median(turn.own for turn in call.turns) for call in calls],
            "barge-in to clear": [median(cut.clear for cut in call.barge_ins) for call in calls],
        },
        "early": early,
        "turns": len(turns),
        "resumed": sum(cut.resumed for cut in cuts),
        "missed": missed + [f"refused by {refusal}" for refusal in refusals],
    }


def row(name: str, seconds: list[float]) -> dict[str, float | int | str]:
    values = sorted(value * 1000 for value in seconds)
    if not values:
        return {"measure": name, "n": 0}
    return {
        "measure": name,
        "n": len(values),
        "p50_ms": round(statistics.median(values), 1),
        "p90_ms": round(values[math.ceil(0.9 * len(values)) - 1], 1),
        "max_ms": round(values[-1], 1),
    }


def median(seconds) -> float | None:
    values = list(seconds)
    return round(statistics.median(values) * 1000, 1) if values else None


def show(figures: dict) -> None:
    print(f"{figures['machine']}; calls over Twilio's emulator: {figures['calls']}, one after the other")
    for each in figures["rows"]:
        print(
            f"{each['measure']:22} n={each['n']:<4} p50 {each['p50_ms']:>7.1f}  "
            f"p90 {each['p90_ms']:>7.1f}  max {each['max_ms']:>7.1f}  ms"
        )
    print(
        f"first utterance heard while the model still wrote: {figures['early']} of {figures['turns']} turns"
    )
    for name, medians in figures["medians_of_calls"].items():
        if len(medians) > 1:
            print(f"{name}, median of each call: {', '.join(str(median) for median in medians)} ms")
    if figures["resumed"]:
        print(f"interruptions after which the old answer went on for a moment: {figures['resumed']}")
    for miss in figures["missed"]:
        print(f"missed: {miss}")


if __name__ == "__main__":
    main()
