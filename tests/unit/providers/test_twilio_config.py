"""Settings of the Twilio carrier, and what importing its plugin costs."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from openclaw_voicecall.config.secrets import redacted, secret_values
from openclaw_voicecall.config.sections_openclaw import TwilioKeys
from openclaw_voicecall.providers import twilio
from openclaw_voicecall.providers.twilio.config import TwilioConfig

pytestmark = pytest.mark.unit

REPORTED = {"accountSid": "ACxxx", "authToken": "hush"}


def test_every_key_of_openclaws_files_is_known():
    assert set(TwilioKeys.model_fields) <= set(TwilioConfig.model_fields)
    config = TwilioConfig(**REPORTED, region="ie1")
    assert (config.account_sid, config.region) == ("ACxxx", "ie1")


def test_secrets_are_never_shown():
    config = TwilioConfig(**REPORTED, signingKeys={"key-1": "shush"})
    assert sorted(secret_values(config)) == ["hush", "shush"]
    assert "hush" not in str(redacted(config)) + repr(config)


def test_the_api_may_be_at_an_address_on_this_machine():
    assert (
        TwilioConfig(**REPORTED, apiBaseUrl="http://127.0.0.1:9000/").api_base_url == "http://127.0.0.1:9000"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"accountSid": "SK0123"},
        {"accountSid": "AC/../x"},
        {"region": "de1"},
        {"apiBaseUrl": "127.0.0.1:9000"},
        {"apiBaseUrl": "http://user:secret@127.0.0.1"},
        {"signingKeys": ["key"]},
        {"token": "x"},
    ],
)
def test_wrong_settings_are_refused_without_repeating_a_secret(wrong):
    with pytest.raises(ValidationError) as caught:
        TwilioConfig(**{**REPORTED, **wrong})
    assert "secret" not in str([problem["msg"] for problem in caught.value.errors()])


def test_the_plugin_says_what_a_twilio_stream_can_do():
    (spec,) = registered()
    assert (spec.name, spec.config) == ("twilio", TwilioConfig)
    abilities = spec.capabilities
    assert (abilities.media, abilities.marks, abilities.clear) == ("stream", True, True)
    assert (abilities.dtmf_out, abilities.transfer, abilities.machine_detection) == ("in-band", True, True)
    assert (abilities.turns, abilities.limits_duration) == (True, True)


def registered():
    found = []
    twilio.voicecall_register_carriers(register=found.append)
    return found


def test_the_sdk_is_not_imported_before_the_carrier_is_opened():
    code = (
        "import sys; from openclaw_voicecall.providers import twilio; found = [];"
        "twilio.voicecall_register_carriers(register=found.append);"
        "sys.exit(any(name.partition('.')[0] in ('twilio', 'aiohttp') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
