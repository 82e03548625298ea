"""The state directory: whose it is, who may be the service in it, and where its socket lies."""

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from openclaw_voicecall.errors import ServiceRunning, StoreError
from openclaw_voicecall.store import statedir
from openclaw_voicecall.store.statedir import StateDir

pytestmark = pytest.mark.server

HOLDER = """
    import os, sys
    from pathlib import Path
    from openclaw_voicecall.store.statedir import StateDir
    state = StateDir.open(Path(sys.argv[1]), {})
    lock = state.acquire()
    if sys.argv[2] == "named":
        state.write_service({"pid": os.getpid(), "url": "http://127.0.0.1:3334"})
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder():
    """Starts processes that hold a state directory until they are killed."""
    processes = []

    def start(path, how="named"):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(HOLDER), str(path), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_directory_and_all_in_it_are_for_its_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        state = StateDir.open(tmp_path / "deep" / "state", {})
        with state.acquire():
            state.write_service({"pid": 1})
            assert mode(state.path) == 0o700
            assert mode(state.recordings) == 0o700
            assert mode(state.lock_file) == 0o600
            assert mode(state.service_file) == 0o600
    finally:
        os.umask(before)


def test_an_explicit_path_goes_before_the_environment_and_that_before_the_users_own(tmp_path, monkeypatch):
    env = {"OPENCLAW_VOICECALL_STATE_DIR": str(tmp_path / "env")}
    assert StateDir.open(tmp_path / "given", env).path == tmp_path / "given"
    assert StateDir.open(None, env).path == tmp_path / "env"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert StateDir.open(None, {}).path.is_relative_to(tmp_path)
    assert StateDir.open(Path("~/calls"), {}).path == tmp_path / "home" / "calls"


def test_only_looking_creates_nothing(tmp_path):
    state = StateDir.open(tmp_path / "missing", {}, create=False)
    assert state.read_service() is None
    assert list(tmp_path.iterdir()) == []


def test_an_empty_directory_that_others_can_read_is_closed_to_them(tmp_path):
    path = tmp_path / "state"
    path.mkdir(mode=0o755)
    StateDir.open(path, {})
    assert mode(path) == 0o700
    path.chmod(0o777)
    (path / "calls.db").touch()
    StateDir.open(path, {})
    assert mode(path) == 0o700


def test_a_directory_with_other_things_keeps_its_mode_unless_others_may_write_to_it(tmp_path):
    path = tmp_path / "home"
    path.mkdir()
    (path / "letter.txt").touch()
    path.chmod(0o755)
    StateDir.open(path, {})
    assert mode(path) == 0o755
    path.chmod(0o775)
    with pytest.raises(StoreError, match="chmod go-w"):
        StateDir.open(path, {})
    assert mode(path) == 0o775


@pytest.mark.parametrize("create", [True, False])
def test_a_file_in_its_place_is_named(tmp_path, create):
    (tmp_path / "state").touch()
    with pytest.raises(StoreError, match=r"/state is not a directory.*OPENCLAW_VOICECALL_STATE_DIR"):
        StateDir.open(tmp_path / "state", {}, create=create)


def test_a_path_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"/file.*OPENCLAW_VOICECALL_STATE_DIR"):
        StateDir.open(tmp_path / "file" / "state", {})
    with pytest.raises(StoreError, match="OPENCLAW_VOICECALL_STATE_DIR"):
        StateDir.open(Path("/proc/nowhere/state"), {})


def test_a_directory_of_another_user_is_refused(tmp_path):
    path = Path("/")
    if os.geteuid() == 0:
        path = tmp_path / "theirs"
        path.mkdir()
        os.chown(path, 12345, 12345)
    with pytest.raises(StoreError, match="another user"):
        StateDir.open(path, {}, create=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_write_permission_is_refused(tmp_path):
    path = tmp_path / "state"
    path.mkdir(mode=0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        StateDir.open(path, {})


def test_a_second_service_learns_who_the_first_is(tmp_path, holder):
    first = holder(tmp_path)
    state = StateDir.open(tmp_path, {})
    assert state.read_service() == {"pid": first.pid, "url": "http://127.0.0.1:3334"}
    with pytest.raises(ServiceRunning) as caught:
        state.acquire()
    for part in (str(tmp_path), str(first.pid), "http://127.0.0.1:3334", "OPENCLAW_VOICECALL_STATE_DIR"):
        assert part in str(caught.value)


def test_a_service_that_is_only_starting_is_named_by_its_process(tmp_path, holder):
    first = holder(tmp_path, "unnamed")
    state = StateDir.open(tmp_path, {})
    assert state.read_service() is None
    with pytest.raises(ServiceRunning, match=str(first.pid)):
        state.acquire()


def test_what_a_killed_service_said_is_not_believed(tmp_path, holder):
    first = holder(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.wait()
    state = StateDir.open(tmp_path, {})
    assert state.service_file.exists()
    assert state.read_service() is None
    with state.acquire():
        assert state.read_service() is None
        assert not state.service_file.exists()
        state.write_service({"pid": os.getpid()})
        assert state.read_service() == {"pid": os.getpid()}
    assert state.read_service() is None
    assert not state.service_file.exists()


def test_a_released_lock_can_be_taken_again_and_released_twice(tmp_path):
    state = StateDir.open(tmp_path, {})
    lock = state.acquire()
    with pytest.raises(ServiceRunning):
        state.acquire()
    lock.release()
    lock.release()
    with state.acquire():
        pass


def test_a_command_that_just_looks_does_not_keep_a_service_from_starting(tmp_path, monkeypatch):
    state = StateDir.open(tmp_path, {})
    state.acquire().release()
    looking = os.open(state.lock_file, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(statedir.time, "sleep", lambda seconds: fcntl.flock(looking, fcntl.LOCK_UN))
    with state.acquire():
        assert state.lock_file.read_text() == f"{os.getpid()}\n"
    os.close(looking)


def test_a_lock_that_is_a_link_elsewhere_is_refused(tmp_path):
    state = StateDir.open(tmp_path / "state", {})
    (tmp_path / "precious").write_text("precious")
    state.lock_file.symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match=r"service\.lock"):
        state.acquire()
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_the_service_says_is_replaced_whole(tmp_path):
    state = StateDir.open(tmp_path, {})
    with state.acquire():
        state.write_service({"pid": 1, "url": "http://127.0.0.1:1"})
        with state.service_file.open() as reader:
            state.write_service({"pid": 2})
            assert json.load(reader) == {"pid": 1, "url": "http://127.0.0.1:1"}
        assert state.read_service() == {"pid": 2}
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "recordings",
            "service.json",
            "service.lock",
        ]
        state.service_file.write_text("[")
        assert state.read_service() is None


class TestControlSocket:
    @pytest.fixture
    def temporary(self, monkeypatch):
        """A short directory in the place of the system's for temporary files."""
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            monkeypatch.setattr(tempfile, "tempdir", directory)
            yield Path(directory)

    def long_state(self, temporary):
        return StateDir.open(temporary / ("s" * 60) / ("t" * 60), {})

    def test_it_lies_in_the_state_directory_where_the_path_is_short_enough(self, temporary):
        state = StateDir.open(temporary / "state", {})
        assert state.control_socket() == state.path / "control.sock"

    def test_a_path_of_a_hundred_bytes_is_still_short_enough(self, temporary):
        fill = 100 - len(f"{temporary}//control.sock")
        fits = StateDir.open(temporary / ("é" * (fill // 2) + "x" * (fill % 2)), {})
        assert len(os.fsencode(fits.control_socket())) == 100
        assert fits.control_socket().parent == fits.path
        longer = StateDir.open(temporary / ("é" * (fill // 2) + "x" * (fill % 2 + 1)), {})
        assert longer.control_socket().parent != longer.path

    def test_a_long_path_gets_a_private_directory_that_is_found_again(self, temporary):
        state = self.long_state(temporary)
        socket = state.control_socket()
        assert socket.parent.parent == temporary
        assert mode(socket.parent) == 0o700
        assert len(os.fsencode(socket)) <= 100
        assert self.long_state(temporary).control_socket() == socket
        other = StateDir.open(temporary / ("s" * 60) / ("u" * 60), {})
        assert other.control_socket() != socket

    def test_a_directory_that_others_can_enter_is_refused(self, temporary):
        state = self.long_state(temporary)
        state.control_socket().parent.chmod(0o755)
        with pytest.raises(StoreError, match="not a private directory"):
            state.control_socket()

    def test_a_link_in_its_place_is_refused(self, temporary):
        state = self.long_state(temporary)
        directory = state.control_socket().parent
        directory.rmdir()
        (temporary / "theirs").mkdir(mode=0o700)
        directory.symlink_to(temporary / "theirs")
        with pytest.raises(StoreError, match="not a private directory"):
            state.control_socket()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
    def test_a_directory_of_another_user_is_refused(self, temporary):
        state = self.long_state(temporary)
        os.chown(state.control_socket().parent, 12345, 12345)
        with pytest.raises(StoreError, match="not a private directory"):
            state.control_socket()

    def test_a_temporary_directory_that_is_too_long_itself_is_reported(self, temporary, monkeypatch):
        state = self.long_state(temporary)
        monkeypatch.setattr(tempfile, "tempdir", str(state.path))
        with pytest.raises(StoreError, match="TMPDIR"):
            state.control_socket()
