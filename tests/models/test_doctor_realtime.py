"""Doctor where a speech-to-speech model leads the calls: all is well, or which hop is to blame, why, and what to do."""

import json
import sys

import pytest
from doctor_model_rig import VOICE, model_ward
from doctor_rig import PHRASE, failures
from test_doctor import command
from vendor_line import OURS

from openclaw_voicecall.checks import model
from openclaw_voicecall.testing.emulators.gemini_live import GeminiLiveEmulator
from openclaw_voicecall.testing.emulators.gpt_live import GptLiveEmulator
from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse

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


async def test_the_command_prints_times_and_no_secret(healthy):
    code, out, err = await command(healthy, "--no-public")
    assert code == 0, out + err
    assert "✓ model openai: its session is ready after " in out
    assert "✓ model openai: speaks: " in out
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
    report = await healthy.doctor()
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
    report = await either.doctor()
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


async def test_a_model_that_says_everything_twice_has_not_answered_by_that(healthy, hasty):
    healthy.vendor.fail_next("double-response")
    healthy.vendor.fail_next("no-response", times=0)
    found = await healthy.diagnosis(audible=True)
    assert found.text == "it hears, and does not answer"


async def test_a_key_that_only_the_session_refuses_is_found_as_a_key(healthy):
    healthy.vendor.fail_next("http-401", times=0)
    found = await healthy.diagnosis(audible=True)
    assert found.text == "the key is refused"
    assert "right key" in found.fix


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
    report = await either.doctor()
    assert report.ok, failures(report)
    (warning,) = [finding for finding in report.findings if finding.status == "warning"]
    assert warning.label == "tools book a table!"
    assert "book_a_table_" in warning.text
    assert "plugin" in warning.fix


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
