"""The fixtures of the testing kit, as a plugin author meets them."""

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from openclaw_voicecall.testing.service import RunningService, ServiceCrashed

pytestmark = pytest.mark.server


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_free_port_can_be_listened_on(free_port: int) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port))
        server.listen()


def test_the_state_dir_is_private_and_short_enough_for_a_socket(state_dir: Path) -> None:
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert len(os.fsencode(state_dir / "control.sock")) < 100


class TestWithSettings:
    @pytest.fixture
    def voicecall_config(self) -> dict[str, Any]:
        return {"fromNumber": "+15550009999"}

    def test_the_service_runs_with_the_settings_of_the_test(self, voicecall: RunningService) -> None:
        status = voicecall.cli("status").json
        assert status["service"]["url"] == voicecall.url
        assert status["service"]["pid"] == voicecall.pid
        assert is_listening(voicecall.port)
        shown = voicecall.cli("config", "show").stdout
        assert "+15550009999" in shown


def test_a_killed_service_leaves_its_port_and_comes_back_on_the_same_state(voicecall: RunningService) -> None:
    first = voicecall.pid
    voicecall.kill()
    assert not is_listening(voicecall.port)
    voicecall.restart()
    assert voicecall.pid != first
    assert voicecall.cli("status").json["service"]["pid"] == voicecall.pid


def test_a_stopped_service_is_gone(voicecall: RunningService) -> None:
    pid = voicecall.pid
    voicecall.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    failed = voicecall.cli("status", check=False)
    assert failed.exit_code == 69
    assert failed.json["error"]["code"] == "service-not-running"


def test_a_failing_command_fails_the_test_with_its_words(voicecall: RunningService) -> None:
    with pytest.raises(AssertionError, match="call-not-found"):
        voicecall.cli("show", "no-such-call")


def test_a_service_that_cannot_start_fails_with_what_it_said(state_dir: Path, free_port: int) -> None:
    service = RunningService(state_dir, port=free_port, config={"noSuchSetting": 1})
    with pytest.raises(ServiceCrashed, match="noSuchSetting"):
        service.__enter__()
    assert not list(state_dir.parent.glob(f"{state_dir.name}.json"))


def test_a_service_that_dies_during_a_test_fails_the_test(state_dir: Path, free_port: int) -> None:
    def outlive() -> None:
        with RunningService(state_dir, port=free_port) as service:
            os.kill(service.pid, 9)
            os.waitid(os.P_PID, service.pid, os.WEXITED | os.WNOWAIT)

    with pytest.raises(ServiceCrashed, match="exit code -9"):
        outlive()


def test_nothing_of_a_service_is_left_after_its_test(state_dir: Path, free_port: int) -> None:
    with RunningService(state_dir, port=free_port) as service:
        pid = service.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not is_listening(free_port)
    assert not (state_dir / "control.sock").exists()
