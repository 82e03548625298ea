"""Puts a call's parts together from its plan and the opened engines."""

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from openclaw_voicecall.api.carrier import CarrierCapabilities
from openclaw_voicecall.api.responder import Line, Responder, TurnRequest
from openclaw_voicecall.api.speech import Synthesizer, TranscriptionRequest
from openclaw_voicecall.api.store import CallRecord, TranscriptLine
from openclaw_voicecall.calls.engines import Engines, takes_turns
from openclaw_voicecall.calls.memory import Recollection, nothing
from openclaw_voicecall.calls.modelparts import ModelCall, asks_agent, call_tools
from openclaw_voicecall.config.trust import agent_tools, is_owner
from openclaw_voicecall.core.policy import RECORDING_LINE
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.media.echo import EchoGate
from openclaw_voicecall.session.chain import Chain, Rotation
from openclaw_voicecall.session.clips import Clips
from openclaw_voicecall.session.dialogue import Dialogue
from openclaw_voicecall.session.listening import Listening
from openclaw_voicecall.session.modelsounds import ModelVoice
from openclaw_voicecall.session.recorder import CallRecorder
from openclaw_voicecall.session.remote import RemoteLegs, RemoteVoice
from openclaw_voicecall.session.responding import Fillers, Responding
from openclaw_voicecall.session.session import CallSession, Parts, anybody
from openclaw_voicecall.session.speaking import Speaking
from openclaw_voicecall.session.voice import MakesSpeech, Voice
from openclaw_voicecall.session.watch import LineWatch

if TYPE_CHECKING:
    from openclaw_voicecall.api.policy import CallPlan
    from openclaw_voicecall.config.schema import VoiceCallConfig


REMOTE_MODEL = "openai"
"""Whose model it is that talks where a vendor keeps the audio."""
REMOTE_LIMIT = 3600.0
"""Seconds that a session with it may last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """Makes the parts of one call.

    Attributes:
        session: The call.
        record: Its record, as it was first written.
        plan: How it is to go.
        engines: What is open.
        responders: Who writes the agent's turns.
        config: The configuration.
        recording: Where it is recorded; None for nowhere.
        transcript: Gives what was said so far.
        may_dial: Tells why the far party may not be handed over to a number.
        earlier: What was said in earlier calls.
    """

    session: CallSession
    record: CallRecord
    plan: "CallPlan"
    engines: Engines
    responders: Chain[Responder]
    config: "VoiceCallConfig"
    recording: Path | None
    transcript: Callable[[], tuple[TranscriptLine, ...]]
    may_dial: Callable[[str], Awaitable[str]] = anybody
    earlier: Recollection = nothing

    def parts(self) -> Parts:
        """All of them."""
        session, record, config = self.session, self.record, self.config
        session.language = self.plan.language
        session.own_number = record.from_number if record.direction == "outbound" else record.to_number
        capabilities = self.engines.capabilities[record.carrier]
        way = media_way(self.engines, config, record.carrier)
        base, numbers = turn_request(record, self.plan, config, capabilities), count(1)
        recorded = self.recording is not None and way in ("stream", "model")
        responding = self._responding(base, numbers)
        parts = Parts(
            carrier=self.engines.carriers[record.carrier],
            speaking=session.takeover.new_line(),
            listening=None,
            responding=responding,
            recorder=_recorder(session, self.recording) if recorded and self.recording else None,
            capabilities=capabilities,
            agent_may_transfer=base.may_transfer,
            may_dial=self.may_dial,
        )
        if way == "stream":
            self._on_stream(parts)
        elif way != "turns":
            tools = call_tools(config, self.plan, self.engines, self.responders, base)
            model = ModelCall(
                session,
                config,
                base=base,
                tools=tools,
                history=self._history,
                fixed=responding,
                numbers=numbers,
            )
            (self._with_vendor if way == "remote" else self._with_model)(parts, model)
        return parts

    def _on_stream(self, parts: Parts) -> None:
        """Transcriber, responder and synthesizer."""
        echo, voice = self._echo(), self._synthesis()
        if isinstance(parts.responding, Responding):
            parts.responding.voice = voice
        parts.speaking = self._speaking(voice, parts.recorder, echo)
        parts.listening = self._ears(echo)
        parts.watch = self._watch(words=True)

    def _with_model(self, parts: Parts, model: ModelCall) -> None:
        """A speech-to-speech model on our own line, and what stands in for it."""
        echo, voice = self._echo(), ModelVoice(self._synthesis())
        parts.speaking = speaking = self._speaking(voice, parts.recorder, echo)
        parts.listening = parts.responding = model.on_our_line(
            self.engines,
            voice,
            speaking,
            echo=echo,
            pipeline=self._ears(echo) if self.engines.transcribers else None,
            agent=asks_agent(self.config, self.plan),
        )
        parts.watch = self._watch(words=False)

    def _with_vendor(self, parts: Parts, model: ModelCall) -> None:
        """A model on the line of a vendor who has the audio."""
        session, record = self.session, self.record
        parts.remote = legs = RemoteLegs(
            self.engines.remote[record.carrier],
            record.call_id,
            are_the_call=parts.capabilities.media == "remote",
            again=session.takeover.bridge_again,
        )
        parts.speaking = voice = RemoteVoice(
            post=session.post,
            note=session.note,
            clock=session.clock,
            speaks=lambda: isinstance(parts.responding, Dialogue) and not parts.responding.gone,
        )
        agent = asks_agent(self.config, self.plan)
        parts.listening = parts.responding = model.on_line_of_vendor(
            legs, voice, REMOTE_MODEL, REMOTE_LIMIT, agent=agent
        )

    def _responding(self, base: TurnRequest, numbers: "count[int]") -> Responding:
        session, phrases, limits = self.session, self.config.phrases, self.config.limits
        return Responding(
            base=base,
            rotation=Rotation(self.responders, session.note),
            deadlines=session.deadlines,
            timeout=self.plan.response_timeout,
            fillers=Fillers(
                phrases=phrases.fillers,
                after=limits.filler_after_ms / 1000,
                every=limits.filler_every_ms / 1000,
                late=phrases.late,
                late_after=limits.late_after_ms / 1000,
            ),
            tools=self.engines.tools,
            history=self._history,
            post=session.post,
            note=session.note,
            numbers=numbers,
        )

    def _history(self) -> tuple[Line, ...]:
        said = (Line(line.speaker, line.text, line.interrupted) for line in self.transcript())
        return (*self.earlier(), *said)

    def _voices(self) -> Chain[Synthesizer]:
        voices = self.engines.synthesizers
        return voices.get(self.plan.synthesizer) or voices.get("", ())

    def _echo(self) -> EchoGate | None:
        lead = self.config.playout.lead_ms / 1000
        return EchoGate(lead=lead) if self.config.interruptions.ignore_echo else None

    def _synthesis(self) -> Voice:
        return Voice(
            call_id=self.record.call_id,
            rotation=Rotation(self._voices(), self.session.note),
            note=self.session.note,
            clock=self.session.clock,
            language=self.plan.language,
            voice=self.plan.voice,
        )

    def _speaking(self, voice: MakesSpeech, recorder: CallRecorder | None, echo: EchoGate | None) -> Speaking:
        session = self.session
        return Speaking(
            voice=voice,
            deadlines=session.deadlines,
            meter=session.meter,
            post=session.post,
            note=session.note,
            clock=session.clock,
            lead=self.config.playout.lead_ms / 1000,
            marks=self.engines.capabilities[self.record.carrier].marks,
            recorder=recorder.tracks if recorder else None,
            echo=echo,
        )

    def _ears(self, echo: EchoGate | None) -> Listening:
        session, record, engines = self.session, self.record, self.engines
        return Listening(
            request=TranscriptionRequest(
                call_id=record.call_id,
                language=self.plan.language,
                eager=session.call.policy.speculation.enabled,
            ),
            rotation=Rotation(engines.transcribers, session.note),
            detector=engines.turn_detector() if engines.turn_detector else None,
            post=session.post,
            note=session.note,
            clock=session.clock,
            hear_beeps=record.direction == "outbound" and self.plan.policy.leave_voicemail,
            echo=echo,
        )

    def _watch(self, *, words: bool) -> LineWatch:
        phrases, limits = self.config.phrases, self.config.limits
        # A model speaks in a voice of its own, and a word in another one would frighten people.
        fillers, late = (phrases.fillers, phrases.late) if words else ((), "")
        clips = Clips(self._voices(), fillers, late, language=self.plan.language, voice=self.plan.voice)
        silence, late_after = limits.silence_ms / 1000, limits.late_after_ms / 1000
        return LineWatch(self.session, clips, limit=silence, late_after=late_after)


def media_way(engines: Engines, config: "VoiceCallConfig", carrier: str) -> str:
    """How the audio of a carrier's calls goes: `stream`, `turns`, `model` or `remote`."""
    if carrier in engines.remote:
        return "remote"
    if takes_turns(config, engines.capabilities[carrier]):
        return "turns"
    return "model" if engines.models else "stream"


