"""Whatever a supplier does, and whether or not anybody reports it: the caller hears something soon."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from line_rig import FILLERS, GREETING, PER_CHARACTER, Caller, conversation
from rig import running_call

from openclaw_voicecall.core.events import HangUpRequested
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.session.responding import Fillers
from openclaw_voicecall.testing.scripted import ScriptedSynthesizer

pytestmark = [pytest.mark.session, pytest.mark.looptime]

PROMISE = 4.0
"""Seconds until there is a sound."""
VOICES = (
    "error", "refused", "bug", "hang", "empty", "silent", "silent-slowly", "cut", "stops", "falls-silent", "trickle",
    "endless",
)  # fmt: skip
MINDS = ("error", "bug", "hang", "nothing", "spaces", "unspeakable", "slow", "very-slow", "stops", "cut")
HEARINGS = ("deaf", "dies", "refuses", "bug", "never-opens", "begins", "half", "edges", "wordless")
BROKEN_VOICES = ("cut", "stops", "falls-silent", "trickle", "endless")
"""Of these something is heard before they fail."""


async def to_the_end(caller: Caller) -> None:
    async with asyncio.timeout(180):
        await caller.call.session.wait_ended()


def answers(caller: Caller) -> list[str]:
    return [line.text for line in caller.call.lines if "answer" in line.text]


async def test_the_figures_are_what_was_heard():
    async with conversation() as caller:
        await to_the_end(caller)
        (figures,) = caller.call.words("line-figures")
        heard = len({round(begins, 2) for begins, _ in caller.ear.sounds}) * 0.02
        assert figures["spoken_seconds"] == pytest.approx(heard, abs=0.05)
        said = sum(end - begin for begin, end in caller.said)
        assert figures["heard_seconds"] == pytest.approx(said, rel=0.25), "a voice has pauses"
        assert 500 < figures["longest_silence_ms"] < 1500, "between a question and its answer"
        assert not caller.call.words("line-silent")


async def test_silence_of_a_synthesizer_is_no_sound():
    async with conversation(voices=["silent"]) as caller:
        await to_the_end(caller)
        (figures,) = caller.call.words("line-figures")
        assert figures["spoken_seconds"] == 0
        assert caller.call.reason == EndReason.SYNTHESIS_FAILED
        assert caller.call.words("vendor-failed")[0]["detail"] == "the audio is silent"


async def test_nothing_is_said_about_an_answered_call_on_which_nobody_waits():
    async with running_call(CallPolicy()) as call:
        await asyncio.sleep(60.0)
        assert not call.far.heard
        assert not call.words("line-silent")


@pytest.mark.parametrize("way", VOICES)
async def test_another_synthesizer_speaks_for_one_that_fails(way):
    async with conversation(voices=[way, "ok"]) as caller:
        await to_the_end(caller)
        assert caller.longest_silence() <= PROMISE
        assert caller.call.reason == EndReason.CALLER_HUNG_UP
        if way not in BROKEN_VOICES:
            assert len(answers(caller)) == 2, "the caller noticed nothing"


@pytest.mark.parametrize("way", VOICES)
async def test_the_carrier_speaks_for_a_synthesizer_that_fails_always(way):
    async with conversation(voices=[way], takes_turns=True) as caller:
        await to_the_end(caller)
        assert caller.longest_silence() <= PROMISE
        assert caller.call.reason == EndReason.CALLER_HUNG_UP


@pytest.mark.parametrize("way", MINDS)
async def test_another_responder_answers_for_one_that_fails(way):
    async with conversation(minds=[way, "ok"]) as caller:
        await to_the_end(caller)
        assert caller.longest_silence() <= PROMISE
        assert caller.call.reason == EndReason.CALLER_HUNG_UP


@pytest.mark.parametrize("way", HEARINGS)
async def test_another_transcriber_listens_for_one_that_fails(way):
    async with conversation(hearings=[way, "ok"], questions=3) as caller:
        await to_the_end(caller)
        assert caller.longest_silence() <= PROMISE
        assert caller.call.reason == EndReason.CALLER_HUNG_UP
        assert answers(caller)


@pytest.mark.parametrize("way", HEARINGS)
async def test_without_another_transcriber_nobody_sits_in_silence_either(way):
    async with conversation(hearings=[way], takes_turns=True) as caller:
        await to_the_end(caller)
        assert caller.longest_silence() <= PROMISE


async def test_the_next_transcriber_gets_the_utterance_in_the_same_language():
    async with conversation(hearings=["deaf", "ok"]) as caller:
        await to_the_end(caller)
        first, second = caller.call.stt
        assert second.streams[0].request == first.streams[0].request
        (replay,) = caller.call.words("utterance-replayed")
        assert replay["language"] == "en"
        assert replay["seconds"] > 1.6
        (failed,) = caller.call.words("vendor-failed")
        assert failed["detail"] == "the caller speaks, and no words of it come back"
        assert failed["action"] == "stt1 listens instead"


async def test_two_deaf_transcribers_are_done_without_in_less_than_six_seconds():
    async with conversation(hearings=["deaf", "deaf"], takes_turns=True) as caller:
        await caller.call.until(lambda: caller.said)
        _, ended = caller.said[0]
        await caller.call.until(lambda: caller.exchange.said)
        assert caller.call.now() - ended < 6.0
        assert caller.exchange.said[0] == CallPolicy().apology, "the caller is asked to say it again"


async def test_a_responder_that_hangs_leaves_the_next_one_its_time():
    async with conversation(minds=["hang", "ok"], talks=False, reply_within=12.0) as caller:
        await asyncio.sleep(4.0)
        await caller.say()
        asked = caller.call.now()
        await caller.call.until(lambda: answers(caller))
        (failed,) = caller.call.words("vendor-failed")
        assert failed["detail"] == "no words to say within 6 s"
        assert failed["action"] == "llm1 answers instead"
        assert caller.call.now() - asked < 12.0


@pytest.mark.parametrize("way", VOICES)
async def test_ten_seconds_after_a_question_the_answer_has_begun_or_the_caller_was_told(way):
    """The responder takes most of that time, and then the voice fails, too."""
    async with conversation(voices=[["ok", "ok", "ok", way], "ok"], minds=["slow"], talks=False) as caller:
        await asyncio.sleep(4.0)
        await caller.say()
        asked = caller.call.now()
        await asyncio.sleep(12.0)
        told = caller.heard_at(
            FILLERS.late,
            "This is answer 1,",
            "and it is a good one.",
            "I'm sorry, something went wrong on my side.",
        )
        assert told is not None
        assert told - asked < 10.0


async def test_a_long_wait_is_apologised_for_once_and_in_time():
    async with conversation(minds=["very-slow"], talks=False) as caller:
        await asyncio.sleep(4.0)
        await caller.say()
        asked = caller.call.now()
        await caller.call.until(lambda: answers(caller))
        (answer,) = answers(caller)
        assert answer.count(FILLERS.late) == 1
        assert "This is answer 1" in answer
        late = next(at for at, _, data, _ in caller.call.journal if data.get("text") == FILLERS.late)
        assert 5.0 < late - asked < 9.0
        assert caller.longest_silence() <= PROMISE


async def test_a_reply_that_never_comes_is_apologised_for_and_two_of_them_end_the_call():
    async with conversation(minds=["hang"], talks=False) as caller:
        await asyncio.sleep(4.0)
        for _ in range(2):
            await caller.say()
            asked, failures = caller.call.now(), len(caller.call.words("vendor-failed"))
            await caller.call.until(lambda count=failures: len(caller.call.words("vendor-failed")) > count)
            assert caller.call.now() - asked == pytest.approx(20.5, abs=1.0), "all the time it may take"
            await asyncio.sleep(8.0)
        await to_the_end(caller)
        said = " ".join(line.text for line in caller.call.lines)
        assert said.count(FILLERS.late) == 2, "once in each turn"
        assert said.count(CallPolicy().apology) == 1
        assert said.count(CallPolicy().goodbye) == 1
        assert caller.longest_silence() <= PROMISE


async def test_a_stream_that_takes_no_audio_is_replaced():
    async with conversation(takes_turns=True, talks=False) as caller:
        await asyncio.sleep(4.0)
        await caller.say()
        await caller.call.until(lambda: len(caller.ear.sounds) > 200)
        caller.ear.reads = False
        stopped = caller.call.now()
        await caller.call.until(lambda: caller.ear.reads)
        assert caller.call.now() - stopped < 6.0
        assert caller.call.words("line-silent")[0]["hop"] == "media stream"
        await caller.call.until(lambda: any("again" in line.text for line in caller.call.lines))
        cut = next(line for line in caller.call.lines if "answer" in line.text)
        assert cut.interrupted
        heard = max(ends for _, ends in caller.ear.sounds if ends < stopped + 2.0) - stopped
        assert len(cut.text) * PER_CHARACTER < 6.0 + heard, "what was not played was not heard"


@pytest.mark.parametrize("moment", [0.5, 2.0, 3.3, 5.6, 6.2, 7.5, 9.0])
async def test_whenever_a_stream_dies_the_caller_hears_something_soon(moment):
    async with conversation(takes_turns=True, questions=3) as caller:
        await asyncio.sleep(moment)
        caller.ear.reads = False
        await to_the_end(caller)
        assert caller.longest_silence() <= 6.0
        assert caller.call.reason == EndReason.CALLER_HUNG_UP
        assert answers(caller)


async def test_ears_that_fail_while_the_stream_is_dead_wait_for_nobody():
    async with conversation(hearings=["dies"], takes_turns=True, talks=False) as caller:
        await asyncio.sleep(4.0)
        caller.say_on()
        await asyncio.sleep(0.5)
        caller.ear.reads = False
        stopped = caller.call.now()
        await caller.call.until(lambda: caller.exchange.said)
        assert caller.call.now() - stopped < 6.0


async def test_a_stream_that_brings_nothing_is_replaced_although_nobody_speaks():
    async with conversation(takes_turns=True, talks=False) as caller:
        await asyncio.sleep(8.0)
        caller.ear.reads = False
        stopped = caller.call.now()
        await caller.call.until(lambda: caller.ear.reads)
        assert caller.call.now() - stopped < 6.0
        assert caller.call.words("line-silent")[0]["detail"] == "no audio comes"


async def test_a_stream_that_is_dead_and_cannot_be_replaced_ends_the_call():
    async with conversation(talks=False) as caller:
        await asyncio.sleep(8.0)
        caller.ear.reads = False
        await to_the_end(caller)
        assert caller.call.reason == EndReason.MEDIA_LOST


async def test_last_words_that_no_synthesizer_can_speak_are_said_by_the_carrier():
    async with conversation(
        voices=[["ok", "error", "error", "error"]], takes_turns=True, talks=False
    ) as caller:
        await asyncio.sleep(4.0)
        caller.call.session.request(HangUpRequested(EndReason.AGENT_HUNG_UP, "We close now. Goodbye."))
        await to_the_end(caller)
        assert " ".join(caller.exchange.said) == "We close now. Goodbye."
        assert caller.call.reason == EndReason.AGENT_HUNG_UP
        assert caller.call.lines[-1].text == "We close now. Goodbye."


async def test_of_last_words_that_were_heard_in_part_the_carrier_says_the_rest():
    ways = ["ok", "ok", "error", "error"]
    async with conversation(voices=[ways], takes_turns=True, talks=False) as caller:
        await asyncio.sleep(4.0)
        caller.call.session.request(HangUpRequested(EndReason.AGENT_HUNG_UP, "We close now. Goodbye."))
        await to_the_end(caller)
        assert caller.exchange.said == ["Goodbye."]
        assert caller.call.lines[-1].text == "We close now. Goodbye."


class Remembering(ScriptedSynthesizer):
    """Has the fillers at hand."""

    def kept(self, phrase: str, language: str, voice: str) -> bytes:
        return bytes([0x0F, 0x8F]) * round(len(phrase) * PER_CHARACTER * 4000)

    def keeps(self, utterance: str, language: str, voice: str) -> bool:
        return True


async def test_a_phrase_that_is_at_hand_bridges_a_silence_and_is_written_down():
    tts = [Remembering(delay=5.0)]
    fillers = Fillers(phrases=("One moment, please.",), after=60.0)
    async with running_call(GREETING, tts=tts, fillers=fillers) as call:
        call.far.frames(1, 0, b"\xff" * 1600)
        await call.until(lambda: call.words("line-silent"))
        silent = call.words("line-silent")[0]
        assert silent["action"] == "a clip is played: One moment, please."
        await call.until(lambda: call.lines)
        assert call.said()[0] == ("agent", "One moment, please.", False)


async def test_a_caller_who_speaks_is_not_talked_over_by_a_clip():
    tts = [Remembering(delay=5.0)]
    fillers = Fillers(phrases=("One moment, please, I am looking for it.",), after=60.0)
    async with running_call(GREETING, tts=tts, fillers=fillers) as call:
        await call.until(lambda: call.words("line-silent"))
        await asyncio.sleep(1.0)
        call.stream.edge(speaking=True)
        spoke = call.now()
        await asyncio.sleep(0.05)
        assert max(end for _, end in call.far.heard) <= spoke + 0.02
        text = call.lines[0].text
        assert call.lines[0].interrupted
        assert fillers.phrases[0].startswith(text)
        assert text != fillers.phrases[0]


async def test_what_was_heard_is_never_heard_again():
    ways = ["cut", "ok", "trickle", "falls-silent", "ok", "silent", "stops", "ok"]
    async with conversation(voices=[ways, "ok"], questions=5) as caller:
        await to_the_end(caller)
        assert twice_heard(caller) == 0


def twice_heard(caller: Caller) -> int:
    """Pieces of 20 ms that were heard again, but for the one in which the agent fell silent and went on."""
    pieces = heard_pieces(caller)
    held = sum(order["command"] == "HoldAudio" for _, _, _, orders in caller.call.journal for order in orders)
    return max(0, len(pieces) - len(set(pieces)) - held)


def heard_pieces(caller: Caller) -> list[tuple[int, bytes]]:
    """Pieces of speech with the place of their utterance among those with the same words."""
    counts: dict[bytes, int] = {}
    found = []
    speech = [piece for _, piece in sorted(caller.ear.pieces) if piece.startswith(b"\x0f\x8f")]
    for piece in speech:
        first = piece[-4:] == piece[-4:-2] + b"\x10\x10"
        counts[piece[-4:-2]] = counts.get(piece[-4:-2], 0) + first
        found.append((counts[piece[-4:-2]], piece))
    return found


def some(ways: tuple[str, ...]):
    """One or two suppliers, each with what it does on each occasion."""
    occasions = st.lists(st.sampled_from(("ok", *ways)), min_size=1, max_size=4)
    return st.lists(occasions, min_size=1, max_size=2)


# One that says of all that it holds no words is believed where nobody else can be asked: the line may be noisy.
REPORTED_BY_NOBODY = tuple(way for way in HEARINGS if way != "wordless")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some(VOICES), some(MINDS), some(REPORTED_BY_NOBODY), st.booleans())
async def test_whatever_fails_whenever_nobody_sits_in_silence(voices, minds, hearings, takes_turns):
    suppliers = {"voices": voices, "minds": minds, "hearings": hearings}
    async with conversation(**suppliers, takes_turns=takes_turns, questions=3) as caller:
        await to_the_end(caller)
        assert caller.longest_silence() <= 6.0
        assert twice_heard(caller) == 0
        apologies = sum(line.text == CallPolicy().apology for line in caller.call.lines)
        assert apologies <= len(caller.said) + 1, (
            "one for each turn at most, and one for a voice that broke off"
        )
