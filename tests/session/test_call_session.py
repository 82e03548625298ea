"""Conversations of half a minute in milliseconds: what the far end hears and what the record says."""

import asyncio

import pytest
from rig import running_call

from openclaw_voicecall.api.responder import EndCall, TextDelta
from openclaw_voicecall.api.spec import ToolSpec
from openclaw_voicecall.core.events import DigitsRequested, HangUpRequested, SayRequested
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import LocalProtocolError, VendorUnavailable
from openclaw_voicecall.testing.scripted import ScriptedResponder, ScriptedSynthesizer, ScriptedTranscriber

pytestmark = [pytest.mark.session, pytest.mark.looptime]

GREETING = CallPolicy(greeting="Hello, this is the agent.")
LONG = "This is a long sentence that goes on for quite a while, and here comes another part of it."


async def test_a_conversation_is_recorded_as_it_was_heard():
    async with running_call(GREETING, replies=["It is noon.", [TextDelta("Goodbye."), EndCall()]]) as call:
        await call.agent_quiet()
        await call.caller_says("What time is it?")
        await call.until(lambda: len(call.lines) == 3)
        await call.caller_says("Thanks.")
        await call.session.wait_ended()
        assert call.said() == [
            ("agent", "Hello, this is the agent.", False),
            ("caller", "What time is it?", False),
            ("agent", "It is noon.", False),
            ("caller", "Thanks.", False),
            ("agent", "Goodbye.", False),
        ]
        assert call.reason == EndReason.AGENT_HUNG_UP
        assert [request.text for request in call.llm[0].requests] == ["What time is it?", "Thanks."]
        assert [line.text for line in call.llm[0].requests[1].history] == [
            "Hello, this is the agent.",
            "What time is it?",
            "It is noon.",
        ]


async def test_the_farewell_is_heard_before_the_hang_up():
    async with running_call(replies=[[TextDelta("Goodbye and have a nice day."), EndCall()]]) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Bye.")
        await call.session.wait_ended()
        seconds = sum(end - start for start, end in call.far.heard)
        assert seconds == pytest.approx(len("Goodbye and have a nice day.") * 0.06, abs=0.02)
        assert call.carrier.hung_up == 1


async def test_agent_audio_stops_as_soon_as_the_caller_speaks_and_only_what_was_heard_is_recorded():
    async with running_call(replies=[LONG, "All right."]) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Tell me.")
        await call.until(lambda: call.far.heard)
        await asyncio.sleep(1.0)
        started = call.now()
        call.stream.edge(speaking=True)
        await call.until(lambda: call.far.clears)
        assert call.far.clears[0] - started < 0.02
        await asyncio.sleep(0.4)
        call.stream.hear("Stop there", final=False)
        call.stream.on_finish = "Stop there please."
        call.stream.edge(speaking=False, ago=0.3)
        await call.until(lambda: len(call.lines) == 4)
        agent = call.lines[1]
        assert agent.interrupted
        assert LONG.startswith(agent.text)
        assert 0 < len(agent.text) < 25
        assert call.llm[0].requests[1].history[-1].text == agent.text
        assert call.said()[2:] == [("caller", "Stop there please.", False), ("agent", "All right.", False)]


async def test_a_cough_does_not_silence_the_agent():
    async with running_call(CallPolicy(greeting=LONG)) as call:
        await call.until(lambda: call.far.heard)
        await asyncio.sleep(1.0)
        call.stream.edge(speaking=True)
        await asyncio.sleep(0.2)
        call.stream.on_finish = ""
        call.stream.edge(speaking=False, ago=0.1)
        held = call.now()
        await call.agent_quiet()
        first, second = call.far.speech[0], call.far.speech[1]
        assert second[0] - held < 1.0
        total = sum(end - start for start, end in call.far.speech)
        spoken = sum(len(text) for text in call.tts[0].spoken) * 0.06
        assert total == pytest.approx(spoken, abs=0.05), "nothing twice, nothing left out"
        assert first[1] < second[0]
        assert call.said() == [("agent", LONG, False)]


async def test_an_uh_huh_lets_the_agent_go_on_and_is_recorded():
    async with running_call(CallPolicy(greeting=LONG)) as call:
        await call.until(lambda: call.far.heard)
        await asyncio.sleep(0.5)
        await call.caller_says("Uh-huh.", seconds=0.4)
        await call.agent_quiet()
        assert ("caller", "Uh-huh.", False) in call.said()
        assert ("agent", LONG, False) in call.said()
        assert call.llm[0].requests == []


