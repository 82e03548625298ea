"""Doctor where a speech-to-speech model leads the calls: all is well, or which hop is to blame, why, and what to do."""

import asyncio
import json
import sys

import pytest
from doctor_model_rig import VOICE, model_ward
from doctor_rig import PHRASE, failures
from test_doctor import command, set_voice_url
from vendor_line import OURS

from openclaw_voicecall.checks import model
from openclaw_voicecall.providers.openai import sip_carrier
from openclaw_voicecall.providers.twilio import numbers
from openclaw_voicecall.testing.emulators.gemini_live import GeminiLiveEmulator
from openclaw_voicecall.testing.emulators.gpt_live import GptLiveEmulator
from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse
from openclaw_voicecall.testing.service import RunningService

pytestmark = pytest.mark.e2e

PLUGIN = """
from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.spec import ToolSpec

async def run(turn, arguments):
    raise AssertionError("nothing is run by doctor")

@hookimpl
def voicecall_register_tools(register, config):
    for name, parameters in TOOLS:
        register(ToolSpec(name=name, description="Books a table.", parameters=parameters, handler=run))
"""
RIGHT = {"type": "object", "properties": {"at": {"type": "string"}}}


@pytest.fixture
async def healthy(state_dir, free_port):
    async with model_ward(state_dir, free_port) as everything:
        yield everything


@pytest.fixture
async def over_sip(state_dir, free_port):
    async with model_ward(state_dir, free_port, sip=True) as everything:
        yield everything


@pytest.fixture(params=[False, True], ids=["stream", "sip"])
async def either(request, state_dir, free_port):
    async with model_ward(state_dir, free_port, sip=request.param) as everything:
        yield everything


@pytest.fixture
def hasty(monkeypatch):
    """What does not come is not waited for as long as on a call."""
    monkeypatch.setattr(model, "READY_LIMIT", 0.5)
    monkeypatch.setattr(model, "OPEN_LIMIT", 0.2)
    monkeypatch.setattr(model, "REPLY_LIMIT", 0.7)
    monkeypatch.setattr(model, "ANSWER_LIMIT", 1.2)
    monkeypatch.setattr(model, "WORDS_LIMIT", 0.3)


