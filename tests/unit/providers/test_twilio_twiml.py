"""What Twilio is told to do: well-formed TwiML that says just that."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.voice_response import Connect, Dial, Gather, VoiceResponse

from openclaw_voicecall.providers.twilio import twiml

pytestmark = pytest.mark.unit


def verbs(text):
    root = ElementTree.fromstring(text)
    assert root.tag == "Response"
    return [(verb.tag, dict(verb.attrib), verb.text or "") for verb in root]


def test_a_stream_that_fails_is_spoken_for_and_asked_about():
    text = twiml.stream("wss://h/voice/stream/twilio/secret", "One & only moment.", "https://h/over?a=1&b=2")
    assert [verb[0] for verb in verbs(text)] == ["Connect", "Say", "Redirect"]
    assert verbs(text)[2] == ("Redirect", {"method": "POST"}, "https://h/over?a=1&b=2")
    (stream,) = ElementTree.fromstring(text).find("Connect")
    assert (stream.tag, stream.attrib) == ("Stream", {"url": "wss://h/voice/stream/twilio/secret"})
    assert verbs(text)[1][2] == "One & only moment."


def test_words_before_a_stream_are_said_first():
    text = twiml.stream("wss://a.example/s", "Wait.", "https://a.example/over", first_text="One moment.")
    assert text.index("<Say>One moment.</Say>") < text.index("<Connect>") < text.index("<Say>Wait.</Say>")


def test_a_stream_without_fallback_words_is_asked_about_as_well():
    assert [verb[0] for verb in verbs(twiml.stream("wss://h/s", " ", "https://h/o"))] == [
        "Connect",
        "Redirect",
    ]


def test_calls_are_refused_with_a_reason_that_twilio_knows():
    assert verbs(twiml.reject(busy=True)) == [("Reject", {"reason": "busy"}, "")]
    assert verbs(twiml.reject(busy=False)) == [("Reject", {"reason": "rejected"}, "")]


def test_a_call_is_ended_with_or_without_words():
    assert verbs(twiml.hang_up()) == [("Hangup", {}, "")]
    assert verbs(twiml.hang_up("Bye")) == [("Say", {}, "Bye"), ("Hangup", {}, "")]


def test_waiting_asks_again():
    url = "https://h/voice/webhook/twilio?call=a&n=b"
    assert verbs(twiml.wait(url)) == [("Pause", {"length": "1"}, ""), ("Redirect", {"method": "POST"}, url)]


def test_nothing_is_an_empty_document():
    assert verbs(twiml.nothing()) == []


def test_a_turn_speaks_and_listens_and_always_comes_back():
    text = twiml.say_and_gather(
        "How can I help?", action_url="https://h/t?n=1&m=2", retry_url="https://h/t?n=3", language="en-GB"
    )
    gather, redirect = verbs(text)
    assert gather[1] == {
        "input": "speech dtmf",
        "action": "https://h/t?n=1&m=2",
        "method": "POST",
        "timeout": "5",
        "speechTimeout": "auto",
        "actionOnEmptyResult": "true",
        "bargeIn": "true",
        "language": "en-GB",
    }
    (said,) = ElementTree.fromstring(text).find("Gather")
    assert (said.tag, said.attrib, said.text) == ("Say", {"language": "en-GB"}, "How can I help?")
    assert redirect == ("Redirect", {"method": "POST"}, "https://h/t?n=3")


def test_a_turn_may_only_listen():
    text = twiml.say_and_gather("", action_url="https://h/a", retry_url="https://h/b", hints="yes, no")
    gather = ElementTree.fromstring(text).find("Gather")
    assert list(gather) == []
    assert gather.attrib["hints"] == "yes, no"
    assert "language" not in gather.attrib


def test_keys_are_pressed_before_anything_is_said():
    url = "https://h/p"
    assert verbs(twiml.say("Hi.", then_url=url, language="de", digits="w1#")) == [
        ("Play", {"digits": "w1#"}, ""),
        ("Say", {"language": "de-DE"}, "Hi."),
        ("Redirect", {"method": "POST"}, url),
    ]
    assert verbs(twiml.say("", then_url=url)) == [("Redirect", {"method": "POST"}, url)]
    listening = twiml.say_and_gather("", action_url="https://h/a", retry_url="https://h/b", digits="1")
    assert [verb[0] for verb in verbs(listening)] == ["Play", "Gather", "Redirect"]


def test_a_transfer_dials_the_number_and_tells_what_became_of_it():
    text = twiml.transfer(
        "+15550003333", over_url="https://h/o", news_url="https://h/n", caller_id="+15550001111", limit=60
    )
    (dial,) = verbs(text)
    assert dial[:2] == (
        "Dial",
        {
            "action": "https://h/o",
            "method": "POST",
            "timeout": "30",
            "callerId": "+15550001111",
            "timeLimit": "60",
        },
    )
    (number,) = ElementTree.fromstring(text).find("Dial")
    assert (number.tag, number.text) == ("Number", "+15550003333")
    assert (number.attrib["statusCallback"], number.attrib["statusCallbackEvent"]) == (
        "https://h/n",
        "answered",
    )


def test_the_documents_are_those_of_twilios_own_builder():
    response, connect = VoiceResponse(), Connect()
    connect.stream(url="wss://h/s")
    response.append(connect)
    response.say('Bye & "thanks" <all> ü')
    response.redirect("https://h/o", method="POST")
    assert twiml.stream("wss://h/s", 'Bye & "thanks" <all> ü', "https://h/o") == str(response)
    response, gather = (
        VoiceResponse(),
        Gather(
            input="speech dtmf",
            action="https://h/a?b=1&c=2",
            method="POST",
            timeout=3,
            speech_timeout="auto",
            action_on_empty_result=True,
            barge_in=False,
            language="en-US",
            hints="yes, no",
        ),
    )
    gather.say("So?", language="en-US")
    response.append(gather)
    response.redirect("https://h/r?b=1&c=2", method="POST")
    built = twiml.say_and_gather(
        "So?",
        action_url="https://h/a?b=1&c=2",
        retry_url="https://h/r?b=1&c=2",
        language="en-US",
        timeout=3,
        hints="yes, no",
        barge_in=False,
    )
    assert ElementTree.canonicalize(built) == ElementTree.canonicalize(str(response))
    response, dial = VoiceResponse(), Dial(action="https://h/o", method="POST", timeout=30)
    dial.number(
        "+15550003333",
        status_callback="https://h/n",
        status_callback_event="answered",
        status_callback_method="POST",
    )
    response.append(dial)
    built = twiml.transfer("+15550003333", over_url="https://h/o", news_url="https://h/n")
    assert ElementTree.canonicalize(built) == ElementTree.canonicalize(str(response))


@given(st.text())
def test_whatever_is_said_the_document_stays_readable(words):
    for text in (
        twiml.hang_up(words),
        twiml.stream("wss://h/s", words, "https://h/o"),
        twiml.say(words, then_url="https://h/p"),
        twiml.say_and_gather(words, action_url="https://h/a", retry_url="https://h/b"),
    ):
        ElementTree.fromstring(text.encode("utf-8"))
