"""Doctor says that all is well when it is, and otherwise which hop is to blame, why, and what to do."""

import asyncio
import importlib.util
import json
import os
import socket
import sys
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from doctor_rig import Ward, failures, ward
from vendor_line import OURS, SID

from openclaw_voicecall.checks import audible
from openclaw_voicecall.testing.service import RunningService

pytestmark = pytest.mark.e2e


@pytest.fixture
async def healthy(state_dir, free_port):
    async with ward(state_dir, free_port) as everything:
        yield everything


@pytest.fixture
def hasty(monkeypatch):
    """Words that do not come are not waited for as long as on a call."""
    monkeypatch.setattr(audible, "FINAL_LIMIT", 1.0)
    monkeypatch.setattr(audible, "SETTLE", 0.5)


async def command(ward: Ward, *arguments: str) -> tuple[int, str, str]:
    """Run doctor as its user does."""
    file = ward.write()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "openclaw_voicecall",
            "doctor",
            "--config",
            str(file),
            "--state-dir",
            str(ward.state_dir),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "NO_COLOR": "1"},
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        file.unlink()
    return process.returncode, out.decode(), err.decode()


async def test_every_hop_of_the_reported_set_up_is_green(healthy):
    report = await healthy.doctor(audible=True, public=True)
    assert report.ok, failures(report)
    green = [(finding.hop, finding.name) for finding in report.findings if finding.status == "ok"]
    assert green == [
        ("configuration", ""),
        ("carrier", "twilio"),
        ("transcriber", "openai"),
        ("synthesizer", "elevenlabs"),
        ("responder", "xai/grok-4-1-fast-reasoning"),
        ("public address", ""),
        ("signature", ""),
        ("media stream", ""),
        ("number", OURS),
        ("synthesizer", "elevenlabs"),
        ("transcriber", "openai"),
        ("responder", "xai/grok-4-1-fast-reasoning"),
    ]
    for vendor in (healthy.twilio, healthy.openai, healthy.chat, healthy.elevenlabs):
        assert vendor.refusals == []
    assert "emulated-token" not in json.dumps(report.to_json())


async def test_the_command_prints_a_line_for_each_check_and_no_secret(healthy):
    code, out, err = await command(healthy)
    assert code == 0, out + err
    assert f"✓ number {OURS}: twilio asks {healthy.proxy.url}/voice/webhook when it is called" in out
    assert '✓ transcriber openai: hears: "Good morning, this is a test of the telephone line."' in out
    assert out.endswith("nothing failed\n")
    for secret in ("emulated-token", "sk-emulated", "xi-emulated"):
        assert secret not in out + err


async def test_a_running_service_takes_part_and_no_call_comes_of_it(healthy, state_dir, free_port):
    service = RunningService(state_dir, port=free_port, config=healthy.config)
    await asyncio.to_thread(service.__enter__)
    try:
        said = await asyncio.to_thread(lambda: service.cli("doctor", "--no-audible"))
        assert said.json["ok"], said.json
        assert any("leads to the running service" in finding["text"] for finding in said.json["findings"])
        assert (await asyncio.to_thread(lambda: service.cli("calls"))).json == []
    finally:
        await asyncio.to_thread(service.__exit__, None, None, None)


async def test_a_service_that_still_runs_with_older_keys_is_told_apart(healthy, state_dir, free_port):
    service = RunningService(state_dir, port=free_port, config=healthy.config)
    await asyncio.to_thread(service.__enter__)
    try:
        healthy.config["twilio"]["authToken"] = healthy.twilio.auth_token = "a-renewed-token"
        found = await healthy.diagnosis(public=True)
    finally:
        await asyncio.to_thread(service.__exit__, None, None, None)
    assert found.hop == "signature"
    assert "restart the service" in found.fix


async def test_a_wrong_twilio_token_is_found_at_the_carrier(healthy):
    healthy.config["twilio"]["authToken"] = "wrong-token-of-twilio"
    code, out, _ = await command(healthy, "--no-audible", "--no-public")
    assert code == 1
    assert "✗ carrier twilio: the key is refused\n    cause: Twilio refuses to fetch account" in out
    assert "    fix: put the right key into twilio" in out
    assert "wrong-token-of-twilio" not in out


async def test_a_suspended_account_is_found_at_the_carrier(healthy):
    async def account(request):
        return web.json_response({"sid": SID, "friendly_name": "Ours", "status": "suspended", "type": "Full"})

    twilio = web.Application()
    twilio.router.add_get(f"/2010-04-01/Accounts/{SID}.json", account)
    async with TestServer(twilio, host="127.0.0.1") as server:
        healthy.config["twilio"]["apiBaseUrl"] = str(server.make_url("")).rstrip("/")
        found = await healthy.diagnosis()
    assert found.label == "carrier twilio"
    assert "suspended" in found.cause


