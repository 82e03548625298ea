"""`setup` writes a file that only its owner can read, keeps what was there, and never copies a key into it."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from openclaw_voicecall.cli import build_cli

pytestmark = pytest.mark.server

TWILIO = ("--provider", "twilio", "--from", "+15550001111", "--public-url", "https://voice.example.com")


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Nothing of this machine's owner is read, and the log of this process stays as it is."""
    monkeypatch.setattr("openclaw_voicecall.cli.service.log_to_stderr", lambda level: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("OPENCLAW_VOICECALL_CONFIG", "OPENCLAW_VOICECALL_STATE_DIR", "OPENCLAW_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)


def setup(*arguments, code=0):
    done = CliRunner().invoke(build_cli(), ["setup", *arguments])
    assert done.exit_code == code, done.output
    return done


def read(path):
    return json.loads(Path(path).read_text())


def test_a_new_file_is_written_where_every_command_finds_it(tmp_path):
    setup(*TWILIO, "--streaming-provider", "openai", "--no-doctor")
    file = tmp_path / "config" / "openclaw-voicecall" / "voicecall.json"
    assert read(file) == {
        "provider": "twilio",
        "fromNumber": "+15550001111",
        "publicUrl": "https://voice.example.com/voice/webhook",
        "streaming": {"provider": "openai"},
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shown = CliRunner().invoke(build_cli(), ["config", "show", "--json"])
    assert json.loads(shown.output)["provider"] == "twilio"


def test_what_is_in_the_file_stays_and_is_kept_beside_it(tmp_path):
    file = tmp_path / "voicecall.json"
    before = '{"from_number": "+15550002222", "inboundGreeting": "Hi.", "tts": {"provider": "local"}} // mine'
    file.write_text(before)
    setup("--response-model", "openai/gpt-5-mini", "--no-doctor")
    assert read(file) == {
        "fromNumber": "+15550002222",
        "inboundGreeting": "Hi.",
        "tts": {"provider": "local"},
        "responseModel": "openai/gpt-5-mini",
    }
    kept = tmp_path / "voicecall.json.bak"
    assert kept.read_text() == before
    assert stat.S_IMODE(kept.stat().st_mode) == stat.S_IMODE(file.stat().st_mode) == 0o600
    setup("--response-model", "openai/gpt-5", "--no-doctor")
    assert kept.read_text() == before
    assert "gpt-5-mini" in (tmp_path / "voicecall.json.bak2").read_text()


def test_nothing_is_written_when_nothing_changes(tmp_path):
    file = tmp_path / "voicecall.json"
    file.write_text('{"provider": "local"}  // as I like it')
    said = json.loads(setup("--provider", "local", "--no-doctor", "--json").output)
    assert said == {"file": str(file), "written": False, "backup": None, "doctor": None}
    assert "as I like it" in file.read_text()


def test_keys_of_the_environment_are_used_and_not_written(tmp_path, monkeypatch):
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", "AC" + "1" * 32)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "token-from-the-environment")
    file = tmp_path / "my.json"
    setup(*TWILIO, "--config", str(file), "--no-doctor")
    assert "token-from-the-environment" not in file.read_text()
    assert "AC1111" not in file.read_text()


def test_references_to_secrets_stay_references(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "resolved-secret")
    file = tmp_path / "voicecall.json"
    file.write_text('{"twilio": {"authToken": "${MY_TOKEN}"}}')
    setup("--provider", "twilio", "--no-doctor")
    assert read(file)["twilio"]["authToken"] == "${MY_TOKEN}"


def test_a_wrong_setting_changes_nothing(tmp_path):
    file = tmp_path / "voicecall.json"
    file.write_text("{}")
    done = setup("--public-url", "voice.example.com", "--no-doctor", code=78)
    assert "publicUrl" in done.output
    assert file.read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["voicecall.json"]


def test_openclaws_own_file_is_left_alone(tmp_path):
    file = tmp_path / "openclaw.json"
    file.write_text('{"plugins": {"entries": {"voice-call": {"config": {"provider": "local"}}}}}')
    done = setup("--config", str(file), "--provider", "twilio", "--no-doctor", code=78)
    assert "OpenClaw's own file" in done.output


def test_without_a_terminal_it_asks_nothing_and_doctor_follows(tmp_path):
    done = setup("--no-audible")
    assert "✓ configuration:" in done.output
    assert "nothing failed" in done.output
    assert read(tmp_path / "config" / "openclaw-voicecall" / "voicecall.json") == {"provider": "local"}


def test_on_a_terminal_it_asks_and_takes_missing_keys_without_showing_them(tmp_path, monkeypatch):
    answers = iter(
        [
            "twilio",
            "+15550001111",
            "https://voice.example.com",
            "open",
            "pipeline",
            "openai",
            "elevenlabs",
            "",
            "AC" + "2" * 32,
            "a-typed-token",
            "sk-typed",
            "",
        ]
    )
    hidden = []

    def prompt(text, *, hide_input=False, **options):
        if hide_input:
            hidden.append(text.partition(" ")[0])
        return next(answers) or options["default"]

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr("openclaw_voicecall.cli.setup.on_terminal", lambda: True)
    setup("--no-doctor")
    assert read(tmp_path / "config" / "openclaw-voicecall" / "voicecall.json") == {
        "provider": "twilio",
        "fromNumber": "+15550001111",
        "publicUrl": "https://voice.example.com/voice/webhook",
        "inboundPolicy": "open",
        "streaming": {"provider": "openai", "providers": {"openai": {"apiKey": "sk-typed"}}},
        "tts": {"provider": "elevenlabs"},
        "twilio": {"accountSid": "AC" + "2" * 32, "authToken": "a-typed-token"},
    }
    assert hidden == [
        "twilio.authToken",
        "streaming.providers.openai.apiKey",
        "tts.providers.elevenlabs.apiKey",
    ]


def test_a_model_that_leads_the_calls_is_one_of_the_answers(tmp_path, monkeypatch):
    answers = iter(
        ["twilio", "", "", "", "openai", "xai/grok-4.3", "AC" + "2" * 32, "a-token", "sk-typed", ""]
    )
    asked = []

    def prompt(text, **options):
        asked.append(text.partition(" ")[0])
        return next(answers) or options["default"]

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr("openclaw_voicecall.cli.setup.on_terminal", lambda: True)
    setup("--no-doctor")
    assert read(tmp_path / "config" / "openclaw-voicecall" / "voicecall.json") == {
        "provider": "twilio",
        "responseModel": "xai/grok-4.3",
        "realtime": {"enabled": True, "provider": "openai", "providers": {"openai": {"apiKey": "sk-typed"}}},
        "twilio": {"accountSid": "AC" + "2" * 32, "authToken": "a-token"},
    }
    assert "Transcriber" not in asked
    assert "Synthesizer" not in asked


def test_openais_endpoint_is_asked_for_what_it_and_its_trunk_need(tmp_path, monkeypatch):
    asked = []

    def prompt(text, **options):
        asked.append(text)
        return options["default"]

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr("openclaw_voicecall.cli.setup.on_terminal", lambda: True)
    setup("--provider", "openai-sip", "--no-doctor")
    assert [text.partition(" ")[0] for text in asked[-5:]] == [
        "openai-sip.apiKey",
        "openai-sip.projectId",
        "openai-sip.webhookSecret",
        "twilio.accountSid",
        "twilio.authToken",
    ]
    assert not any(text.startswith("Who talks") for text in asked)


def test_a_model_takes_the_place_of_the_pipeline_and_the_other_way_round(tmp_path):
    file = tmp_path / "voicecall.json"
    file.write_text('{"streaming": {"enabled": true, "provider": "openai"}}')
    setup("--realtime-provider", "google", "--no-doctor")
    assert read(file) == {
        "streaming": {"provider": "openai"},
        "realtime": {"enabled": True, "provider": "google"},
    }
    setup("--realtime-provider", "pipeline", "--no-doctor")
    assert read(file) == {"streaming": {"provider": "openai"}, "realtime": {"provider": "google"}}
