"""How calls end, as the owner of the service and the person on the phone notice it."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from line_calls import Outcome, dial, outcome_of, script, with_client

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.audio import offset_ms, segments
from openclaw_voicecall.testing.service import RunningService
from openclaw_voicecall.testing.wer import word_errors
from openclaw_voicecall.testing.witness import AUDIBLE, RATE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

MESSAGE = "Hello Sam. The meeting is on Monday at ten."
LONG_MESSAGE = (
    "Hello Sam. This is a message with a great many words in it, because somebody will hang up before it is over, "
    "and what comes at the very end of it will never be heard by anybody."
)
CONFIG = {
    # Some hang up within a second or two: what they said first is to be understood all the same.
    "streaming": {"providers": {"local": {"preload": True}}},
    "transcriptTimeoutMs": 6000,
    "maxConcurrentCalls": 20,
    "outbound": {"notifyHangupDelaySec": 1},
    "limits": {"mediaGraceMs": 1000, "hangUpGraceMs": 1500},
}
HASTY_CONFIG = {"ringTimeoutMs": 3000, "maxDurationSeconds": 4}
ORDERS = {
    "busy": {},
    "declines": {},
    "hangs-up-mid-sentence": {"message": LONG_MESSAGE},
    "machine": {"message": MESSAGE},
    "notified": {"script": "listens", "message": MESSAGE, "mode": "notify"},
    "silent": {"script": "listens", "message": "Hello, is anybody there?"},
    "loses-the-stream": {"message": LONG_MESSAGE},
    "loses-the-connection": {"message": LONG_MESSAGE},
    "presses-keys": {"message": "Please enter your number."},
    "in-the-street": {"message": "Hello, how can I help?"},
}
HASTY_ORDERS = {
    "no-answer": {},
    "rings-too-long": {},
    "goes-on": {"script": "listens", "message": LONG_MESSAGE},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):
    with RunningService(tmp_path_factory.mktemp("outcomes") / "s", port=0, config=CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def calls(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Most kinds of calls, all at the same time."""
    return place_all(service, tmp_path_factory.mktemp("phones"), ORDERS)


