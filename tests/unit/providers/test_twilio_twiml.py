"""What Twilio is told to do: well-formed TwiML that says just that."""

from urllib.parse import parse_qsl
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.voice_response import Connect, Dial, Gather, VoiceResponse

from openclaw_voicecall.errors import ConfigError
from openclaw_voicecall.providers.twilio import twiml
from openclaw_voicecall.testing.emulators.twilio_twiml import read_sip_address

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


def test_an_announced_transfer_whispers_and_reports_nothing_by_itself():
    text = twiml.transfer("+15550003333", over_url="https://h/o", whisper_url="https://h/w?a=1&b=2")
    (dial,) = verbs(text)
    assert dial[1] == {"action": "https://h/o", "method": "POST", "timeout": "30", "answerOnBridge": "true"}
    (number,) = ElementTree.fromstring(text).find("Dial")
    assert number.attrib == {"url": "https://h/w?a=1&b=2", "method": "POST"}


def test_a_whisper_says_what_it_is_about_waits_for_any_key_and_hangs_up_without_one():
    text = twiml.whisper("Ann & <Bob> are calling.", take_url="https://h/t", timeout=7)
    assert [verb[0] for verb in verbs(text)] == ["Gather", "Hangup"]
    assert verbs(text)[0][1] == {
        "input": "dtmf",
        "action": "https://h/t",
        "method": "POST",
        "numDigits": "1",
        "finishOnKey": "",
        "timeout": "7",
    }
    said = [verb.text for verb in ElementTree.fromstring(text).find("Gather")]
    assert said == ["Ann & <Bob> are calling.", twiml.TAKE_PROMPT]
    assert [verb.text for verb in ElementTree.fromstring(twiml.whisper("", take_url="u")).find("Gather")] == [
        twiml.TAKE_PROMPT
    ]


def test_a_whisper_is_no_longer_than_twilio_says_things():
    (said, _) = ElementTree.fromstring(twiml.whisper("word " * 2000, take_url="u")).find("Gather")
    assert len(said.text) <= 4096


def bridge(uri="sip:proj_1@sip.api.openai.com;transport=tls", headers=None, **more):
    return twiml.bridge(uri, headers or {}, over_url="https://h/o", refer_url="https://h/r?a=1&b=2", **more)


def test_a_bridge_connects_with_a_sip_address_and_its_headers():
    text = bridge(headers={"X-Call-Token": "a b&c=d;", "X-B": "1"}, caller_id="+15550001111")
    (dial,) = verbs(text)
    assert dial[:2] == (
        "Dial",
        {
            "action": "https://h/o",
            "method": "POST",
            "timeout": "30",
            "answerOnBridge": "true",
            "referUrl": "https://h/r?a=1&b=2",
            "referMethod": "POST",
            "callerId": "+15550001111",
        },
    )
    (sip,) = ElementTree.fromstring(text).find("Dial")
    assert (sip.tag, sip.attrib) == ("Sip", {})
    assert sip.text == ("sip:proj_1@sip.api.openai.com;transport=tls?X-Call-Token=a%20b%26c%3Dd%3B&X-B=1")


def test_words_before_a_bridge_are_said_first():
    assert [verb[0] for verb in verbs(bridge(first_text="This call is recorded."))] == ["Say", "Dial"]


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "proj_1@sip.api.openai.com",
        "https://sip.api.openai.com",
        "sip:sip.api.openai.com",
        "sip:a@host?X-A=1",
        "sip:a@host;transport=tls&x",
        "sip:a b@host",
        "sip:a@host\r\nX: y",
        "sip:a<b>@host",
        "sip:" + "a" * 250 + "@host",
    ],
)
def test_an_address_that_twilio_would_not_call_is_refused(uri):
    with pytest.raises(ConfigError, match="not a SIP address"):
        bridge(uri)


@pytest.mark.parametrize(
    "headers",
    [
        {"Call-Token": "a"},
        {"X-": "a"},
        {"X-A B": "a"},
        {"X-A": ""},
        {"X-A": "a\r\nVia: b"},
        {"X-A": "ü"},
        {"X-A\n": "a"},
        {"X-A": "a" * 1100},
    ],
)
def test_a_header_that_twilio_would_not_pass_on_is_refused_without_its_value(headers):
    with pytest.raises(ConfigError) as refused:
        bridge(headers=headers)
    assert not any(len(value) > 5 and value in str(refused.value) for value in headers.values())


@given(
    st.dictionaries(st.from_regex(r"X-[A-Za-z0-9-]{1,12}", fullmatch=True), st.text(max_size=40), max_size=4)
)
def test_whatever_the_headers_hold_they_arrive_as_they_are_or_not_at_all(headers):
    try:
        text = bridge(headers=headers)
    except ConfigError:
        return
    (sip,) = ElementTree.fromstring(text).find("Dial")
    assert dict(parse_qsl(sip.text.partition("?")[2], strict_parsing=bool(headers))) == headers
    address, problems = read_sip_address(sip.text)
    assert problems == []
    assert dict(address.headers) == headers


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
    response, dial = (
        VoiceResponse(),
        Dial(
            action="https://h/o",
            method="POST",
            timeout=30,
            answer_on_bridge=True,
            refer_url="https://h/r?a=1&b=2",
            refer_method="POST",
        ),
    )
    dial.sip("sip:a@host;transport=tls?X-A=1&X-B=2")
    response.append(dial)
    built = bridge("sip:a@host;transport=tls", {"X-A": "1", "X-B": "2"})
    assert ElementTree.canonicalize(built) == ElementTree.canonicalize(str(response))


@given(st.text())
def test_whatever_is_said_the_document_stays_readable(words):
    for text in (
        twiml.hang_up(words),
        twiml.stream("wss://h/s", words, "https://h/o"),
        twiml.say(words, then_url="https://h/p"),
        twiml.say_and_gather(words, action_url="https://h/a", retry_url="https://h/b"),
        twiml.whisper(words, take_url="https://h/t"),
    ):
        ElementTree.fromstring(text.encode("utf-8"))
