"""Puts a call's parts together from its plan and the opened engines."""

import os
import time
from collections.abc import Awaitable, Callable, Set
from dataclasses import replace
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
from openclaw_voicecall.core.policy import RECORDING_LINE, BargeInPolicy, CallPolicy
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
LONGEST_INTERRUPTION = 10.0
"""Seconds that a caller may speak over the agent without a pause before it is taken for noise, where words come only
after the pause."""
LONG_WITHOUT_WORDS = 12.0
"""Seconds for which a voice may go on without another word, where words may be late."""
TAKEOVER = 4.0
"""Seconds from a stream that was given up to the carrier's question how to go on: its words for the caller."""


def equip(
    session: CallSession,
    record: CallRecord,
    plan: "CallPlan",
    *,
    engines: Engines,
    responders: Chain[Responder],
    config: "VoiceCallConfig",
    recording: Path | None,
    transcript: Callable[[], tuple[TranscriptLine, ...]],
    may_dial: Callable[[str], Awaitable[str]] = anybody,
    earlier: Recollection = nothing,
) -> Parts:
    """Make the parts of a session.

    `may_dial` tells why the far party may not be handed over to a number, `earlier` what was said in earlier calls.
    """
    capabilities = engines.capabilities[record.carrier]
    way = media_way(engines, config, record.carrier)
    recorder = _recorder(session, recording) if recording and way in ("stream", "model") else None
    chain = engines.synthesizers.get(plan.synthesizer) or engines.synthesizers.get("", ())
    lead = config.playout.lead_ms / 1000
    echo = EchoGate(lead=lead) if config.interruptions.ignore_echo else None
    session.language = plan.language
    session.own_number = record.from_number if record.direction == "outbound" else record.to_number
    base = _turn_request(record, plan, config, capabilities)
    numbers = count(1)

    def history() -> tuple[Line, ...]:
        said = (Line(line.speaker, line.text, line.interrupted) for line in transcript())
        return (*earlier(), *said)

    responding = Responding(
        base=base,
        rotation=Rotation(responders, session.note),
        deadlines=session.deadlines,
        timeout=plan.response_timeout,
        fillers=_fillers(config),
        tools=engines.tools,
        history=history,
        post=session.post,
        note=session.note,
        numbers=numbers,
    )
    parts = Parts(
        carrier=engines.carriers[record.carrier],
        speaking=session.takeover.new_line(),
        listening=None,
        responding=responding,
        recorder=recorder,
        capabilities=capabilities,
        agent_may_transfer=lambda number: (
            base.can_transfer and (base.transfer_to is None or number in base.transfer_to)
        ),
        may_dial=may_dial,
    )
    if way == "turns":
        return parts
    voice = _synthesis(session, record, plan, chain)
    if way == "stream":
        parts.speaking = _speaking(session, voice, engines, config, record, recorder=recorder, echo=echo)
        parts.listening = _ears(session, record, plan, engines, echo=echo)
        parts.watch = _watch(session, plan, config, chain)
        return parts
    tools = call_tools(config, plan, engines, responders, base)
    model = ModelCall(
        session, config, base=base, tools=tools, history=history, fixed=responding, numbers=numbers
    )
    agent = asks_agent(config, plan)
    if way == "remote":
        line = engines.remote[record.carrier]
        parts.remote = legs = RemoteLegs(
            line,
            record.call_id,
            are_the_call=capabilities.media == "remote",
            again=session.takeover.bridge_again,
        )
        parts.speaking = remote = RemoteVoice(
            post=session.post,
            note=session.note,
            clock=session.clock,
            speaks=lambda: isinstance(parts.responding, Dialogue) and not parts.responding.gone,
        )
        dialogue = model.on_line_of_vendor(legs, remote, REMOTE_MODEL, REMOTE_LIMIT, agent=agent)
    else:
        with_model = ModelVoice(voice)
        parts.speaking = speaking = _speaking(
            session, with_model, engines, config, record, recorder=recorder, echo=echo
        )
        pipeline = _ears(session, record, plan, engines, echo=echo) if engines.transcribers else None
        dialogue = model.on_our_line(engines, with_model, speaking, echo=echo, pipeline=pipeline, agent=agent)
        parts.watch = _watch(session, plan, config, chain, words=False)
    parts.listening = parts.responding = dialogue
    return parts


def media_way(engines: Engines, config: "VoiceCallConfig", carrier: str) -> str:
    """How the audio of a carrier's calls goes: `stream`, `turns`, `model` or `remote`."""
    if carrier in engines.remote:
        return "remote"
    if takes_turns(config, engines.capabilities[carrier]):
        return "turns"
    return "model" if engines.models else "stream"


