"""A start imports what it needs to take calls and no more, and an SDK that is missing is named at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

NOBODY = "http://127.0.0.1:9"
"""An address of this machine where no vendor is."""
UNUSED = ("openai", "httpx2", "elevenlabs", "soxr", "onnxruntime", "moonshine_voice")
"""What takes long to import, and this configuration has no use for."""

START = """
import asyncio, json, pathlib, sys
from openclaw_voicecall.server.runtime import ServiceOptions, run_service

unused, config, state = json.loads(sys.argv[1])
options = ServiceOptions(config_source=config, state_dir=pathlib.Path(state), ephemeral=True)

async def main():
    async with run_service(options):
        print(json.dumps([name for name in unused if name in sys.modules]))

asyncio.run(main())
"""

WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from openclaw_voicecall.cli import main
main()
"""


@pytest.fixture
def config(tmp_path: Path, free_port: int) -> Path:
    """Twilio, a voice of ElevenLabs, OpenAI's transcription and a chat model."""
    file = tmp_path / "config.json"
    settings = {
        "provider": "twilio",
        "fromNumber": "+15550000000",
        "publicUrl": f"http://127.0.0.1:{free_port}/voice/webhook",
        "serve": {"bind": "127.0.0.1", "port": free_port},
        "twilio": {"accountSid": "AC" + "0" * 32, "authToken": "a-secret", "apiBaseUrl": NOBODY},
        "streaming": {
            "enabled": True,
            "provider": "openai",
            "providers": {"openai": {"apiKey": "sk-x", "baseUrl": NOBODY}},
        },
        "tts": {
            "provider": "elevenlabs",
            "providers": {
                "elevenlabs": {"apiKey": "x", "speakerVoiceId": "54noaetjxv80HAvkIbfQ", "baseUrl": NOBODY}
            },
        },
        "responseModel": "openai/gpt-6-luna",
        "responders": {"openai": {"baseUrl": f"{NOBODY}/v1", "apiKey": "sk-x"}},
    }
    file.write_text(json.dumps(settings), encoding="utf-8")
    file.chmod(0o600)
    return file


def test_a_start_imports_nothing_that_it_does_not_use(config: Path, tmp_path: Path) -> None:
    given = json.dumps([UNUSED, str(config), str(tmp_path / "state")])
    done = subprocess.run(
        [sys.executable, "-c", START, given], capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_a_missing_sdk_stops_the_start_and_says_how_to_install_it(config: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT,
            "twilio",
            "serve",
            "--config",
            config,
            "--state-dir",
            tmp_path / "state",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 69
    assert "pip install 'openclaw-voicecall[twilio]'" in done.stderr
    assert "ready" not in done.stdout