async def test_the_next_transcriber_gets_the_unfinished_utterance_from_its_start():
    stt = [ScriptedTranscriber(), ScriptedTranscriber()]
    async with running_call(replies=["Yes."], stt=stt) as call:
        await call.until(lambda: stt[0].streams)
        call.stream.edge(speaking=True)
        await asyncio.sleep(0)
        call.far.frames(50, at_ms=0, audio=b"\x10" * 160)
        await call.until(lambda: len(stt[0].streams[0].audio) == 50 * 160)
        for _ in range(3):
            count = len(stt[0].streams)
            stt[0].streams[-1].fail(VendorUnavailable("gone", vendor="stt0", operation="listen"))
            await call.until(lambda count=count: len(stt[0].streams) > count or stt[1].streams)
        await call.until(lambda: stt[1].streams and stt[1].streams[0].audio)
        assert bytes(stt[1].streams[0].audio) == b"\x10" * (50 * 160)
        assert stt[1].streams[0].told == ["started"]
        failed = call.words("vendor-failed")
        assert [item["hop"] for item in failed] == ["transcriber"] * 3
        assert failed[-1]["action"] == "stt1 listens instead"


async def test_a_deaf_line_ends_with_a_spoken_reason():
    async with running_call(stt=[ScriptedTranscriber(refusals=99)]) as call:
        await call.session.wait_ended()
        assert call.reason == EndReason.TRANSCRIPTION_FAILED
        assert call.tts[0].spoken, "the caller is told"
        assert sum(end - start for start, end in call.far.heard) > 1.0


async def test_another_voice_speaks_when_the_first_fails():
    tts = [ScriptedSynthesizer(failures=2), ScriptedSynthesizer()]
    async with running_call(GREETING, tts=tts) as call:
        await call.agent_quiet()
        assert tts[1].spoken == ["Hello, this is the agent."]
        assert call.said() == [("agent", "Hello, this is the agent.", False)]


async def test_heard_audio_is_never_repeated_when_a_voice_breaks_off():
    tts = [ScriptedSynthesizer(breaks=frozenset({"It is noon."})), ScriptedSynthesizer()]
    async with running_call(replies=["It is noon."], tts=tts) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Time?")
        await call.until(lambda: call.tts[0].spoken and call.lines and call.lines[-1].speaker == "agent")
        assert "It is noon." not in tts[1].spoken


async def test_silence_from_the_synthesizer_is_an_error():
    tts = [ScriptedSynthesizer(mute=frozenset({"It is noon."})), ScriptedSynthesizer()]
    async with running_call(replies=["It is noon."], tts=tts) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Time?")
        await call.until(lambda: tts[1].spoken)
        assert tts[1].spoken == ["It is noon."]
        assert call.words("vendor-failed")[0]["detail"] == "the synthesizer gave no audio"


async def test_two_failed_turns_end_the_call_with_a_goodbye():
    refused = [VendorUnavailable("down", vendor="llm", operation="respond")] * 2
    async with running_call(replies=refused) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Hello?")
        await call.until(lambda: any(line.speaker == "agent" for line in call.lines))
        apology = call.lines[-1].text
        await call.caller_says("Hello again?")
        await call.session.wait_ended()
        assert apology == CallPolicy().apology
        assert call.lines[-1].text == CallPolicy().goodbye
        assert call.reason == EndReason.RESPONSE_FAILED


async def test_another_responder_answers_when_the_first_fails():
    llm = [ScriptedResponder(), ScriptedResponder()]
    llm[1].replies.append("Here I am.")
    async with running_call(llm=llm) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Anyone?")
        await call.until(lambda: len(call.lines) == 2)
        assert call.said()[-1] == ("agent", "Here I am.", False)


async def test_the_first_sentence_is_spoken_while_the_rest_is_still_being_written():
    llm = ScriptedResponder(delay=0.3)
    llm.replies.append("It is noon right now. The rest of this reply takes a good while to be written down.")
    async with running_call(llm=[llm]) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Time?")
        await call.until(lambda: call.far.heard)
        assert not any(name == "ResponseFinished" for _, name, _, _ in call.journal)


