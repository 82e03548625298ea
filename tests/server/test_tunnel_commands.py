"""The commands `expose` and `tunnel`, and the service that opens a tunnel by itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_rig import ControlService, invoke, serving
from tunnel_rig import NAME, FakeNgrok, FakeTailscale, is_alive, programs

from openclaw_voicecall.testing.service import RunningService

pytestmark = pytest.mark.server

URL = "https://abc123.ngrok-free.app"


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("OPENCLAW_VOICECALL_STATE_DIR", str(tmp_path / "s"))


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FakeNgrok, FakeTailscale]:
    return programs(tmp_path, monkeypatch)


@pytest.fixture
def ngrok(fakes) -> FakeNgrok:
    return fakes[0]


@pytest.fixture
def daemon(fakes) -> FakeTailscale:
    return fakes[1]


def test_expose_opens_a_funnel_that_stays_until_it_is_told_off(daemon):
    opened = invoke("expose", "--json")
    assert opened.exit_code == 0, opened.output
    assert json.loads(opened.stdout) == {
        "ok": True,
        "mode": "funnel",
        "path": "/voice/webhook",
        "streamPaths": ["/voice/stream"],
        "localUrl": "http://127.0.0.1:3334/voice/webhook",
        "publicUrl": f"https://{NAME}/voice/webhook",
    }
    assert sorted(daemon.paths()) == ["/voice/stream", "/voice/webhook"]
    assert daemon.funnel()
    closed = invoke("expose", "--mode", "off")
    assert closed.stdout.splitlines() == ["/voice/webhook is closed", "/voice/stream is closed"]
    assert daemon.paths() == {}
    assert invoke("expose", "--mode", "off").stdout == "nothing on Tailscale leads to http://127.0.0.1:3334\n"


def test_expose_takes_openclaws_options_for_port_and_paths(daemon):
    done = invoke("expose", "--mode", "serve", "--path", "hooks", "--port", "4000", "--serve-path", "/in")
    assert done.exit_code == 0, done.output
    assert daemon.paths() == {
        "/hooks": "http://127.0.0.1:4000/in",
        "/voice/stream": "http://127.0.0.1:4000/voice/stream",
    }
    assert f'publicUrl: "https://{NAME}/hooks"' in done.stdout
    assert "only your tailnet reaches it" in done.stdout
    assert not daemon.funnel()


@pytest.mark.parametrize(
    ("settings", "arguments", "words"),
    [
        ({}, ("expose", "--path", "a b"), "expected the path of a URL"),
        ({"tunnel": {"port": 9000}}, ("expose",), "a funnel opens port 443, 8443 or 10000"),
        ({"serve": {"port": 0}}, ("expose",), "start the service first, or set a port"),
        ({}, ("tunnel",), "--provider is missing, and tunnel.provider is none"),
    ],
)
def test_wrong_use_is_said_before_anything_is_opened(fakes, settings, arguments, words):
    Path("voicecall.json").write_text(json.dumps(settings))
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
    assert fakes[0].runs == []
    assert fakes[1].facts.get("calls") is None


def test_what_tailscale_refuses_is_an_error_with_a_fix(daemon):
    daemon.set(state="Stopped")
    done = invoke("expose", "--json")
    assert done.exit_code == 69
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "vendor-unavailable"
    assert "tailscale up" in error["message"]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "openclaw_voicecall", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_tunnel_holds_a_tunnel_until_ctrl_c(ngrok):
    with start("tunnel", "--provider", "ngrok") as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (0, "")
    assert said == [
        f"{URL}/voice/webhook leads to http://127.0.0.1:3334/voice/webhook",
        f'setting for the service: publicUrl: "{URL}/voice/webhook"',
        "Ctrl-C closes it.",
    ]
    assert not is_alive(ngrok.runs[0]["pid"])


def test_tunnel_leads_to_the_service_that_runs(ngrok, state_dir):
    arguments = ("tunnel", "--provider", "ngrok", "--json", "--state-dir", str(state_dir))
    with serving(ControlService(), state_dir), start(*arguments) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert ngrok.runs[0]["address"] == "127.0.0.1:1"
    assert facts == {
        "provider": "ngrok",
        "publicUrl": f"{URL}/voice/webhook",
        "localUrl": "http://127.0.0.1:1/voice/webhook",
    }


def test_a_service_opens_its_tunnel_says_so_once_and_takes_it_with_it(ngrok, state_dir):
    config = {"tunnel": {"provider": "ngrok", "ngrokAuthToken": "2abcDEF_secret"}}
    with RunningService(state_dir / "s", port=0, config=config, env=dict(os.environ)) as service:
        (run,) = ngrok.runs
        assert run["address"] == service.url.removeprefix("http://")
        assert run["token"] == "2abcDEF_secret"
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert service.stderr.count(f"carriers reach the webhooks at {URL}/voice/webhook") == 1
    assert "has no effect" not in service.stderr
    assert "2abcDEF" not in service.stderr
    assert not is_alive(run["pid"])


def test_a_service_whose_tunnel_is_refused_does_not_start(ngrok, tmp_path):
    ngrok.plan(refusal="ERR_NGROK_4018")
    Path("voicecall.json").write_text(json.dumps({"tunnel": {"provider": "ngrok"}, "serve": {"port": 0}}))
    done = invoke("serve")
    assert done.exit_code == 69
    assert "no authtoken is configured: set tunnel.ngrokAuthToken or NGROK_AUTHTOKEN" in done.stderr
