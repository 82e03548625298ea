"""One call on virtual time that a scripted speech-to-speech model leads."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from rig import SID, FarEnd, ScriptedCarrier, linked, watch_line

from openclaw_voicecall.api.carrier import CarrierCapabilities
from openclaw_voicecall.api.realtime import RealtimeRequest
from openclaw_voicecall.api.responder import Line, TurnRequest
from openclaw_voicecall.api.speech import TranscriptionRequest
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.events import CallAnswered, CallEnded, CallPlaced
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.session.chain import Link, Rotation
from openclaw_voicecall.session.dialogue import Dialogue, Surroundings
from openclaw_voicecall.session.listening import Listening
from openclaw_voicecall.session.modelears import ModelEars
from openclaw_voicecall.session.modelkeeper import Supply
from openclaw_voicecall.session.modelreplies import Stage
from openclaw_voicecall.session.modelsounds import ModelVoice
from openclaw_voicecall.session.modeltools import ToolBench
from openclaw_voicecall.session.responding import Fillers, Responding
from openclaw_voicecall.session.session import CallSession, Parts
from openclaw_voicecall.session.speaking import Speaking
from openclaw_voicecall.session.voice import Voice
from openclaw_voicecall.testing.scripted import (
    LoopClock,
    ScriptedResponder,
    ScriptedSynthesizer,
    ScriptedTranscriber,
)
from openclaw_voicecall.testing.scripted_model import ScriptedModel

from rig import Rig  # isort: skip

LED = CallPolicy(model_led=True)


@dataclass
class ModelRig(Rig):
    """What a test holds of it."""

    models: list[ScriptedModel] = field(default_factory=list)
    dialogue: Dialogue | None = None

    @property
    def model(self):
        """The newest session of the first model."""
        return self.models[0].session


@asynccontextmanager
async def led_call(
    policy: CallPolicy = LED,
    *,
    models=None,
    limits=3600.0,
    tools=(),
    replies=(),
    pipeline: bool = False,
    can_transfer: bool = False,
    far: FarEnd | None = None,
):
    """An outbound call, answered and with media flowing."""
    clock, far, carrier = LoopClock(), far or FarEnd(), ScriptedCarrier()
    models = models or [ScriptedModel()]
    stt, tts, llm = [ScriptedTranscriber()], [ScriptedSynthesizer()], [ScriptedResponder(deque(replies))]
    rig: ModelRig

    def journal(word, data, commands, call) -> None:
        rig.journal.append((clock.monotonic(), word, data, commands))
        for order in commands:
            if order["command"] == "AppendTranscript":
                rig.lines.append(Line(order["speaker"], order["text"], order["interrupted"]))
            if order["command"] == "ReleaseCall":
                rig.reason = order["reason"]

    session = CallSession(
        call_id="call-1",
        call=Call(policy, outbound=True),
        clock=clock,
        journal=journal,
        give_order=lambda session, order: None,
    )
    common = {"post": session.post, "note": session.note}
    voices, numbers = linked("tts", tts, {}), count(1)
    base = TurnRequest(call_id="call-1", turn=0, text="", can_transfer=can_transfer)
    voice = ModelVoice(
        Voice(
            call_id="call-1",
            rotation=Rotation(voices, session.note),
            note=session.note,
            clock=clock,
            language="en",
            voice="",
        )
    )
    speaking = Speaking(
        voice=voice,
        deadlines=session.deadlines,
        meter=session.meter,
        clock=clock,
        lead=1.0,
        marks=True,
        recorder=None,
        **common,
    )
    fixed = Responding(
        base=base,
        rotation=Rotation(linked("llm", llm, {}), session.note),
        deadlines=session.deadlines,
        timeout=20.0,
        history=lambda: tuple(rig.lines),
        numbers=numbers,
        **common,
    )
    ears = Listening(
        request=TranscriptionRequest(call_id="call-1"),
        rotation=Rotation(linked("stt", stt, {}), session.note),
        detector=None,
        clock=clock,
        hear_beeps=False,
        **common,
    )

    def go_on(detail: str) -> bool:
        if pipeline:
            session.parts.listening = ears
            session.listening_task = session.start(ears.run())
        return pipeline

    names = [f"model{index}" for index in range(len(models))]
    links = tuple(Link(name, model.open_session, None) for name, model in zip(names, models, strict=True))
    bench = ToolBench(base, tools, post=session.post, note=session.note)
    dialogue = Dialogue(
        Supply(
            rotation=Rotation(links, session.note),
            limits=dict.fromkeys(names, limits),
            request=lambda: RealtimeRequest(
                call_id="call-1", instructions="Be kind.", tools=bench.offered, history=tuple(rig.lines)
            ),
        ),
        ModelEars(clock, None, session.note, hear_beeps=True),
        Stage(
            voice=voice,
            heard_of=speaking.heard_of,
            silence=speaking.clear,
            playback=None,
            numbers=numbers,
            **common,
        ),
        bench,
        Surroundings(
            view=session.call.snapshot,
            answers=policy.respond,
            fixed=fixed,
            deadlines=session.deadlines,
            clock=clock,
            go_on=go_on,
            **common,
        ),
    )
    session.parts = Parts(
        carrier=carrier,
        speaking=speaking,
        listening=dialogue,
        responding=dialogue,
        recorder=None,
        watch=watch_line(session, voices, Fillers()),
        capabilities=CarrierCapabilities(transfer=can_transfer),
    )
    session.carrier_call_id = "leg-1"
    session.leg_known.set()
    carrier.on_hang_up = lambda: session.post(CallEnded(EndReason.COMPLETED))
    rig = ModelRig(session, far, carrier, stt, tts, llm, models=models, dialogue=dialogue)
    running = asyncio.create_task(session.run(lambda: session.post(CallPlaced())))
    await asyncio.sleep(0)
    session.post(CallAnswered())
    rig.connect()
    await asyncio.sleep(0.1)
    try:
        yield rig
    finally:
        if not session.released:
            session.post(CallEnded(EndReason.CALLER_HUNG_UP))
        await running
        if rig.media is not None:
            await rig.media


__all__ = ["LED", "SID", "ModelRig", "led_call"]
