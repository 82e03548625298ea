"""One call on virtual time: the real session with scripted providers, and a far end that plays like a carrier."""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from openclaw_voicecall.api.carrier import CarrierCapabilities, LegStatus
from openclaw_voicecall.api.responder import Line, TurnRequest
from openclaw_voicecall.api.speech import TranscriptionRequest
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.events import CallAnswered, CallEnded, CallPlaced
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import VendorUnavailable
from openclaw_voicecall.providers._mediastreams import MediaStreamsCodec
from openclaw_voicecall.session.breaker import Breaker
from openclaw_voicecall.session.chain import Link, Rotation
from openclaw_voicecall.session.clips import Clips
from openclaw_voicecall.session.link import MediaLink
from openclaw_voicecall.session.listening import Listening
from openclaw_voicecall.session.responding import Fillers, Responding
from openclaw_voicecall.session.session import CallSession, Parts
from openclaw_voicecall.session.speaking import Speaking
from openclaw_voicecall.session.streaming import carry_media
from openclaw_voicecall.session.voice import Voice
from openclaw_voicecall.session.watch import LineWatch
from openclaw_voicecall.testing.scripted import (
    LoopClock,
    ScriptedResponder,
    ScriptedSynthesizer,
    ScriptedTranscriber,
)

SID = "MZ" + "0" * 32
STREAMS_ONLY = CarrierCapabilities()
NO_FILLERS = Fillers()
NO_BREAKERS: Mapping[str, Breaker] = {}


class FarEnd:
    """Plays what it is sent in real time from a buffer, echoes marks in order, empties on clear: as Twilio does."""

    def __init__(self) -> None:
        self.to_server: asyncio.Queue[str | None] = asyncio.Queue()
        self.heard: list[tuple[float, float]] = []
        self.clears: list[float] = []
        self.closed = False
        self._ends = 0.0
        self._marks: deque[tuple[str, asyncio.TimerHandle]] = deque()
        self._sequence = 0

    def take(self, text: str) -> None:
        message = json.loads(text)
        now = asyncio.get_running_loop().time()
        assert message["streamSid"] == SID
        match message["event"]:
            case "media":
                starts = max(now, self._ends)
                self._ends = starts + len(base64.b64decode(message["media"]["payload"])) / 8000
                self.heard.append((starts, self._ends))
            case "mark":
                name = message["mark"]["name"]
                handle = asyncio.get_running_loop().call_at(max(now, self._ends), self._echo, name)
                self._marks.append((name, handle))
            case "clear":
                self.clears.append(now)
                self.heard = [(start, min(end, now)) for start, end in self.heard if start < now]
                self._ends = now
                for name, handle in tuple(self._marks):
                    handle.cancel()
                    self._echo(name)

    async def close(self) -> None:
        self.closed = True
        self.to_server.put_nowait(None)

    def send(self, **message) -> None:
        self._sequence += 1
        self.to_server.put_nowait(
            json.dumps({"sequenceNumber": str(self._sequence), "streamSid": SID, **message})
        )

    def frames(self, count: int, at_ms: int, audio: bytes = b"\xff" * 160) -> None:
        for index in range(count):
            payload = base64.b64encode(audio).decode()
            stamp = str(at_ms + index * 20)
            self.send(
                event="media",
                media={"track": "inbound", "chunk": "1", "timestamp": stamp, "payload": payload},
            )

    def press(self, digit: str) -> None:
        self.send(event="dtmf", dtmf={"track": "inbound_track", "digit": digit})

    def drop(self) -> None:
        self.to_server.put_nowait(None)

    async def give(self, take):
        queue = self.to_server
        while (message := await queue.get()) is not None and take(message):
            pass

    @property
    def speech(self) -> list[tuple[float, float]]:
        """What was heard, with pieces closer than 1 ms joined."""
        joined: list[tuple[float, float]] = []
        for start, end in self.heard:
            if joined and start - joined[-1][1] < 0.001:
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((start, end))
        return joined

    def _echo(self, name: str) -> None:
        self._marks = deque(item for item in self._marks if item[0] != name)
        self.send(event="mark", mark={"name": name})