@pytest.fixture(scope="module")
def hasty_calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Calls of a service that gives up soon."""
    folder = tmp_path_factory.mktemp("hasty")
    with RunningService(folder / "s", port=0, config=HASTY_CONFIG) as service:
        return place_all(service, folder, HASTY_ORDERS)


def place_all(service: RunningService, folder: Path, orders: dict[str, dict]) -> dict[str, Outcome]:
    async def place(client: ControlClient, name: str, order: dict) -> Outcome:
        call = await dial(client, folder, name, **order)
        return await outcome_of(client, folder, name, call["callId"])

    async def place_them(client: ControlClient) -> list[Outcome]:
        return await asyncio.gather(*(place(client, name, order) for name, order in orders.items()))

    return dict(zip(orders, with_client(service, place_them), strict=True))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("busy", "busy"), ("declines", "busy"), ("no-answer", "no-answer"), ("rings-too-long", "no-answer")],
)
def test_a_call_that_nobody_takes_ends_with_the_reason(calls, hasty_calls, name, reason):
    call = (calls | hasty_calls)[name]
    assert (call.record["endReason"], call.record["state"]) == (reason, reason)
    assert call.record["endedAt"] >= call.record["createdAt"]
    assert call.record["answeredAt"] is None
    assert call.record["transcript"] == []
    assert call.events("stream started") == [], "no audio flowed"


def test_a_phone_does_not_ring_longer_than_the_ring_timeout(hasty_calls):
    for name in ("no-answer", "rings-too-long"):
        call = hasty_calls[name]
        (ringing,), (ended,) = call.events("ringing"), call.events("ended")
        assert 1.0 <= ended["at"] - ringing["at"] <= 4.0
        assert 2.8 <= call.seconds <= 4.5


def test_who_hangs_up_mid_sentence_leaves_only_what_was_heard_in_the_transcript(calls):
    call = calls["hangs-up-mid-sentence"]
    assert (call.record["endReason"], call.record["state"]) == ("caller-hung-up", "hangup-user")
    (line,) = call.record["transcript"]
    assert line["speaker"] == "agent"
    assert line["interrupted"] is True
    assert LONG_MESSAGE.startswith(line["text"])
    heard = sum(sound.duration for sound in call.witness.agent_sounds())
    # The local voice says three to four words a second.
    assert 1 <= len(line["text"].split()) <= heard * 4.5
    assert len(line["text"].split()) >= heard * 2 - 2


def test_a_machine_gets_the_whole_message_once_after_its_beep(calls):
    call = calls["machine"]
    assert (call.record["endReason"], call.record["state"]) == ("voicemail", "voicemail")
    last = call.record["transcript"][-1]
    assert (last["speaker"], last["text"], last["interrupted"]) == ("agent", MESSAGE, False)
    (beep,) = call.events("tone")
    after = call.witness.heard[int((beep["at"] + beep["ms"] / 1000) * RATE) :]
    left, whole = _trimmed(after), _trimmed(calls["notified"].witness.heard)
    assert len(left) == pytest.approx(len(whole), abs=0.1 * RATE), "neither cut nor said twice"
    assert abs(offset_ms(whole, left)) < 60, "it is the same sound as the message that a person was told"


def test_a_notification_is_hung_up_so_long_after_it_was_heard(calls):
    call = calls["notified"]
    assert (call.record["endReason"], call.record["state"]) == ("completed", "completed")
    assert [line["text"] for line in call.record["transcript"]] == [MESSAGE]
    played = call.witness.agent_sounds()[-1].end
    assert 0.8 <= call.report["duration"] - played <= 2.0, "notifyHangupDelaySec is 1"


def test_somebody_who_says_nothing_is_told_goodbye_in_the_end(calls):
    call = calls["silent"]
    assert (call.record["endReason"], call.record["state"]) == ("idle", "timeout")
    assert [line["speaker"] for line in call.record["transcript"]] == ["agent", "agent"]
    assert "Goodbye" in call.record["transcript"][-1]["text"]
    assert call.record["transcript"][-1]["interrupted"] is False
    sounds = call.witness.agent_sounds(min_gap_ms=2000)
    assert len(sounds) == 2
    assert sounds[1].start - sounds[0].end >= 4.5, "after transcriptTimeoutMs, not before"
    assert sounds[1].end < call.report["duration"]


@pytest.mark.parametrize("name", ["loses-the-stream", "loses-the-connection"])
def test_a_lost_media_stream_ends_the_call_and_keeps_what_was_heard(calls, name):
    call = calls[name]
    assert (call.record["endReason"], call.record["state"]) == ("media-lost", "error")
    assert call.record["endedAt"] > call.record["answeredAt"]
    (line,) = call.record["transcript"]
    assert line["interrupted"] is True
    assert LONG_MESSAGE.startswith(line["text"])
    assert len(line["text"].split()) <= sum(s.duration for s in call.witness.agent_sounds()) * 4.5 + 1


def test_a_carrier_that_is_late_with_the_end_does_not_hold_the_call_up(calls):
    call = calls["loses-the-stream"]
    (lost,), (told,) = call.events("drops the media stream"), call.events("ended")
    assert told["at"] - lost["at"] >= 6
    assert call.seconds < told["at"], "mediaGraceMs and hangUpGraceMs are 2.5 s together"


def test_pressed_keys_are_read_back(calls):
    call = calls["presses-keys"]
    assert call.words("caller") == "[keys 4711]"
    assert "four seven one one" in call.words("agent")
    pressed = call.events("key pressed")[-1]["at"]
    assert any(sound.start > pressed for sound in call.witness.agent_sounds()), "and it was heard"


def test_a_caller_in_the_street_is_understood_and_nothing_is_made_of_the_noise(calls):
    call = calls["in-the-street"]
    (line,) = call.lines("caller")
    assert word_errors([("What time is it, please?", line["text"])]).errors <= 1
    assert "It's" in call.words("agent")
    assert call.record["endReason"] == "caller-hung-up"


def test_no_call_has_holes_or_breaches_of_the_protocol(calls):
    for name, call in calls.items():
        assert call.report["errors"] == [], name
        assert call.report["gaps"] == [], name


def test_the_longest_duration_ends_a_call(hasty_calls):
    call = hasty_calls["goes-on"]
    assert (call.record["endReason"], call.record["state"]) == ("max-duration", "timeout")
    assert 3.8 <= call.report["duration"] <= 5.5


def test_the_command_says_how_the_call_ended_with_its_exit_code(service):
    expected = {"busy": 75, "hangs-up-mid-sentence": 0, "loses-the-connection": 69}

    async def call(name: str):
        arguments = ("--to", "+15550001234", "--message", LONG_MESSAGE, "--script", script(name))
        return await asyncio.to_thread(service.cli, "call", *arguments, check=False)

    async def call_all():
        return await asyncio.gather(*(call(name) for name in expected))

    done = asyncio.run(call_all())
    assert [result.exit_code for result in done] == list(expected.values())
    reasons = ["busy", "caller-hung-up", "media-lost"]
    assert [result.json["endReason"] for result in done] == reasons
    assert all(result.json["endedAt"] for result in done)


def _trimmed(pcm: np.ndarray) -> np.ndarray:
    """From the first sound to the last."""
    sounds = segments(pcm, RATE, AUDIBLE)
    return pcm[int(sounds[0].start * RATE) : int(sounds[-1].end * RATE)]