async def test_a_number_of_another_account_is_found(healthy):
    healthy.config["fromNumber"] = "+15550009999"
    found = await healthy.diagnosis()
    assert found.label == "number +15550009999"
    assert "no such number" in found.text


async def test_a_number_whose_calls_go_elsewhere_is_found_and_set_when_asked(healthy):
    set_voice_url(healthy, "https://old.example.com/hook")
    found = await healthy.diagnosis()
    assert found.label == f"number {OURS}"
    assert found.cause == "twilio asks https://old.example.com/hook"
    assert "--fix" in found.fix
    assert (await healthy.doctor(fix=True)).ok
    assert healthy.twilio.numbers[OURS].voice_url == healthy.config["publicUrl"]
    assert (await healthy.doctor()).ok


def set_voice_url(ward: Ward, url: str) -> None:
    ward.twilio.numbers[OURS] = replace(ward.twilio.numbers[OURS], voice_url=url)


async def test_who_takes_no_calls_is_only_warned_about_the_number(healthy):
    healthy.config["inboundPolicy"] = "disabled"
    set_voice_url(healthy, "https://old.example.com/hook")
    report = await healthy.doctor()
    assert report.ok
    assert [f.label for f in report.findings if f.cause.startswith("twilio asks")] == [f"number {OURS}"]


@pytest.mark.parametrize(
    ("fault", "hop", "words", "fix"),
    [
        ({"status": 404}, "public address", "another server answers there", "lead to http://127.0.0.1:"),
        ({"status": 502}, "public address", "does not reach this service", "lead to http://127.0.0.1:"),
        ({"status": 401}, "public address", "the way is closed", "without a login"),
        ({"redirects": "https://www.example.com/voice"}, "public address", "it redirects", "https://www.example.com"),
        ({"strips": "/voice"}, "public address", "the path is changed", "pass /voice/webhook as it is"),
        ({"drops_query": True}, "public address", "the query is lost", "whole"),
        ({"drops_headers": ("X-Twilio-Signature",)}, "signature", "is not believed", "headers"),
        ({"upgrades": False}, "media stream", "a WebSocket does not pass", "Upgrade $http_upgrade"),
        ({"only": "/voice/webhook"}, "media stream", "path of the media streams", "lead /voice/stream"),
    ],
)  # fmt: skip
async def test_a_proxy_that_spoils_requests_is_found(healthy, fault, hop, words, fix):
    for name, value in fault.items():
        setattr(healthy.proxy, name, value)
    found = await healthy.diagnosis(public=True)
    assert found.hop == hop
    assert words in found.text
    assert fix in found.fix


async def test_a_public_address_where_nobody_listens_is_found(healthy):
    await healthy.proxy.runner.cleanup()
    found = await healthy.diagnosis(public=True)
    assert found.hop == "public address"
    assert found.text == "nobody listens there"


async def test_a_public_address_without_tls_is_found(healthy):
    healthy.config["publicUrl"] = healthy.config["publicUrl"].replace("http:", "https:")
    report = await healthy.doctor(public=True)
    found = next(finding for finding in failures(report) if finding.hop == "public address")
    assert "TLS" in found.text


