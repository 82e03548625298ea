"""Puts a call's parts together from its plan and the opened engines."""

import os
import time
from collections.abc import Awaitable, Callable, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from openclaw_voicecall.api.carrier import CarrierCapabilities
from openclaw_voicecall.api.responder import Line, Responder, TurnRequest
from openclaw_voicecall.api.speech import Synthesizer, TranscriptionRequest
from openclaw_voicecall.api.store import CallRecord, TranscriptLine
from openclaw_voicecall.calls.engines import Engines, takes_turns
from openclaw_voicecall.calls.memory import Recollection, nothing
from openclaw_voicecall.config.trust import agent_tools, is_owner
from openclaw_voicecall.core.policy import RECORDING_LINE, BargeInPolicy, CallPolicy
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.media.echo import EchoGate
from openclaw_voicecall.session.chain import Chain, Rotation
from openclaw_voicecall.session.clips import Clips
from openclaw_voicecall.session.listening import Listening
from openclaw_voicecall.session.recorder import CallRecorder
from openclaw_voicecall.session.responding import Fillers, Responding
from openclaw_voicecall.session.session import CallSession, Parts, anybody
from openclaw_voicecall.session.speaking import Speaking
from openclaw_voicecall.session.voice import Voice
from openclaw_voicecall.session.watch import LineWatch

if TYPE_CHECKING:
    from openclaw_voicecall.api.policy import CallPlan
    from openclaw_voicecall.config.schema import VoiceCallConfig


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
    by_turns = takes_turns(config, capabilities)
    recorder = _recorder(session, recording) if recording and not by_turns else None
    chain = engines.synthesizers.get(plan.synthesizer) or engines.synthesizers.get("", ())
    lead = config.playout.lead_ms / 1000
    echo = EchoGate(lead=lead) if config.interruptions.ignore_echo else None
    session.language = plan.language
    session.own_number = record.from_number if record.direction == "outbound" else record.to_number
    return Parts(
        carrier=engines.carriers[record.carrier],
        speaking=session.takeover.new_line()
        if by_turns
        else _voice(session, record, plan, engines, config, chain=chain, recorder=recorder, echo=echo),
        listening=None if by_turns else _ears(session, record, plan, engines, echo=echo),
        responding=Responding(
            base=_turn_request(record, plan, config, capabilities),
            rotation=Rotation(responders, session.note),
            deadlines=session.deadlines,
            timeout=plan.response_timeout,
            fillers=Fillers(
                phrases=config.phrases.fillers,
                after=config.limits.filler_after_ms / 1000,
                every=config.limits.filler_every_ms / 1000,
                late=config.phrases.late,
                late_after=config.limits.late_after_ms / 1000,
            ),
            tools=engines.tools,
            history=lambda: (
                *earlier(),
                *(Line(line.speaker, line.text, line.interrupted) for line in transcript()),
            ),
            post=session.post,
            note=session.note,
        ),
        recorder=recorder,
        watch=None if by_turns else _watch(session, plan, config, chain),
        capabilities=capabilities,
        may_dial=may_dial,
    )


def _recorder(session: CallSession, recording: Path) -> CallRecorder:
    return CallRecorder(
        recording,
        session.clock,
        awaits_notice=any(line.name == RECORDING_LINE for line in session.call.policy.must_say),
        failed=lambda detail: session.note("recording-failed", {"detail": detail}),
    )


def _voice(
    session: CallSession,
    record: CallRecord,
    plan: "CallPlan",
    engines: Engines,
    config: "VoiceCallConfig",
    *,
    chain: Chain[Synthesizer],
    recorder: CallRecorder | None,
    echo: EchoGate | None,
) -> Speaking:
    return Speaking(
        voice=Voice(
            call_id=record.call_id,
            rotation=Rotation(chain, session.note),
            note=session.note,
            clock=session.clock,
            language=plan.language,
            voice=plan.voice,
        ),
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
    session: CallSession, plan: "CallPlan", config: "VoiceCallConfig", chain: Chain[Synthesizer]
) -> LineWatch:
    phrases = config.phrases
    clips = Clips(chain, phrases.fillers, phrases.late, language=plan.language, voice=plan.voice)
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
) -> CallPolicy:
    """The tuning of a call for its carrier and its transcriber.

    Args:
        policy: The tuning so far.
        config: What the owner set is left alone.
        capabilities: Of the carrier, which may talk by turns from the start or when it has to take over.
        interims: Whether the transcriber gives words while the caller still speaks.
        steady: Whether these keep coming, also in long talk and on a busy machine.
    """
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