def _recorder(session: CallSession, recording: Path) -> CallRecorder:
    return CallRecorder(
        recording,
        session.clock,
        awaits_notice=any(line.name == RECORDING_LINE for line in session.call.policy.must_say),
        failed=lambda detail: session.note("recording-failed", {"detail": detail}),
    )


def turn_request(
    record: CallRecord, plan: "CallPlan", config: "VoiceCallConfig", capabilities: CarrierCapabilities
) -> TurnRequest:
    """What responders and tools are told about every turn of a call."""
    allowed = config.transfer.allowed
    far = record.from_number if record.direction == "inbound" else record.to_number
    return TurnRequest(
        call_id=record.call_id,
        turn=0,
        text="",
        direction=record.direction,
        from_number=record.from_number,
        to_number=record.to_number,
        session_key=plan.session_key,
        system_prompt=plan.system_prompt,
        objective=plan.objective,
        language=plan.language,
        agent_id=plan.agent_id,
        owner=is_owner(config, far),
        agent_tools=agent_tools(config, far),
        timeout=plan.response_timeout,
        can_send_digits=capabilities.dtmf_out != "none",
        can_transfer=capabilities.transfer
        and (record.direction == "outbound" if allowed is None else bool(allowed)),
        can_announce=capabilities.announces,
        transfer_to=allowed,
    )


def recording_path(
    config: "VoiceCallConfig", default: Path, record_dir: str, call_id: str, wall: float
) -> Path | None:
    """Where this call's recording goes; None when it is not recorded. Raises `StoreError` for an unusable folder."""
    if not record_dir and not config.recording.enabled:
        return None
    folder = Path(record_dir or config.recording.dir or default).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"recordings cannot be kept in {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise StoreError(f"recordings cannot be kept in {folder}: it is not writable for this user")
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(wall))
    return folder / f"{stamp}-{call_id[:8]}.wav"