def _fillers(config: "VoiceCallConfig") -> Fillers:
    return Fillers(
        phrases=config.phrases.fillers,
        after=config.limits.filler_after_ms / 1000,
        every=config.limits.filler_every_ms / 1000,
        late=config.phrases.late,
        late_after=config.limits.late_after_ms / 1000,
    )


def _recorder(session: CallSession, recording: Path) -> CallRecorder:
    return CallRecorder(
        recording,
        session.clock,
        awaits_notice=any(line.name == RECORDING_LINE for line in session.call.policy.must_say),
        failed=lambda detail: session.note("recording-failed", {"detail": detail}),
    )


def _synthesis(
    session: CallSession, record: CallRecord, plan: "CallPlan", chain: Chain[Synthesizer]
) -> Voice:
    return Voice(
        call_id=record.call_id,
        rotation=Rotation(chain, session.note),
        note=session.note,
        clock=session.clock,
        language=plan.language,
        voice=plan.voice,
    )


def _speaking(
    session: CallSession,
    voice: MakesSpeech,
    engines: Engines,
    config: "VoiceCallConfig",
    record: CallRecord,
    *,
    recorder: CallRecorder | None,
    echo: EchoGate | None,
) -> Speaking:
    return Speaking(
        voice=voice,
        deadlines=session.deadlines,
        meter=session.meter,
        post=session.post,
        note=session.note,
        clock=session.clock,
        lead=config.playout.lead_ms / 1000,
        marks=engines.capabilities[record.carrier].marks,
        recorder=recorder.tracks if recorder else None,
        echo=echo,
    )


def _watch(
    session: CallSession,
    plan: "CallPlan",
    config: "VoiceCallConfig",
    chain: Chain[Synthesizer],
    *,
    words: bool = True,
) -> LineWatch:
    phrases = config.phrases
    # A model speaks in a voice of its own, and a word in another one would frighten people.
    fillers, late = (phrases.fillers, phrases.late) if words else ((), "")
    clips = Clips(chain, fillers, late, language=plan.language, voice=plan.voice)
    return LineWatch(
        session,
        clips,
        limit=config.limits.silence_ms / 1000,
        late_after=config.limits.late_after_ms / 1000,
    )


def _ears(
    session: CallSession,
    record: CallRecord,
    plan: "CallPlan",
    engines: Engines,
    *,
    echo: EchoGate | None,
) -> Listening:
    return Listening(
        request=TranscriptionRequest(call_id=record.call_id, language=plan.language),
        rotation=Rotation(engines.transcribers, session.note),
        detector=engines.turn_detector() if engines.turn_detector else None,
        post=session.post,
        note=session.note,
        clock=session.clock,
        hear_beeps=record.direction == "outbound" and plan.policy.leave_voicemail,
        echo=echo,
    )


def tuned_policy(
    policy: CallPolicy,
    config: "VoiceCallConfig",
    capabilities: CarrierCapabilities,
    *,
    interims: bool,
    steady: bool = True,
    led: bool = False,
) -> CallPolicy:
    """The tuning of a call for its carrier and its transcriber.

    Args:
        policy: The tuning so far.
        config: What the owner set is left alone.
        capabilities: Of the carrier, which may talk by turns from the start or when it has to take over.
        interims: Whether the transcriber gives words while the caller still speaks.
        steady: Whether these keep coming, also in long talk and on a busy machine.
        led: Whether a speech-to-speech model leads the call.
    """
    if led:
        policy = replace(policy, model_led=True)
    if takes_turns(config, capabilities):
        # It has waited for the end of the caller's turn already.
        quick = replace(policy.endpointing, after=0.0, after_question=0.0, after_digits=0.0)
        return replace(policy, endpointing=quick)
    if not interims:
        patient = _patient(policy, config.interruptions.model_fields_set)
        policy = replace(policy, barge_in=patient, endpointing=replace(policy.endpointing, stale_after=None))
    elif not steady:
        policy = replace(policy, endpointing=replace(policy.endpointing, stale_after=LONG_WITHOUT_WORDS))
    if capabilities.turns:
        patience = config.streaming.pre_start_timeout_ms / 1000 + TAKEOVER
        return replace(policy, media_grace=max(policy.media_grace, patience))
    return policy


def _patient(policy: CallPolicy, given: Set[str]) -> BargeInPolicy:
    """An agent that has yielded must not go on before words can be there: they come only after the caller's pause."""
    tuning = policy.barge_in
    words = policy.endpointing.after + policy.endpointing.transcript_wait
    if "resume_after_ms" not in given:
        tuning = replace(tuning, resume_after=max(tuning.resume_after, words))
    if "noise_after_ms" not in given:
        tuning = replace(tuning, noise_after=max(tuning.noise_after, LONGEST_INTERRUPTION))
    return tuning


def _turn_request(
    record: CallRecord, plan: "CallPlan", config: "VoiceCallConfig", capabilities: CarrierCapabilities
) -> TurnRequest:
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
