"""What a test call has proved, read off its feed."""

import pytest

from openclaw_voicecall.cli.trial import HOPS, Trial

pytestmark = pytest.mark.unit


def call(*lines: tuple[str, str], **facts) -> dict:
    transcript = [{"speaker": who, "text": text, "interrupted": False} for who, text in lines]
    return {
        "carrier": "twilio", "carrierCallId": None, "endReason": None, "detail": None, "transcript": transcript, **facts
    }  # fmt: skip


def item(event: str, *lines: tuple[str, str], data: dict | None = None, **facts) -> dict:
    return {"entry": {"event": event, "elapsed": 1.5, "data": data or {}}, "call": call(*lines, **facts)}


def proved(trial: Trial, *items: dict) -> list[str]:
    return [hop.name for one in items for hop in trial.take(one)]


ASKED = ("agent", "Please say something now.")
BEGUN = (
    item("CallPlaced"),
    item("CallRinging", carrierCallId="CA1"),
    item("CallAnswered", carrierCallId="CA1"),
    item("MediaConnected", carrierCallId="CA1"),
)


def test_every_hop_is_told_once_when_it_is_proved():
    trial = Trial()
    assert proved(trial, *BEGUN) == ["carrier", "line", "media"]
    assert proved(trial, item("UtterancePlayed", ASKED), item("first-audio", ASKED)) == ["voice"]
    assert proved(trial, item("timer", ASKED, ("caller", "I hear you"))) == ["hearing"]
    assert trial.answer == "I hear you"
    hops = trial.finish(call(ASKED, ("caller", "I hear you"), endReason="agent-hung-up"))
    assert [(hop.name, hop.ok) for hop in hops] == [(name, True) for name in HOPS]
    assert trial.passed


def test_what_is_said_before_the_sentence_is_no_answer():
    trial = Trial()
    proved(trial, *BEGUN, item("timer", ("caller", "Hello?")), item("timer", ("caller", "Hello?"), ASKED))
    assert trial.asked
    assert trial.answer == ""


def test_silence_fails_hearing_and_nothing_before_it():
    trial = Trial()
    proved(trial, *BEGUN, item("UtterancePlayed", ASKED))
    hops = {hop.name: hop for hop in trial.finish(call(ASKED, endReason="agent-hung-up"))}
    assert [name for name, hop in hops.items() if not hop.ok] == ["hearing", "goodbye"]
    assert "nothing was heard" in hops["hearing"].detail
    assert hops["goodbye"].detail == "not reached"
    assert not trial.passed


def test_what_a_vendor_said_is_the_reason_of_its_hop():
    trial = Trial()
    data = {"hop": "synthesizer", "provider": "elevenlabs", "detail": "the key is wrong"}
    proved(trial, *BEGUN, item("vendor-failed", data=data))
    hops = {hop.name: hop for hop in trial.finish(call(endReason="synthesis-failed"))}
    assert hops["voice"].detail == "elevenlabs: the key is wrong"


def test_a_call_that_the_carrier_refuses_fails_there_with_its_words():
    trial = Trial()
    proved(trial, item("CallPlaced"))
    hops = trial.finish(call(endReason="carrier-error", detail="carrier twilio: 21211 the number is invalid"))
    assert hops[0].name == "carrier"
    assert hops[0].detail == "carrier-error: the carrier failed; carrier twilio: 21211 the number is invalid"


def test_a_carrier_that_speaks_and_listens_itself_needs_no_stream():
    trial = Trial()
    assert proved(trial, *BEGUN[:3], item("UtterancePlayed", ASKED))[-2:] == ["media", "voice"]


def test_what_a_model_fails_at_is_the_hop_that_was_to_come():
    failed = item("vendor-failed", data={"hop": "model", "provider": "openai", "detail": "no sound"})
    trial = Trial()
    proved(trial, *BEGUN, failed)
    hops = {hop.name: hop for hop in trial.finish(call(endReason="response-failed"))}
    assert hops["voice"].detail == "openai: no sound"
    trial = Trial()
    proved(trial, *BEGUN, item("UtterancePlayed", ASKED), failed)
    hops = {hop.name: hop for hop in trial.finish(call(ASKED, endReason="response-failed"))}
    assert hops["voice"].ok
    assert hops["hearing"].detail == "openai: no sound"
