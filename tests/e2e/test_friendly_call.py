"""The call of `make call`, with its real engines, audio and processes: what was said, heard, recorded and kept."""

import re
import statistics
from pathlib import Path

import pytest
from whole_calls import HeldCall, place_all

from openclaw_voicecall.testing.audio import offset_ms, split_channels
from openclaw_voicecall.testing.service import RunningService
from openclaw_voicecall.testing.wer import word_errors

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

MESSAGE = "Hello, this is your agent calling. How can I help?"


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> HeldCall:
    folder = tmp_path_factory.mktemp("friendly")
    with RunningService(folder / "s", port=0) as service:
        order = {"script": "friendly", "message": MESSAGE, "recordDir": str(folder / "ours")}
        return place_all(service, folder, {"friendly": order})["friendly"]


def test_the_caller_is_understood_over_at_least_four_turns(call):
    caller = [line for line in call.record["transcript"] if line["speaker"] == "caller"]
    assert len(caller) >= 4
    said = " ".join(line.text for line in call.witness.lines)
    errors = word_errors([(said, call.words_of("caller"))])
    assert errors.rate <= 0.08, (said, call.words_of("caller"))


def test_the_agent_answers_what_was_asked_and_hangs_up_after_its_farewell(call):
    agent = call.words_of("agent")
    assert agent.startswith(MESSAGE)
    assert "two four six" in agent, "the number is read back"
    read_back = re.search(r"Your message is: (.*?)\. Is that right", agent)
    assert read_back, "the message is read back"
    assert word_errors([("The meeting is on Monday at ten", read_back[1])]).rate <= 0.2, read_back[1]
    assert agent.rstrip("!.").endswith("Goodbye")
    assert call.record["endReason"] == "agent-hung-up"
    assert call.record["state"] == "hangup-bot"
    assert call.record["endedAt"] > call.record["answeredAt"] > call.record["createdAt"]
    farewell = call.witness.agent_sounds()[-1]
    assert farewell.end < call.witness.report["duration"], "the farewell was heard to its end"


def test_an_interruption_leaves_only_what_was_heard_in_the_transcript(call):
    interrupted = [line for line in call.record["transcript"] if line["interrupted"]]
    assert len(interrupted) == 1
    cut = next(line for line in call.witness.lines if line.interrupts)
    sound = next(
        sound
        for sound in call.witness.agent_sounds(min_gap_ms=400)
        if sound.start < cut.sound.start < sound.end
    )
    words = interrupted[0]["text"].split()
    # The local voice says three to four words a second, so the words on record must fit into the sound that was heard.
    assert 1 <= len(words) <= (sound.end - sound.start) * 4.5
    assert len(words) >= (sound.end - sound.start) * 2 - 2


def test_the_agent_is_quick_to_answer_and_quick_to_yield(call):
    """Generous bounds against a busy machine; `bench/local_line.py` prints the figures."""
    assert statistics.median(call.witness.reply_delays()) <= 1.2
    assert max(call.witness.yield_delays()) <= 0.4


def test_our_recording_has_both_voices_on_their_own_channels_and_aligned(call):
    ours_caller, ours_agent = split_channels(Path(call.record["recording"]))
    caller_late = offset_ms(call.witness.said, ours_caller)
    sounds = call.witness.agent_sounds(min_gap_ms=400)
    assert len(sounds) >= 5
    for sound in sounds:
        first, last = max(0, int((sound.start - 0.1) * 8000)), int((sound.end + 0.1) * 8000)
        agent_late = offset_ms(call.witness.heard[first:last], ours_agent[first:last])
        assert abs(agent_late - caller_late) <= 20, f"the agent at {sound.start:.2f} s"


def test_no_utterance_of_the_agent_has_a_hole_in_it(call):
    assert call.witness.gaps == []
    assert call.witness.report["errors"] == []


def test_every_turn_says_where_its_time_went(call):
    turns = [latency for latency in call.record["latencies"] if latency["totalMs"] is not None]
    assert len(turns) >= 4
    for latency in turns:
        stages = (
            latency[key] for key in ("endpointingMs", "transcriptMs", "firstTokenMs", "firstSentenceMs")
        )
        known = sum(stage for stage in stages if stage is not None) + latency["firstAudioMs"]
        assert known == pytest.approx(latency["totalMs"], abs=60)
