"""Calls that a speech-to-speech model leads, on virtual time: what is heard, told to the model, and recorded."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest
from model_rig import LED, led_call

from openclaw_voicecall.api import realtime as r
from openclaw_voicecall.api.spec import ToolSpec
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.core.events import CallEnded
from openclaw_voicecall.core.policy import CallPolicy, MustSay
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import VendorAuthError
from openclaw_voicecall.media.tones import beep
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.scripted_model import ScriptedModel

pytestmark = [pytest.mark.session, pytest.mark.looptime]

HUMAN = "+15550002222"
NOISE = Random(7).randbytes(16000)


def seconds_heard(rig) -> float:
    return sum(end - start for start, end in rig.far.speech)


async def test_a_talk_is_heard_and_recorded():
    async with led_call() as rig:
        rig.model.hear("what time is it")
        rig.model.reply("It is nine o'clock.")
        await rig.until(lambda: len(rig.said()) == 2)
        assert rig.said() == [("caller", "what time is it", False), ("agent", "It is nine o'clock.", False)]
        assert seconds_heard(rig) == pytest.approx(len(babble("It is nine o'clock.")) / 8000, abs=0.03)


async def test_the_greeting_waits_until_the_session_is_confirmed():
    model = ScriptedModel(ready=False)
    async with led_call(CallPolicy(model_led=True, greeting="Good morning."), models=[model]) as rig:
        await asyncio.sleep(1.0)
        rig.model.emit(r.SessionReady())
        await rig.until(rig.said)
        assert rig.said() == [("agent", "Good morning.", False)]
        assert rig.model.said == ["Good morning."]


async def test_a_barge_in_clears_the_line_and_tells_the_model_what_was_heard():
    async with led_call() as rig:
        rig.model.hear("tell me a story")
        reply = rig.model.reply("Once upon a time there was a telephone that nobody ever answered.")
        await rig.until(lambda: rig.far.speech)
        begun = rig.far.speech[0][0]
        await asyncio.sleep(1.5)
        rig.model.emit(SpeechEdge(True))
        await rig.until(lambda: rig.far.clears)
        [(cut, [(_, milliseconds)])] = rig.model.cuts
        assert cut == reply
        assert milliseconds == pytest.approx(1000 * (rig.far.clears[0] - begun), abs=60)
        assert rig.said()[-1][0] == "agent"
        assert rig.said()[-1][2]
        heard = rig.said()[-1][1]
        assert 0 < len(heard) < 40


async def test_what_comes_late_of_a_cut_reply_is_not_heard():
    async with led_call() as rig:
        rig.model.hear("hello")
        reply = rig.model.reply("A long answer to a short greeting.", ends="")
        await rig.until(lambda: rig.far.speech)
        rig.model.emit(SpeechEdge(True))
        await rig.until(lambda: rig.far.clears)
        for _ in range(10):
            rig.model.emit(r.ReplyAudio(reply, "item-late", babble("x" * 10)))
        await asyncio.sleep(3)
        assert all(start <= rig.far.clears[0] for start, _ in rig.far.heard)


async def test_a_tool_runs_and_the_reply_after_it_is_the_same_turn():
    asked = []

    async def opening(turn, arguments):
        asked.append(arguments["day"])
        return "nine to five"

    tool = ToolSpec(
        name="hours", description="Opening hours.", parameters={"type": "object"}, handler=opening
    )
    async with led_call(tools=(tool,)) as rig:
        assert {offered.name for offered in rig.model.request.tools} >= {"hours", "end_call"}
        rig.model.hear("when are you open")
        call = rig.model.call_tool("hours", '{"day": "monday"}', says="Let me look.")
        await rig.until(lambda: rig.model.results)
        assert rig.model.results == [(call, "nine to five", True)]
        rig.model.reply("From nine to five.", asked=rig.model.asked[-1])
        await rig.until(lambda: len(rig.said()) == 2)
        assert asked == ["monday"]
        assert rig.said()[-1] == ("agent", "Let me look. From nine to five.", False)


async def test_the_model_hangs_up_after_its_farewell_was_heard():
    async with led_call() as rig:
        rig.model.hear("bye")
        rig.model.call_tool("end_call", '{"reason": "done"}', says="Goodbye, and thank you.")
        await rig.until(lambda: rig.reason is not None)
        assert rig.reason == "agent-hung-up"
        assert rig.said()[-1] == ("agent", "Goodbye, and thank you.", False)
        assert rig.model.results[0][2] is False


async def test_a_model_that_hangs_up_without_a_word_is_asked_to_say_goodbye():
    async with led_call() as rig:
        rig.model.hear("bye")
        reply = "reply-x"
        rig.model.emit(
            r.ReplyBegan(reply), r.ToolCalled("c1", "end_call", "{}", reply), r.ReplyEnded(reply, "completed")
        )
        await rig.until(lambda: rig.model.results)
        assert rig.model.results[0][2] is True
        rig.model.reply("Goodbye.", asked=rig.model.asked[-1])
        await rig.until(lambda: rig.reason is not None)
        assert (rig.reason, rig.said()[-1]) == ("agent-hung-up", ("agent", "Goodbye.", False))


async def test_a_transfer_waits_for_the_words_before_it():
    async with led_call(can_transfer=True) as rig:
        rig.model.hear("a human please")
        rig.model.call_tool("transfer_call", f'{{"to": "{HUMAN}"}}', says="I connect you.")
        await rig.until(lambda: rig.carrier.transfers)
        assert rig.carrier.transfers == [HUMAN]
        assert rig.said()[-1] == ("agent", "I connect you.", False)


async def test_a_session_that_breaks_in_mid_sentence_is_apologised_for_by_the_next():
    async with led_call() as rig:
        rig.model.hear("what time is it")
        rig.model.reply("It is nine o'clock, and", ends="")
        await rig.until(lambda: rig.far.speech)
        rig.model.fail()
        await rig.until(lambda: len(rig.models[0].sessions) == 2)
        await rig.until(lambda: rig.said()[-1:] == [("agent", LED.apology, False)])
        assert rig.model.said == [LED.apology]
        assert ("caller", "what time is it") in [
            (line.speaker, line.text) for line in rig.model.request.history
        ]
        assert rig.words("vendor-failed")[0]["hop"] == "model"


async def test_words_whose_sound_never_came_are_not_in_the_record():
    async with led_call() as rig:
        rig.model.hear("tell me a story")
        story = "Once upon a time there was a telephone line, and nobody knew where it went."
        rig.model.emit(r.ReplyBegan("r1"), r.ReplyText("r1", "i1", story))
        for at in range(0, 8000, 800):
            rig.model.emit(r.ReplyAudio("r1", "i1", babble(story)[at : at + 800]))
        await rig.until(lambda: rig.far.speech)
        rig.model.fail()
        await rig.until(lambda: rig.said()[-1:] == [("agent", LED.apology, False)])
        [cut] = [text for speaker, text, _ in rig.said() if speaker == "agent" and text != LED.apology]
        assert story.startswith(cut)
        assert 5 < len(cut) < 25


async def test_the_next_model_talks_when_the_first_cannot_be_reached():
    models = [ScriptedModel(failures=9), ScriptedModel()]
    async with led_call(CallPolicy(model_led=True, greeting="Good morning."), models=models) as rig:
        await rig.until(rig.said)
        assert models[1].session.said == ["Good morning."]


async def test_who_has_no_model_left_is_said_goodbye_to():
    async with led_call(models=[ScriptedModel(failures=9)]) as rig:
        await rig.until(lambda: rig.reason is not None)
        assert rig.reason == "response-failed"
        assert rig.said() == [("agent", LED.goodbye, False)]
        assert rig.far.speech[0][0] < 6.0


async def test_a_pipeline_goes_on_when_no_model_is_left():
    async with led_call(models=[ScriptedModel(failures=9)], pipeline=True, replies=["It is nine."]) as rig:
        await rig.until(rig.said)
        await rig.until(lambda: rig.stt[0].streams)
        await rig.agent_quiet()
        await rig.caller_says("what time is it")
        await rig.until(lambda: len(rig.said()) == 3)
        assert rig.said()[-1] == ("agent", "It is nine.", False)


async def test_a_wrong_key_is_not_tried_again():
    class Refused(ScriptedModel):
        tries = 0

        def open_session(self, request):
            Refused.tries += 1
            raise VendorAuthError("wrong key", operation="talk")

    async with led_call(models=[Refused()]) as rig:
        await rig.until(lambda: rig.reason is not None)
        assert Refused.tries == 1


async def test_a_model_that_does_not_answer_is_asked_and_then_replaced():
    async with led_call() as rig:
        rig.model.hear("are you there")
        first = rig.model
        spoken = rig.now()
        await rig.until(lambda: first.asked)
        await rig.until(lambda: len(rig.models[0].sessions) == 2)
        await rig.until(lambda: rig.far.speech)
        assert rig.far.speech[0][0] - spoken <= 6.0
        await rig.until(lambda: rig.said()[-1:] == [("agent", LED.apology, False)])


async def test_a_reply_that_stalls_is_given_up():
    async with led_call() as rig:
        rig.model.hear("hello")
        rig.model.reply("This is the beginning of", ends="")
        await rig.until(lambda: len(rig.models[0].sessions) == 2, limit=10)
        await rig.until(lambda: rig.said()[-1:] == [("agent", LED.apology, False)])


async def test_a_session_that_does_not_become_ready_is_replaced():
    model = ScriptedModel(ready=False)
    async with led_call(CallPolicy(model_led=True, greeting="Good morning."), models=[model]) as rig:
        model.ready = True
        await rig.until(rig.said)
        assert len(model.sessions) == 2
        assert rig.far.speech[0][0] < 6.0


async def test_a_failed_reply_is_told_to_the_caller():
    async with led_call() as rig:
        rig.model.hear("hello")
        rig.model.emit(r.ReplyBegan("r9"), r.ReplyEnded("r9", "failed", "rate limit"))
        await rig.until(lambda: rig.said()[-1:] == [("agent", LED.apology, False)])
        assert "rate limit" in rig.words("vendor-failed")[0]["detail"]
        assert len(rig.models[0].sessions) == 1


async def test_static_is_not_played_and_its_session_is_replaced():
    async with led_call() as rig:
        rig.model.hear("hello")
        rig.model.reply("Never to be heard.", audio=NOISE)
        await rig.until(lambda: len(rig.models[0].sessions) == 2)
        await rig.until(lambda: rig.said()[-1:] == [("agent", LED.apology, False)])
        assert rig.words("line-static")[0]["direction"] == "agent"
        assert seconds_heard(rig) == pytest.approx(len(babble(LED.apology)) / 8000, abs=0.1)


async def test_static_in_mid_call_falls_silent_at_once_and_is_no_words():
    async with led_call() as rig:
        rig.model.hear("hello")
        rig.model.reply("Hello you.")
        await rig.until(lambda: len(rig.said()) == 2)
        before = seconds_heard(rig)
        rig.model.hear("and then")
        rig.model.reply("Not to be understood.", audio=NOISE)
        await rig.until(lambda: rig.said()[-1:] == [("agent", LED.apology, False)])
        assert [text for speaker, text, _ in rig.said() if speaker == "agent"] == ["Hello you.", LED.apology]
        assert seconds_heard(rig) - before == pytest.approx(len(babble(LED.apology)) / 8000, abs=0.3)
        assert len(rig.models[0].sessions) == 2


async def test_sessions_that_are_never_ready_leave_nobody_without_a_voice():
    policy = CallPolicy(model_led=True, greeting="Good morning.")
    async with led_call(policy, models=[ScriptedModel(ready=False)], pipeline=True) as rig:
        await rig.until(rig.said)
        assert rig.said() == [("agent", "Good morning.", False)]
        assert rig.far.speech[-1][0] < 6.0


class MuteAtFirst(ScriptedModel):
    """What its first session says is for the test to say."""

    @asynccontextmanager
    async def open_session(self, request):
        async with super().open_session(request) as session:
            session.speaks = len(self.sessions) > 1
            yield session


async def test_a_greeting_that_is_static_is_said_again_by_the_next_session():
    policy = CallPolicy(model_led=True, greeting="Good morning.")
    async with led_call(policy, models=[MuteAtFirst()]) as rig:
        await rig.until(lambda: rig.model.said)
        rig.model.reply("Good morning.", asked="turn-1-1", audio=NOISE)
        await rig.until(rig.said)
        assert rig.said() == [("agent", "Good morning.", False)]
        assert len(rig.models[0].sessions) == 2
        assert seconds_heard(rig) == pytest.approx(len(babble("Good morning.")) / 8000, abs=0.03)


async def test_a_greeting_that_fails_is_asked_for_again():
    policy = CallPolicy(model_led=True, greeting="Good morning.")
    async with led_call(policy, models=[MuteAtFirst()]) as rig:
        await rig.until(lambda: rig.model.said)
        rig.model.speaks = True
        rig.model.emit(
            r.ReplyBegan("r9", "turn-1-1"), r.ReplyEnded("r9", "failed", "rate limit", asked="turn-1-1")
        )
        await rig.until(rig.said)
        assert rig.said() == [("agent", "Good morning.", False)]
        assert rig.words("vendor-failed")[0]["action"] == "asked for again"
        assert len(rig.models[0].sessions) == 1


async def test_keys_are_pressed_without_a_word_more():
    async with led_call() as rig:
        rig.model.hear("for the office press five")
        reply = "reply-x"
        rig.model.emit(
            r.ReplyBegan(reply),
            r.ToolCalled("c1", "send_digits", '{"digits": "5"}', reply),
            r.ReplyEnded(reply, "completed"),
        )
        await rig.until(lambda: rig.model.results)
        await asyncio.sleep(6.0)
        assert rig.model.results[0][2] is False
        assert rig.model.asked == []
        assert [speaker for speaker, _, _ in rig.said()] == ["caller"]


async def test_a_pipeline_says_the_greeting_that_no_model_could():
    policy = CallPolicy(model_led=True, greeting="Good morning.")
    async with led_call(policy, models=[ScriptedModel(failures=9)], pipeline=True) as rig:
        await rig.until(rig.said)
        assert rig.said() == [("agent", "Good morning.", False)]


async def test_what_was_heard_of_a_model_that_is_lost_is_recorded():
    model = ScriptedModel()
    async with led_call(models=[model], pipeline=True) as rig:
        rig.model.hear("tell me a story")
        rig.model.reply("Once upon a time there was a telephone that nobody ever answered.", ends="")
        await rig.until(lambda: rig.far.speech)
        await asyncio.sleep(1.5)
        model.failures = 9
        rig.model.fail()
        await rig.until(lambda: rig.said()[-1:] == [("agent", LED.apology, False)])
        heard, cut = rig.said()[1][1:]
        assert heard.startswith("Once upon")
        assert cut


async def test_a_machine_gets_the_message_after_its_beep():
    policy = CallPolicy(model_led=True, greeting="Your parcel.", respond=False, hang_up_after_greeting=2.0)
    async with led_call(policy) as rig:
        rig.model.hear("Please leave a message after the tone.")
        await rig.until(rig.said)
        tone = beep(500)
        for at in range(0, len(tone), 160):
            rig.far.frames(1, at // 8, tone[at : at + 160])
            await asyncio.sleep(0.02)
        await rig.until(lambda: rig.reason is not None)
        assert rig.reason == "voicemail"


async def test_a_session_that_grows_old_is_replaced_in_a_pause():
    async with led_call(limits=200.0) as rig:
        rig.model.hear("hello")
        rig.model.reply("Hello you.")
        await rig.until(lambda: len(rig.models[0].sessions) == 2, limit=100)
        await asyncio.sleep(1.0)
        rig.model.hear("still there?")
        rig.model.reply("Of course.")
        await rig.until(lambda: rig.said()[-1][1] == "Of course.")
        assert rig.words("session-renewed")
        assert not rig.words("vendor-failed")


async def test_lines_that_have_to_be_heard_cannot_be_interrupted():
    policy = CallPolicy(model_led=True, must_say=(MustSay("disclosure", "I am a machine and I say so."),))
    async with led_call(policy) as rig:
        await rig.until(lambda: rig.far.speech)
        assert rig.model.attention[-1] is False
        rig.model.emit(SpeechEdge(True), SpeechEdge(False), r.CallerSaid("c", "hey", final=True))
        await rig.until(rig.said)
        assert not rig.far.clears
        await rig.until(lambda: rig.model.attention[-1] is True)


async def test_nobody_is_answered_on_a_notification():
    policy = CallPolicy(model_led=True, greeting="Your parcel.", respond=False, hang_up_after_greeting=2.0)
    async with led_call(policy) as rig:
        await rig.until(lambda: rig.reason is not None)
        assert rig.reason == "completed"
        assert rig.model.attention == [False]
        assert rig.said() == [("agent", "Your parcel.", False)]


async def test_last_words_before_the_hang_up_are_in_the_record():
    async with led_call() as rig:
        rig.model.emit(SpeechEdge(True), SpeechEdge(False))
        await asyncio.sleep(0.1)
        rig.session.post(CallEnded(EndReason.CALLER_HUNG_UP))
        await asyncio.sleep(0.5)
        rig.model.emit(r.CallerSaid("c", "bye then", final=True))
        await rig.until(lambda: rig.reason is not None)
        assert rig.said() == [("caller", "bye then", False)]
