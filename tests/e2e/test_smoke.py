"""The command `smoke`: what it would do, and what one short call on the local line proves."""

import json

import pytest
from line_calls import command

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.timeout(150)]

TO = ("--to", "+15550001234")
HOPS = ["carrier", "line", "media", "voice", "hearing", "goodbye"]


def test_without_yes_it_says_what_it_would_do_and_cost_and_calls_nobody(tmp_path):
    (tmp_path / "voicecall.json").write_text(
        json.dumps({"provider": "twilio", "twilio": {"accountSid": "AC" + "0" * 32, "authToken": "t" * 32}})
    )
    done = command("smoke", *TO, "--state-dir", tmp_path / "s", folder=tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "would call +15550001234 over twilio, at most 60 s" in done.stdout
    assert "twilio: one call of one minute" in done.stdout
    assert "No call was placed." in done.stdout
    assert not (tmp_path / "s").exists()
    plan = command("smoke", *TO, "--json", folder=tmp_path).json
    assert (plan["placed"], plan["maxSeconds"]) == (False, 60)


def test_the_model_that_leads_the_calls_is_named_with_what_it_costs(tmp_path):
    account = {"accountSid": "AC" + "0" * 32, "authToken": "t" * 32}
    realtime = {"enabled": True, "providers": {"openai": {"apiKey": "sk-test", "voice": "cedar"}}}
    (tmp_path / "voicecall.json").write_text(
        json.dumps({"provider": "twilio", "twilio": account, "realtime": realtime})
    )
    done = command("smoke", *TO, folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert "OpenAI gpt-realtime-2.1, voice cedar" in done.stdout
    assert "openai: less than a minute of talk with a speech-to-speech model" in done.stdout
    assert "listening" not in done.stdout
    sip = {"apiKey": "sk-test", "webhookSecret": "whsec_c2VjcmV0"}
    (tmp_path / "voicecall.json").write_text(
        json.dumps({"provider": "openai-sip", "openai-sip": sip, "twilio": account})
    )
    plan = command("smoke", *TO, "--json", folder=tmp_path).json
    assert plan["model"] == "gpt-realtime-2.1, voice marin"
    assert plan["costs"] == [
        "twilio: one call of one minute to that number",
        "openai-sip: less than a minute of talk with a speech-to-speech model",
    ]


def test_a_call_on_the_local_line_proves_every_hop(tmp_path):
    done = command("smoke", *TO, "--yes", "--json", "--state-dir", tmp_path / "s", folder=tmp_path)
    assert done.exit_code == 0, done.stdout + done.stderr
    result = done.json
    assert [(hop["hop"], hop["ok"]) for hop in result["hops"]] == [(name, True) for name in HOPS]
    assert "sam" in result["heard"].lower()
    said = [line["text"] for line in result["call"]["transcript"] if line["speaker"] == "agent"]
    assert len(said) == 2, "a sentence and a goodbye, and nothing of the responder"
    assert "OpenClaw" in said[0]
    assert said[-1].endswith("Goodbye.")
    assert result["call"]["endReason"] == "agent-hung-up"


def test_a_line_that_is_busy_fails_at_its_hop(tmp_path):
    done = command("smoke", *TO, "--yes", "--script", "busy", "--state-dir", tmp_path / "s", folder=tmp_path)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert "failed  line     busy: the line is busy" in lines
    assert "failed  hearing  not reached" in lines
    assert lines[-1] == "the test call failed"
