"""The account and its numbers, by the official SDK, against the emulated Twilio."""

from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from openclaw_voicecall.api.carrier import WebhookRequest
from openclaw_voicecall.errors import (
    ConfigError,
    InvalidSignature,
    VendorAuthError,
    VendorRejected,
    VendorUnavailable,
)
from openclaw_voicecall.providers.twilio import webhooks
from openclaw_voicecall.providers.twilio.account import check_account, sign_probe
from openclaw_voicecall.providers.twilio.config import TwilioConfig
from openclaw_voicecall.providers.twilio.numbers import TwilioNumbers, open_numbers
from openclaw_voicecall.providers.twilio.signatures import SignatureCheck
from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator

pytestmark = pytest.mark.contract

OURS, MORE = "+15550001111", "+155500011112"
URL = "https://voice.example.com/voice/webhook"


@asynccontextmanager
async def account(**settings):
    async with TwilioEmulator(numbers={MORE: "", OURS: "https://old.example.com/"}) as twilio:
        given = {"accountSid": twilio.account_sid, "authToken": twilio.auth_token, "apiBaseUrl": twilio.url}
        yield twilio, TwilioConfig(**{**given, **settings})


async def test_the_account_says_its_name_and_state():
    async with account() as (_, config):
        assert await check_account(config) == 'the account "Emulated account" is active'


async def test_a_wrong_token_says_which_settings_to_look_at():
    async with account(authToken="wrong") as (_, config):
        with pytest.raises(VendorAuthError, match=r"twilio\.authToken"):
            await check_account(config)


async def test_a_vendor_that_is_down_is_no_matter_of_keys():
    async with account() as (twilio, config):
        twilio.fail_next("rest-500")
        with pytest.raises(VendorUnavailable):
            await check_account(config)


async def test_a_missing_token_is_named():
    with pytest.raises(ConfigError, match="TWILIO_AUTH_TOKEN"):
        await check_account(TwilioConfig(accountSid="AC" + "1" * 32))


async def test_a_number_says_whom_twilio_asks():
    async with account() as (twilio, config), open_numbers(config) as desk:
        found = await desk.read(OURS)
        assert (found.number, found.voice_url, found.method) == (OURS, "https://old.example.com/", "POST")
        assert found.takes_calls
        assert not found.handled_by
        assert await desk.read("+15550009999") is None
        assert twilio.refusals == []


async def test_a_number_is_set_to_be_asked_by_post():
    async with account() as (twilio, config), open_numbers(config) as desk:
        twilio.numbers[OURS] = replace(twilio.numbers[OURS], voice_method="GET")
        await desk.set_voice_url(OURS, URL)
        assert (twilio.numbers[OURS].voice_url, twilio.numbers[OURS].voice_method) == (URL, "POST")
        assert twilio.numbers[MORE].voice_url == ""
        assert twilio.refusals == []


async def test_a_number_of_somebody_else_cannot_be_set():
    async with account() as (_, config), open_numbers(config) as desk:
        with pytest.raises(VendorRejected, match="no number of this Twilio account"):
            await desk.set_voice_url("+15550009999", URL)


async def test_a_trunk_or_application_that_takes_the_calls_is_told_and_taken_away():
    changes = {}

    class Numbers:
        def __call__(self, sid):
            return self

        async def list_async(self, **filters):
            return [
                SimpleNamespace(
                    sid="PN1",
                    phone_number=OURS,
                    voice_url=URL,
                    voice_method="POST",
                    status_callback=None,
                    trunk_sid="TK1",
                    voice_application_sid="",
                    capabilities={"voice": False},
                )
            ]

        async def update_async(self, **fields):
            changes.update(fields)

    desk = TwilioNumbers(SimpleNamespace(client=SimpleNamespace(incoming_phone_numbers=Numbers())))
    found = await desk.read(OURS)
    assert found.handled_by == "the SIP trunk TK1"
    assert not found.takes_calls
    await desk.set_voice_url(OURS, URL)
    assert changes == {"voice_url": URL, "voice_method": "POST", "trunk_sid": ""}


@pytest.mark.parametrize("keys", [{}, {"SK1": "a-shared-key"}])
def test_a_probe_is_signed_as_twilio_signs_and_ends_a_call_nobody_knows(keys):
    sid = "AC" + "1" * 32
    config = TwilioConfig(accountSid=sid, authToken="token", signingKeys=keys)
    probe = sign_probe(config, f"{URL}?for=status&n=1")
    signatures = SignatureCheck("token", keys)
    verified = webhooks.verify(probe, base_url=URL, account_sid=sid, signatures=signatures)
    assert [event.kind for event in webhooks.parse(verified)] == ["ended"]
    moved = WebhookRequest(method="POST", url=f"{URL}?for=status", headers=probe.headers, body=probe.body)
    with pytest.raises(InvalidSignature):
        webhooks.verify(moved, base_url=URL, account_sid=sid, signatures=signatures)
