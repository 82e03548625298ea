"""Doctor where OpenAI has the audio of calls: its address, the trunk, the webhook, and what a call is taken with."""

import asyncio
import json

import pytest
from doctor_model_rig import model_ward
from doctor_rig import failures
from test_doctor import set_voice_url
from vendor_line import OURS

from openclaw_voicecall.providers.openai import sip_carrier
from openclaw_voicecall.providers.twilio import numbers
from openclaw_voicecall.testing.service import RunningService

pytestmark = pytest.mark.e2e


@pytest.fixture
async def over_sip(state_dir, free_port):
    async with model_ward(state_dir, free_port, sip=True) as everything:
        yield everything


async def test_every_hop_of_a_call_whose_audio_openai_has_is_green(over_sip):
    report = await over_sip.doctor(audible=True, public=True)
    assert report.ok, failures(report)
    green = [(finding.hop, finding.name) for finding in report.findings if finding.status == "ok"]
    assert green == [
        ("configuration", ""),
        ("carrier", "openai-sip"),
        ("trunk", "twilio"),
        ("responder", "xai/grok-4.3"),
        ("public address", ""),
        ("signature", ""),
        ("signature", "twilio"),
        ("SIP address", "openai-sip"),
        ("call set-up", "openai-sip"),
        ("number", OURS),
        ("model", "openai-sip"),
        ("model", "openai-sip"),
        ("model", "openai-sip"),
        ("responder", "xai/grok-4.3"),
    ]
    address = next(finding for finding in report.findings if finding.hop == "SIP address")
    assert "sip:proj_emulated@sip.api.openai.com;transport=tls" in address.text
    assert over_sip.config["publicUrl"] in address.text
    for vendor in (over_sip.twilio, over_sip.vendor, over_sip.chat):
        assert vendor.refusals == []
    assert "whsec_" not in json.dumps(report.to_json())


async def test_a_public_address_that_does_not_reach_us_is_found(over_sip):
    over_sip.proxy.status = 502
    found = await over_sip.diagnosis(public=True)
    assert found.hop == "public address"
    skipped = [finding.hop for finding in over_sip.report.findings if finding.status == "skipped"]
    assert skipped == ["signature"]


async def test_a_proxy_that_does_not_lead_the_trunks_address_here_is_found(over_sip):
    over_sip.proxy.strips = "/twilio"
    over_sip.proxy.only = "/voice/webhook"
    over_sip.proxy.drops_headers = ("X-Twilio-Signature",)
    found = await over_sip.diagnosis(public=True)
    assert found.label == "signature twilio"


async def test_a_missing_project_is_found_where_calls_have_to_be_connected(over_sip):
    del over_sip.config["openai-sip"]["projectId"]
    found = await over_sip.diagnosis()
    assert found.label == "SIP address openai-sip"
    assert "openai-sip.projectId" in found.cause
    assert "openai-sip.projectId" in found.fix


async def test_a_missing_project_is_a_warning_where_calls_only_come_in(over_sip):
    del over_sip.config["openai-sip"]["projectId"]
    over_sip.config["openai-sip"]["trunk"] = ""
    report = await over_sip.doctor()
    assert report.ok, failures(report)
    assert any(f.hop == "SIP address" and f.status == "warning" for f in report.findings)
    assert any(f.hop == "trunk" and f.status == "skipped" for f in report.findings)


@pytest.mark.parametrize("secret", [None, "whsec_", "whsec_!"])
async def test_a_webhook_secret_that_is_missing_or_none_is_found(over_sip, secret):
    over_sip.config["openai-sip"].pop("webhookSecret")
    if secret:
        over_sip.config["openai-sip"]["webhookSecret"] = secret
    found = await over_sip.diagnosis(audible=True, public=True)
    assert found.label == "carrier openai-sip"
    assert "openai-sip.webhookSecret" in found.cause


async def test_a_webhook_secret_that_the_running_service_does_not_have_is_found(
    over_sip, state_dir, free_port
):
    service = RunningService(state_dir, port=free_port, config=over_sip.config)
    await asyncio.to_thread(service.__enter__)
    try:
        over_sip.config["openai-sip"]["webhookSecret"] = "whsec_YW5vdGhlciBzZWNyZXQ="
        found = await over_sip.diagnosis(public=True)
    finally:
        await asyncio.to_thread(service.__exit__, None, None, None)
    assert found.label == "signature"
    assert "restart the service" in found.fix


async def test_a_trunk_that_nobody_has_is_found(over_sip):
    over_sip.config["openai-sip"]["trunk"] = "twillio"
    found = await over_sip.diagnosis()
    assert found.hop == "configuration"
    assert "openai-sip.trunk" in found.cause
    assert "twillio" in found.cause


async def test_a_trunk_without_an_account_is_found(over_sip):
    del over_sip.config["twilio"]
    found = await over_sip.diagnosis(public=True)
    assert found.label == "trunk twilio"
    assert "twilio.accountSid" in found.cause


async def test_a_trunk_with_a_wrong_token_is_found(over_sip):
    over_sip.config["twilio"]["authToken"] = "wrong-token-of-twilio"
    found = await over_sip.diagnosis()
    assert found.label == "trunk twilio"
    assert found.text == "the key is refused"


async def test_a_trunk_that_cannot_connect_to_sip_is_found(over_sip):
    over_sip.config["openai-sip"]["trunk"] = "local"
    found = await over_sip.diagnosis()
    assert found.label == "trunk local"
    assert "SIP address" in found.text
    assert "twilio" in found.fix


async def test_a_number_that_leads_past_the_trunk_is_found_and_set_when_asked(over_sip):
    set_voice_url(over_sip, "https://old.example.com/hook")
    found = await over_sip.diagnosis()
    assert found.label == f"number {OURS}"
    assert (await over_sip.doctor(fix=True)).ok
    assert over_sip.twilio.numbers[OURS].voice_url == f"{over_sip.config['publicUrl']}/twilio"


async def test_a_number_that_a_sip_trunk_answers_is_left_to_it(over_sip, monkeypatch):
    set_voice_url(over_sip, "")
    monkeypatch.setattr(numbers, "_handler", lambda found: "the SIP trunk TK1")
    report = await over_sip.doctor(fix=True)
    assert report.ok, failures(report)
    number = next(finding for finding in report.findings if finding.hop == "number")
    assert "sip:proj_emulated@sip.api.openai.com;transport=tls" in number.text
    assert over_sip.twilio.numbers[OURS].voice_url == ""


async def test_a_set_up_that_openai_would_not_take_is_named_field_by_field(over_sip, monkeypatch):
    problems = ["session.tools[1].name: there are two tools called x", "accept: audio.output.speed: too fast"]
    monkeypatch.setattr(sip_carrier, "accept_problems", lambda config, request: problems)
    found = await over_sip.diagnosis()
    assert found.label == "call set-up openai-sip"
    assert found.cause.splitlines() == problems
    assert [line.partition(" ")[0] for line in found.fix.splitlines()] == ["correct", "leave"]