def plugin(ward, tmp_path, monkeypatch, *tools):
    (tmp_path / "table_plugin.py").write_text(f"TOOLS = {list(tools)!r}\n{PLUGIN}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "table_plugin", raising=False)
    ward.config["plugins"] = {"modules": ["table_plugin"]}


def label(ward):
    return "model openai-sip" if "openai-sip" in ward.config else "model openai"


def section(ward):
    return "openai-sip" if "openai-sip" in ward.config else "realtime.providers.openai"


async def test_every_hop_of_a_call_that_a_model_leads_is_green(healthy):
    report = await healthy.doctor(audible=True, public=True)
    assert report.ok, failures(report)
    green = [(finding.hop, finding.name) for finding in report.findings if finding.status == "ok"]
    assert green == [
        ("configuration", ""),
        ("carrier", "twilio"),
        ("model", "openai"),
        ("responder", "xai/grok-4.3"),
        ("public address", ""),
        ("signature", ""),
        ("media stream", ""),
        ("number", OURS),
        ("model", "openai"),
        ("model", "openai"),
        ("model", "openai"),
        ("responder", "xai/grok-4.3"),
    ]
    assert f"OpenAI gpt-realtime-2.1, voice {VOICE}" in report.findings[0].text
    assert [session.config["audio"]["output"]["voice"] for session in healthy.vendor.sessions] == [VOICE]
    names = [tool["name"] for tool in healthy.vendor.sessions[0].config["tools"]]
    assert names == ["ask_agent", "end_call", "send_digits"], "it is asked for what a call asks for"
    assert "You are the front office." in healthy.vendor.sessions[0].config["instructions"]
    for vendor in (healthy.twilio, healthy.vendor, healthy.chat):
        assert vendor.refusals == []
    assert "sk-emulated" not in json.dumps(report.to_json())


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


async def test_the_command_prints_times_and_no_secret(either):
    code, out, err = await command(either, "--no-public")
    assert code == 0, out + err
    assert f"✓ {label(either)}: its session is ready after " in out
    assert f"✓ {label(either)}: speaks: " in out
    assert 'hears: "Good morning, this is a test of the telephone line."; its answer begins after ' in out
    for secret in ("emulated-token", "sk-emulated", "whsec_"):
        assert secret not in out + err


async def test_the_pipeline_is_looked_at_where_it_stands_in_for_the_model(healthy):
    healthy.config["realtime"]["fallbacks"] = ["pipeline"]
    healthy.config["streaming"] = {
        "provider": "openai",
        "providers": {"openai": {"apiKey": "sk-emulated", "baseUrl": f"{healthy.vendor.url}/v1"}},
    }
    healthy.config["tts"] = {"provider": "openai", "openai": {"baseUrl": f"{healthy.vendor.url}/v1"}}
    healthy.config["tts"]["openai"]["apiKey"] = "sk-wrong-wrong"
    found = await healthy.diagnosis()
    assert found.label == "synthesizer openai"
    looked_at = {finding.hop for finding in healthy.report.findings}
    assert {"model", "transcriber", "synthesizer", "responder"} <= looked_at


async def test_nobody_to_say_goodbye_is_worth_a_warning(healthy):
    account = {"baseUrl": f"{healthy.vendor.url}/v1", "apiKey": "sk-wrong-wrong"}
    healthy.config["tts"] = {"provider": "openai", "providers": {"openai": account}}
    report = await healthy.doctor()
    assert report.ok
    (warning,) = [finding for finding in report.findings if finding.status == "warning"]
    assert warning.label == "synthesizer openai"
    assert "goodbye" in warning.text


async def test_the_agent_is_left_alone_where_the_model_may_not_ask_it(healthy):
    healthy.config["realtime"]["toolPolicy"] = "none"
    report = await healthy.doctor(audible=True)
    assert report.ok, failures(report)
    assert "responder" not in {finding.hop for finding in report.findings}


async def test_a_model_that_answers_with_a_tool_has_answered_and_nothing_is_run(
    healthy, tmp_path, monkeypatch
):
    plugin(healthy, tmp_path, monkeypatch, ("book_table", RIGHT))
    healthy.vendor.brain.add(Reply(calls=(ToolUse("book_table", {"at": "eight"}),)))
    report = await healthy.doctor(audible=True)
    assert report.ok, failures(report)
    assert any("it calls a tool" in finding.text for finding in report.findings)


async def test_a_wrong_key_of_the_model_is_found(either):
    either.model_settings["apiKey"] = "sk-wrong-wrong"
    found = await either.diagnosis(audible=True)
    assert found.label == ("carrier openai-sip" if "openai-sip" in either.config else "model openai")
    assert found.text == "the key is refused"
    assert section(either) in found.fix


async def test_a_fallback_with_a_wrong_key_is_found(healthy):
    healthy.config["realtime"]["fallbacks"] = ["google"]
    healthy.config["realtime"]["providers"]["google"] = {
        "apiKey": "wrong-wrong",
        "baseUrl": healthy.vendor.url,
    }
    found = await healthy.diagnosis()
    assert found.label == "model google"


async def test_a_model_that_will_be_gone_is_a_warning(either):
    either.model_settings["model"] = "gpt-realtime"
    report = await either.doctor(audible=True)
    assert report.ok, failures(report)
    (warning,) = [finding for finding in report.findings if finding.status == "warning"]
    assert "gpt-realtime-2.1" in warning.text
    assert section(either) in warning.fix


async def test_a_model_that_is_gone_is_found_with_its_end(either):
    either.model_settings["model"] = "gpt-4o-realtime-preview"
    found = await either.diagnosis(audible=True)
    assert found.label == label(either)
    assert f"set model in {section(either)}" in found.fix
    assert any("2026-05-07" in f.text for f in either.report.findings if f.status == "warning")


async def test_a_model_that_the_vendor_does_not_know_is_found(either):
    either.model_settings["model"] = "gpt-realtime-of-tomorrow"
    found = await either.diagnosis(audible=True)
    assert found.label == label(either)
    assert "gpt-realtime-of-tomorrow" in found.cause
    assert f"set model in {section(either)}" in found.fix


async def test_a_voice_that_does_not_exist_is_found_in_the_configuration(either):
    either.model_settings["voice"] = "cedric"
    found = await either.diagnosis(audible=True)
    assert found.hop == "configuration"
    assert "voice" in found.cause
    assert "marin" in found.cause


@pytest.mark.parametrize(
    ("message", "param", "fix"),
    [
        ("Missing required parameter: 'session.type'.", "type", "{section}"),
        ("Unknown voice voice_1234.", "audio.output.voice", "set voice in {section}"),
        ("Invalid schema for function 'book': in context=().", "tools[0].parameters", "plugin"),
        ("Unknown model for transcription.", "audio.input.transcription.model", "transcriptionModel"),
        ("Unsupported parameter.", "audio.input.turn_detection.eagerness", "turnDetection"),
        ("Unsupported parameter.", "reasoning", "reasoningEffort"),
        ("Cannot update a conversation's tracing.", "tracing", "tracing"),
        ("Invalid value.", "audio.output.speed", "speed"),
        ("The instructions are too long.", "instructions", "realtime.instructions"),
    ],
)  # fmt: skip
async def test_a_session_that_is_refused_is_found_with_the_setting_to_change(healthy, message, param, fix):
    refused = {"message": message, "code": "invalid_value", "param": f"session.{param}"}
    healthy.vendor.fail_next("refuse-update", times=0, **refused)
    found = await healthy.diagnosis(audible=True)
    assert found.label == "model openai"
    assert message in found.cause
    assert fix.format(section="realtime.providers.openai") in found.fix


async def test_a_session_that_is_never_confirmed_is_found(either, hasty):
    either.vendor.fail_next("no-session-updated", times=0)
    found = await either.diagnosis(audible=True)
    assert found.label == label(either)
    assert "not ready" in found.text


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("static", "noise"),
        ("silence", "cannot be heard"),
        ("response-failed", "says nothing"),
        ("stall", "breaks off"),
        ("mid-sentence-close", ""),
        ("no-response", "does not answer"),
        ("quiet", "hears nothing"),
        ("transcription-failed", "not written down"),
        ("http-429", "too many requests"),
        ("http-500", "it fails"),
    ],
)
async def test_a_model_that_fails_on_the_way_is_found(healthy, hasty, fault, words):
    healthy.vendor.fail_next(fault, times=0)
    found = await healthy.diagnosis(audible=True)
    assert found.label == "model openai"
    assert words in found.text