class FarSocket:
    """Our side of the stream to a far end."""

    def __init__(self, far: FarEnd) -> None:
        self._far = far
        self._gone = asyncio.Event()
        self.flowing = True
        self.on_flow = lambda: None

    def send(self, text: str) -> None:
        self._far.take(text)

    async def close(self) -> None:
        await self._far.close()
        self._gone.set()

    async def wait_gone(self) -> None:
        await self._gone.wait()

    def abort(self) -> None:
        self._gone.set()


class ScriptedCarrier:
    """A carrier that confirms hang-ups after a moment."""

    def __init__(self) -> None:
        self.hung_up = 0
        self.refusals = 0
        self.digits: list[str] = []
        self.transfers: list[str] = []
        self.taken_over = 0
        self.broken = False
        self.status = LegStatus(state="live")
        self.asked = 0
        self.on_hang_up = lambda: None
        self.on_take_over = lambda: None

    async def hang_up(self, leg) -> None:
        if self.refusals:
            self.refusals -= 1
            raise VendorUnavailable("refused by the script", vendor="scripted", operation="hang up")
        self.hung_up += 1
        self.on_hang_up()

    async def send_digits(self, leg, digits) -> None:
        self.digits.append(digits)

    async def transfer(self, leg, to_number, *, caller_id="", limit=0.0) -> None:
        if self.broken:
            raise VendorUnavailable("refused by the script", vendor="scripted", operation="transfer")
        self.transfers.append(to_number)

    async def take_over(self, leg) -> None:
        if self.broken:
            raise VendorUnavailable("refused by the script", vendor="scripted", operation="take over")
        self.taken_over += 1
        self.on_take_over()

    async def fetch_status(self, leg) -> LegStatus:
        self.asked += 1
        return self.status


