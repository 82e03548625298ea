"""The tuning of a call for what its line and its engines can do; what the owner has set is left alone."""

from collections.abc import Set
from dataclasses import replace
from typing import TYPE_CHECKING

from openclaw_voicecall.api.carrier import CarrierCapabilities
from openclaw_voicecall.calls.engines import takes_turns
from openclaw_voicecall.core.policy import BargeInPolicy, CallPolicy

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

LONGEST_INTERRUPTION = 10.0
"""Seconds that a caller may speak over the agent without a pause before it is taken for noise, where words come only
after the pause."""
LONG_WITHOUT_WORDS = 12.0
"""Seconds for which a voice may go on without another word, where words may be late."""
TAKEOVER = 4.0
"""Seconds from a stream that was given up to the carrier's question how to go on: its words for the caller."""


def tuned_policy(
    policy: CallPolicy,
    config: "VoiceCallConfig",
    capabilities: CarrierCapabilities,
    *,
    interims: bool,
    steady: bool = True,
    led: bool = False,
    speculates: bool = False,
    closes_after: float = 0.0,
) -> CallPolicy:
    """The tuning of a call for its carrier and its transcriber.

    Args:
        policy: The tuning so far.
        config: What the owner set is left alone.
        capabilities: Of the carrier, which may talk by turns from the start or when it has to take over.
        interims: Whether the transcriber gives words while the caller still speaks.
        steady: Whether these keep coming, also in long talk and on a busy machine.
        led: Whether a speech-to-speech model leads the call.
        speculates: Whether the responder may begin an answer that is thrown away.
        closes_after: Seconds of silence after which the transcriber closes an utterance unasked; 0 where it does not.
    """
    if led:
        policy = replace(policy, model_led=True)
    if takes_turns(config, capabilities):
        # It has waited for the end of the caller's turn already.
        quick = replace(policy.endpointing, after=0.0, after_question=0.0, after_digits=0.0)
        return replace(policy, endpointing=quick)
    if speculates and config.endpointing.speculate and policy.respond and not led:
        policy = _speculative(policy, interims=interims, closes_after=closes_after)
    if not interims:
        patient = _patient(policy, config.interruptions.model_fields_set)
        policy = replace(policy, barge_in=patient, endpointing=replace(policy.endpointing, stale_after=None))
    elif not steady:
        policy = replace(policy, endpointing=replace(policy.endpointing, stale_after=LONG_WITHOUT_WORDS))
    if capabilities.turns:
        patience = config.streaming.pre_start_timeout_ms / 1000 + TAKEOVER
        return replace(policy, media_grace=max(policy.media_grace, patience))
    return policy


def _speculative(policy: CallPolicy, *, interims: bool, closes_after: float) -> CallPolicy:
    """Answers are begun in the caller's pauses.

    A transcriber that gives its words at the end of a pause is asked to take a shorter one for the end. How long the
    caller may pause is as the owner has set it for the transcriber all the same: here it is seen to.
    """
    silence = policy.endpointing
    return replace(
        policy,
        speculation=replace(policy.speculation, enabled=True, on_interims=interims),
        endpointing=replace(
            silence,
            after=max(silence.after, closes_after),
            after_question=max(silence.after_question, closes_after),
            after_digits=max(silence.after_digits, closes_after),
        ),
    )


def _patient(policy: CallPolicy, given: Set[str]) -> BargeInPolicy:
    """An agent that has yielded must not go on before words can be there: they come only after the caller's pause."""
    tuning = policy.barge_in
    words = policy.endpointing.after + policy.endpointing.transcript_wait
    if "resume_after_ms" not in given:
        tuning = replace(tuning, resume_after=max(tuning.resume_after, words))
    if "noise_after_ms" not in given:
        tuning = replace(tuning, noise_after=max(tuning.noise_after, LONGEST_INTERRUPTION))
    return tuning