async def test_a_model_that_does_not_understand_is_found(healthy, hasty):
    async def mishears(audio):
        return "something else altogether was said"

    healthy.vendor.recognizer = mishears
    found = await healthy.diagnosis(audible=True)
    assert found.label == "model openai"
    assert "something else altogether" in found.cause
    assert PHRASE in found.cause


async def test_a_model_that_says_what_it_likes_is_found(healthy, hasty, monkeypatch):
    monkeypatch.setattr(
        healthy.vendor.brain, "reply", lambda cue, own="": Reply("I am not allowed to do that.")
    )
    found = await healthy.diagnosis(audible=True)
    assert found.label == "model openai"
    assert "not allowed" in found.cause


async def test_a_tool_of_a_plugin_that_no_vendor_takes_is_found(either, tmp_path, monkeypatch):
    plugin(either, tmp_path, monkeypatch, ("book_table", {"type": "array"}))
    found = await either.diagnosis(audible=True)
    assert found.label == "tools book_table"
    assert "plugin" in found.fix


async def test_tools_that_a_model_cannot_tell_apart_are_found(healthy, tmp_path, monkeypatch):
    plugin(healthy, tmp_path, monkeypatch, ("book table", RIGHT), ("book_table", RIGHT))
    found = failures(await healthy.doctor())
    assert [finding.label for finding in found] == ["tools book table", "tools book_table"]
    assert "'book_table'" in found[0].cause


async def test_a_tool_with_a_bad_name_is_known_to_models_by_another(either, tmp_path, monkeypatch):
    plugin(either, tmp_path, monkeypatch, ("book a table!", RIGHT))
    report = await either.doctor(audible=True)
    assert report.ok, failures(report)
    (warning,) = [finding for finding in report.findings if finding.status == "warning"]
    assert warning.label == "tools book a table!"
    assert "book_a_table_" in warning.text
    assert "plugin" in warning.fix


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
    found = await over_sip.diagnosis(audible=True, public=True)
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


@pytest.fixture
async def with_gemini(healthy):
    async with GeminiLiveEmulator(transcripts=[PHRASE], pace=0) as gemini:
        account = {"apiKey": gemini.key, "baseUrl": gemini.url, "voice": "Kore"}
        healthy.config["realtime"] |= {"provider": "google", "providers": {"google": account}}
        yield healthy, gemini


@pytest.fixture
async def with_gpt_live(healthy):
    async with GptLiveEmulator(transcripts=[PHRASE], pace=0.1) as live:
        account = {"apiKey": live.key, "baseUrl": f"{live.url}/v1", "model": "gpt-live-1"}
        healthy.config["realtime"]["providers"] = {"openai": account}
        yield healthy, live


async def test_gemini_is_heard_and_hears(with_gemini):
    ward, gemini = with_gemini
    report = await ward.doctor(audible=True)
    assert report.ok, failures(report)
    assert [f.text.partition(":")[0] for f in report.findings if f.hop == "model"][2:] == ["speaks", "hears"]
    assert gemini.refusals == []


async def test_gpt_live_is_heard_and_hears(with_gpt_live):
    ward, live = with_gpt_live
    report = await ward.doctor(audible=True)
    assert report.ok, failures(report)
    assert [f.text.partition(":")[0] for f in report.findings if f.hop == "model"][2:] == ["speaks", "hears"]
    assert live.refusals == []


@pytest.mark.parametrize("fault", ["no-setup-complete", "quota", "quiet", "no-response", "static", "stall"])
async def test_a_gemini_that_fails_on_the_way_is_found(with_gemini, hasty, fault):
    ward, gemini = with_gemini
    gemini.fail_next(fault, times=0)
    found = await ward.diagnosis(audible=True)
    assert found.label == "model google"


@pytest.mark.parametrize(
    "fault", ["refuse-session", "no-session-started", "other-voice", "quiet", "static", "stall"]
)
async def test_a_gpt_live_that_fails_on_the_way_is_found(with_gpt_live, hasty, fault):
    ward, live = with_gpt_live
    live.fail_next(fault, times=0)
    found = await ward.diagnosis(audible=True)
    assert found.label == "model openai"