@dataclass
class Rig:
    """What a test holds of a running call."""

    session: CallSession
    far: FarEnd
    carrier: ScriptedCarrier
    stt: list[ScriptedTranscriber]
    tts: list[ScriptedSynthesizer]
    llm: list[ScriptedResponder]
    lines: list[Line] = field(default_factory=list)
    journal: list[tuple[float, str, dict, tuple]] = field(default_factory=list)
    reason: EndReason | None = None
    media: asyncio.Task | None = None

    @property
    def stream(self):
        """The open transcription stream."""
        return next(transcriber.streams[-1] for transcriber in reversed(self.stt) if transcriber.streams)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def said(self) -> list[tuple[str, str, bool]]:
        return [(line.speaker, line.text, line.interrupted) for line in self.lines]

    def words(self, word: str) -> list[dict]:
        return [data for _, name, data, _ in self.journal if name == word]

    async def caller_says(self, text: str, seconds: float = 1.0) -> None:
        """Speech of this length, an interim, a pause, and the final when it is asked for."""
        self.stream.edge(speaking=True)
        await asyncio.sleep(seconds)
        self.stream.hear(text, final=False)
        self.stream.on_finish = text
        self.stream.edge(speaking=False, ago=0.3)

    async def until(self, condition, limit: float = 60.0) -> None:
        """Wait, in virtual time, until a condition holds."""
        async with asyncio.timeout(limit):
            while not condition():
                await asyncio.sleep(0.01)

    async def agent_quiet(self) -> None:
        """Wait until the agent's turn was heard and it waits for the caller."""
        await self.until(lambda: self.session.call.snapshot().agent == "idle")

    def connect(self) -> None:
        """Open a media stream."""
        self.far.to_server = asyncio.Queue()
        codec = MediaStreamsCodec()
        codec.receive(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        codec.receive(
            json.dumps(
                {
                    "event": "start",
                    "sequenceNumber": "1",
                    "streamSid": SID,
                    "start": {
                        "streamSid": SID,
                        "accountSid": "AC" + "0" * 32,
                        "callSid": "CA" + "0" * 32,
                        "tracks": ["inbound"],
                        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                        "customParameters": {},
                    },
                }
            )
        )
        self.media = asyncio.create_task(
            carry_media(self.session, codec, MediaLink(FarSocket(self.far)), self.far)
        )


def linked(kind: str, providers, breakers: Mapping[str, Breaker]):
    """A chain of providers, named by their kind and place."""
    names = [f"{kind}{index}" for index in range(len(providers))]
    return tuple(Link(name, item, breakers.get(name)) for name, item in zip(names, providers, strict=True))


def watch_line(session: CallSession, voices, fillers: Fillers) -> LineWatch:
    clips = Clips(voices, fillers.phrases, fillers.late, language="en", voice="")
    return LineWatch(session, clips, limit=3.5, late_after=fillers.late_after)


@asynccontextmanager
async def running_call(
    policy: CallPolicy | None = None,
    *,
    replies=(),
    stt=None,
    tts=None,
    llm=None,
    tools=(),
    answered: bool = True,
    capabilities: CarrierCapabilities = STREAMS_ONLY,
    fillers: Fillers = NO_FILLERS,
    detector=None,
    can_transfer: bool = False,
    reply_within: float = 20.0,
    breakers: Mapping[str, Breaker] = NO_BREAKERS,
    far: FarEnd | None = None,
):
    """An outbound call, answered and with media flowing unless told otherwise."""
    clock = LoopClock()
    far, carrier = far or FarEnd(), ScriptedCarrier()
    stt = stt or [ScriptedTranscriber()]
    tts = tts or [ScriptedSynthesizer()]
    llm = llm or [ScriptedResponder(deque(replies))]
    rig: Rig

    def journal(word, data, commands, call) -> None:
        rig.journal.append((clock.monotonic(), word, data, commands))
        for order in commands:
            if order["command"] == "AppendTranscript":
                rig.lines.append(Line(order["speaker"], order["text"], order["interrupted"]))
            if order["command"] == "ReleaseCall":
                rig.reason = order["reason"]

    session = CallSession(
        call_id="call-1",
        call=Call(policy or CallPolicy(), outbound=True),
        clock=clock,
        journal=journal,
        give_order=lambda session, order: None,
    )
    voices = linked("tts", tts, breakers)
    voice = Voice(
        call_id="call-1",
        rotation=Rotation(voices, session.note),
        note=session.note,
        clock=clock,
        language="en",
        voice="",
    )
    common = {"post": session.post, "note": session.note}
    session.parts = Parts(
        carrier=carrier,
        speaking=Speaking(
            voice=voice,
            deadlines=session.deadlines,
            meter=session.meter,
            clock=clock,
            lead=1.0,
            marks=True,
            recorder=None,
            **common,
        ),
        listening=Listening(
            request=TranscriptionRequest(call_id="call-1"),
            rotation=Rotation(linked("stt", stt, breakers), session.note),
            detector=detector,
            clock=clock,
            hear_beeps=False,
            **common,
        ),
        responding=Responding(
            base=TurnRequest(call_id="call-1", turn=0, text="", can_transfer=can_transfer),
            rotation=Rotation(linked("llm", llm, breakers), session.note),
            deadlines=session.deadlines,
            timeout=reply_within,
            history=lambda: tuple(rig.lines),
            tools=tools,
            fillers=fillers,
            **common,
        ),
        recorder=None,
        watch=watch_line(session, voices, fillers),
        capabilities=capabilities,
    )
    session.parts.responding.voice = voice
    session.carrier_call_id = "leg-1"
    session.leg_known.set()
    carrier.on_hang_up = lambda: session.post(CallEnded(EndReason.COMPLETED))
    rig = Rig(session, far, carrier, stt, tts, llm)
    running = asyncio.create_task(session.run(lambda: session.post(CallPlaced())))
    await asyncio.sleep(0)
    if answered:
        session.post(CallAnswered())
        rig.connect()
        async with asyncio.timeout(30):
            await asyncio.sleep(0)
    try:
        yield rig
    finally:
        if not session.released:
            session.post(CallEnded(EndReason.CALLER_HUNG_UP))
        await running
        if rig.media is not None:
            await rig.media
