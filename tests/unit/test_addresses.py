"""Which address a carrier is given, and which URL it is taken to have asked for."""

import pytest

from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.config.schema import build_config_model

pytestmark = pytest.mark.unit

MODEL = build_config_model({})
PUBLIC = "https://voice.example.com/voice/webhook"


def addresses(**settings) -> Addresses:
    return Addresses(MODEL.model_validate(settings), "127.0.0.1:3334")


def test_the_local_line_is_never_sent_through_the_internet():
    line = addresses(publicUrl=PUBLIC, provider="twilio")
    assert line.webhook("local") == "http://127.0.0.1:3334/voice/webhook/local"
    assert line.stream("local", "t") == "ws://127.0.0.1:3334/voice/stream/local/t"


def test_the_configured_provider_is_given_the_public_address_as_it_stands():
    line = addresses(publicUrl=PUBLIC, provider="twilio")
    assert line.webhook("twilio") == PUBLIC
    assert line.webhook("telnyx") == PUBLIC + "/telnyx"
    assert line.stream("twilio", "t") == "wss://voice.example.com/voice/stream/twilio/t"


def test_what_was_asked_for_is_rebuilt_from_what_was_given_out_and_the_query_alone():
    line = addresses(publicUrl=PUBLIC, provider="twilio")
    reached = "http://evil.example/other/path?call=1&n=2"
    assert line.as_asked("twilio", reached) == PUBLIC + "?call=1&n=2"


def test_without_a_public_address_every_carrier_gets_ours():
    assert addresses().webhook("twilio") == "http://127.0.0.1:3334/voice/webhook/twilio"