async def test_another_openclaw_voicecall_behind_the_public_address_is_told_apart(
    healthy, state_dir, free_port
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    other = RunningService(state_dir / "other", port=port)
    await asyncio.to_thread(other.__enter__)
    try:
        healthy.proxy.target = port
        found = await healthy.diagnosis(public=True)
    finally:
        await asyncio.to_thread(other.__exit__, None, None, None)
    assert found.hop == "public address"
    assert found.text == "another openclaw-voicecall answers there"


async def test_a_port_that_somebody_else_holds_is_found(healthy, free_port):
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", free_port)
    async with server:
        found = await healthy.diagnosis(public=True)
    assert found.hop == "public address"
    assert f"127.0.0.1:{free_port}" in found.cause


async def test_a_missing_public_address_is_found(healthy):
    del healthy.config["publicUrl"]
    found = await healthy.diagnosis(public=True)
    assert found.hop == "public address"
    assert "publicUrl" in found.cause


async def test_a_wrong_key_of_the_transcriber_is_found(healthy):
    healthy.config["streaming"]["openaiApiKey"] = "sk-wrong-wrong"
    found = await healthy.diagnosis(audible=True)
    assert found.label == "transcriber openai"
    assert "streaming.providers.openai" in found.fix


@pytest.mark.parametrize("fault", ["refuse-session", "quiet", "close"])
async def test_a_transcriber_that_does_not_hear_is_found(healthy, hasty, fault):
    healthy.openai.fail_next(fault, times=0)
    found = await healthy.diagnosis(audible=True)
    assert found.label == "transcriber openai"


async def test_a_transcriber_that_hears_other_words_is_found(healthy, hasty):
    async def mishears(audio):
        return "something else altogether was said"

    healthy.openai.recognizer = mishears
    found = await healthy.diagnosis(audible=True)
    assert found.label == "transcriber openai"
    assert "something else altogether" in found.cause


async def test_a_wrong_key_of_the_synthesizer_is_found(healthy):
    healthy.config["tts"]["elevenlabs"]["apiKey"] = "xi-wrong-wrong"
    found = await healthy.diagnosis()
    assert found.label == "synthesizer elevenlabs"
    assert "apiKey" in found.cause


async def test_a_voice_that_does_not_exist_is_found(healthy):
    healthy.config["tts"]["elevenlabs"]["voiceId"] = "noSuchVoice000000000"
    found = await healthy.diagnosis()
    assert found.label == "synthesizer elevenlabs"
    assert "speakerVoiceId" in found.cause


@pytest.mark.parametrize(("fault", "words"), [("quota", "quota"), ("empty", ""), ("cut", "")])
async def test_a_synthesizer_that_does_not_speak_is_found(healthy, fault, words):
    healthy.elevenlabs.fail_next(fault, times=0)
    found = await healthy.diagnosis(audible=True)
    assert found.label == "synthesizer elevenlabs"
    assert words in found.cause
    skipped = [f.label for f in healthy.report.findings if f.status == "skipped"]
    assert skipped == ["transcriber openai"]


async def test_a_synthesizer_that_sends_silence_is_found(healthy):
    healthy.elevenlabs.say = lambda text, **_: b"\xff" * 8000
    found = await healthy.diagnosis(audible=True)
    assert found.label == "synthesizer elevenlabs"
    assert found.text == "it cannot be heard"


async def test_a_model_that_the_vendor_does_not_know_is_found(healthy):
    healthy.config["responseModel"] = "xai/grok-of-tomorrow"
    found = await healthy.diagnosis(audible=True)
    assert found.label == "responder xai/grok-of-tomorrow"
    assert "grok-of-tomorrow" in found.cause


async def test_a_wrong_key_of_the_responder_is_found(healthy):
    healthy.config["responders"]["xai"]["apiKey"] = "sk-wrong-wrong"
    found = await healthy.diagnosis()
    assert found.label == "responder xai/grok-4-1-fast-reasoning"
    assert found.text == "the key is refused"


async def test_a_responder_that_takes_too_long_is_found(healthy):
    healthy.config["responseTimeoutMs"] = 500
    healthy.chat.fail_next("hang", times=0)
    found = await healthy.diagnosis(audible=True)
    assert found.label == "responder xai/grok-4-1-fast-reasoning"
    assert "responseTimeoutMs" in found.cause


async def test_an_engine_that_is_not_installed_is_found(healthy, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "piper" else find(name))
    healthy.config["tts"]["provider"] = "piper"
    found = await healthy.diagnosis()
    assert found.label == "synthesizer piper"
    assert "pip install" in found.cause


async def test_an_sdk_that_is_not_installed_is_found(healthy, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("openclaw_voicecall.providers.twilio.")]:
        if name.rpartition(".")[2] in ("account", "numbers", "rest", "carrier", "signatures"):
            monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "twilio"]:
        monkeypatch.setitem(sys.modules, name, None)
    found = await healthy.diagnosis(public=True)
    assert found.label == "carrier twilio"
    assert "openclaw-voicecall[twilio]" in found.cause


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"responseTimeoutMss": 1}, "responseTimeoutMss"),
        ({"provider": "twillio"}, "twillio"),
        ({"maxConcurrentCalls": "many"}, "maxConcurrentCalls"),
    ],
)
async def test_a_wrong_setting_is_found(healthy, change, words):
    healthy.config |= change
    found = await healthy.diagnosis(audible=True, public=True)
    assert found.hop == "configuration"
    assert words in found.cause


async def test_whatever_a_plugin_raises_is_a_finding_of_its_hop(healthy, monkeypatch):
    from openclaw_voicecall.providers.elevenlabs import account

    async def breaks(who, voice):
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr(account, "check_voice", breaks)
    found = await healthy.diagnosis()
    assert found.label == "synthesizer elevenlabs"
    assert "surprise" in found.cause