async def test_a_cancelled_response_is_closed_at_its_source():
    llm = ScriptedResponder(delay=0.5)
    llm.replies.extend([LONG, "Fine."])
    async with running_call(llm=[llm]) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Go on.")
        await call.until(lambda: call.far.heard)
        await call.caller_says("Stop, please.")
        await call.until(lambda: llm.cancelled)
        assert len(llm.requests) == 2 or llm.cancelled == [llm.requests[0].turn]


async def test_a_lost_stream_that_comes_back_goes_on():
    async with running_call(GREETING, replies=["Still here."]) as call:
        await call.agent_quiet()
        call.far.drop()
        await call.until(lambda: call.session.call.snapshot().media == "lost")
        call.connect()
        await call.until(lambda: call.session.call.snapshot().media == "flowing")
        await call.caller_says("Are you there?")
        await call.until(lambda: call.lines[-1].text == "Still here.")


async def test_a_lost_stream_that_stays_away_ends_the_call():
    async with running_call(GREETING) as call:
        await call.agent_quiet()
        lost = call.now()
        call.far.drop()
        await call.session.wait_ended()
        assert call.reason == EndReason.MEDIA_LOST
        assert call.now() - lost == pytest.approx(5.0, abs=0.5)


async def test_garbage_on_the_stream_is_noted_and_the_call_goes_on():
    async with running_call(GREETING, replies=["Fine."]) as call:
        call.far.to_server.put_nowait("not json")
        call.far.to_server.put_nowait('{"event":"surprise"}')
        await call.agent_quiet()
        await call.caller_says("Hello?")
        await call.until(lambda: call.lines and call.lines[-1].text == "Fine.")
        assert len(call.words("media-refused")) == 2


async def test_digits_that_are_pressed_become_a_turn():
    async with running_call(replies=["You pressed something."]) as call:
        await call.until(lambda: call.stt[0].streams)
        for digit in "42#":
            call.far.press(digit)
        await call.until(lambda: len(call.lines) == 2)
        assert call.llm[0].requests[0].digits == "42"


async def test_a_hang_up_that_the_carrier_refuses_is_tried_again():
    async with running_call(GREETING) as call:
        call.carrier.refusals = 2
        await call.agent_quiet()
        call.session.request(HangUpRequested(EndReason.AGENT_HUNG_UP))
        await call.session.wait_ended()
        assert call.carrier.hung_up == 1
        assert call.reason == EndReason.AGENT_HUNG_UP


async def test_what_the_owner_asks_for_is_done_or_refused_in_words():
    async with running_call(GREETING) as call:
        await call.agent_quiet()
        call.session.request(SayRequested("One moment, please."))
        await call.agent_quiet()
        call.session.request(DigitsRequested("12"))
        await call.until(lambda: call.carrier.digits == ["12"])
        assert call.said()[-1] == ("agent", "One moment, please.", False)
        call.session.request(HangUpRequested(EndReason.AGENT_HUNG_UP))
        with pytest.raises(LocalProtocolError):
            call.session.request(SayRequested("Too late."))


async def test_a_responder_calls_tools_and_a_broken_one_does_not_end_the_turn():
    async def weather(request, arguments):
        return f"sunny in {arguments['city']}"

    async def broken(request, arguments):
        raise KeyError("city")

    async def endless(request, arguments):
        await asyncio.sleep(1000)

    async def reply(request):
        by_name = {tool.name: tool for tool in request.tools}
        results = [await by_name[name].run({"city": "Rome"}) for name in ("weather", "broken", "endless")]
        results += [await by_name["weather"].run({"city": "Oslo"}) for _ in range(8)]
        return [TextDelta(f"It is {results[0]}.")] if "at most" in results[-1] else []

    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [
        ToolSpec(name=handler.__name__, description="A tool.", parameters=parameters, handler=handler)
        for handler in (weather, broken, endless)
    ]
    async with running_call(replies=[reply], tools=tools) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("How is the weather?")
        await call.until(lambda: len(call.lines) == 2)
        assert call.said()[-1] == ("agent", "It is sunny in Rome.", False)
        outcomes = [(item["tool"], item["outcome"]) for item in call.words("tool-called")]
        assert outcomes[:3] == [("weather", "done"), ("broken", "failed"), ("endless", "timed out")]
        assert len(outcomes) == 8, "a turn has a limit of calls"


async def test_nothing_is_left_running_after_a_call():
    before = asyncio.all_tasks()
    async with running_call(GREETING, replies=[LONG]) as call:
        await call.caller_says("Hi.") if call.stt[0].streams else None
        await asyncio.sleep(1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
