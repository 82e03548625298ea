"""The directory in which a service keeps what it owns, and the lock that makes it the only one there."""

import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import platformdirs

from openclaw_voicecall.errors import ServiceRunning, StoreError

STATE_DIR_VARIABLE = "OPENCLAW_VOICECALL_STATE_DIR"
"""Environment variable that names the state directory."""

_SOCKET_PATH_LIMIT = 100
"""Bytes. `sun_path` takes 104 on macOS and 108 on Linux, with a zero at the end."""
_LOCK_ATTEMPTS = 5
_LOCK_PAUSE = 0.02
"""Seconds. A command that looks whether a service runs holds the lock for some microseconds."""


class ServiceLock:
    """Ownership of a state directory: until `release`, or until the process ends in whatever way."""

    def __init__(self, descriptor: int, service_file: Path) -> None:
        self._descriptor: int | None = descriptor
        self._service_file = service_file

    def release(self) -> None:
        """Give the directory free, and take back what `write_service` said. Releasing again does nothing."""
        if self._descriptor is not None:
            self._service_file.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True, slots=True)
class StateDir:
    """Paths in a state directory. Make it with `open`."""

    path: Path

    @classmethod
    def open(
        cls, path: Path | None = None, env: Mapping[str, str] | None = None, *, create: bool = True
    ) -> "StateDir":
        """Find the state directory and make sure that it is ours alone.

        Args:
            path: The directory. Without it `$OPENCLAW_VOICECALL_STATE_DIR`, else the user's state directory.
            env: Environment to read; `os.environ` if not given.
            create: Make the directory, with mode 0700, where it is missing. Commands that only look do not.

        Raises:
            StoreError: It cannot be made or written, is no directory, or others own it or may write to it.
        """
        chosen = path or Path((os.environ if env is None else env).get(STATE_DIR_VARIABLE) or _default_path())
        found = cls(chosen.expanduser().absolute())
        try:
            if create:
                found.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.path.lexists(found.path):
                found._check()
            if create:
                found.recordings.mkdir(mode=0o700, exist_ok=True)
        except FileExistsError as error:
            raise StoreError(f"{error.filename} is not a directory. {_ELSEWHERE}") from error
        except OSError as error:
            raise StoreError(
                f"The state directory {found.path} cannot be used: {error.strerror}. {_ELSEWHERE}"
            ) from error
        return found

    @property
    def database(self) -> Path:
        """The database of calls."""
        return self.path / "calls.db"

    @property
    def service_file(self) -> Path:
        """What the running service says of itself."""
        return self.path / "service.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the running service; it holds its process id. Stays when the service is gone."""
        return self.path / "service.lock"

    @property
    def recordings(self) -> Path:
        """Directory of the WAV files."""
        return self.path / "recordings"

    def control_socket(self, name: str = "control.sock") -> Path:
        """Path for the Unix socket of the control API; those of a service's further processes have other names.

        It lies in the state directory, or, where that path is too long for a socket, in a directory of its
        own under the system's directory for temporary files, which is made here.

        Raises:
            StoreError: That other directory is not ours alone, or its path is too long as well.
        """
        inside = self.path / name
        if len(os.fsencode(inside)) <= _SOCKET_PATH_LIMIT:
            return inside
        key = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]
        directory = Path(tempfile.gettempdir()) / f"openclaw-voicecall-{key}"
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            facts = directory.lstat()
        except OSError as error:
            raise StoreError(
                f"{directory} cannot be made: {error.strerror}. Set TMPDIR to a directory of yours."
            ) from error
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
            raise StoreError(
                f"{directory} is not a private directory of yours: somebody else may have made it. "
                "Remove it, or choose a state directory with a shorter path."
            )
        outside = directory / name
        if len(os.fsencode(outside)) > _SOCKET_PATH_LIMIT:
            raise StoreError(f"{outside} is too long for a socket. Set TMPDIR to a shorter path.")
        return outside

    def acquire(self) -> ServiceLock:
        """Become the one service of this directory.

        Raises:
            ServiceRunning: Another process is; the message names it.
            StoreError: The lock file cannot be written.
        """
        try:
            descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreError(f"{self.lock_file} cannot be opened: {error.strerror}.") from error
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if attempt + 1 < _LOCK_ATTEMPTS:
                    time.sleep(_LOCK_PAUSE)
            else:
                return self._claim(descriptor)
        os.close(descriptor)
        raise ServiceRunning(self._owner())

    def write_service(self, info: Mapping[str, Any]) -> None:
        """Tell other processes of this user about the service. Only the holder of the lock does this.

        Args:
            info: JSON values; `pid` and `url` are shown to those who try to start a second service.

        Raises:
            StoreError: The file cannot be written.
        """
        draft = self.service_file.with_suffix(f".{os.getpid()}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with open(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(dict(info), file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.service_file)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StoreError(f"{self.service_file} cannot be written: {error.strerror}.") from error

    def read_service(self) -> dict[str, Any] | None:
        """What the running service said of itself, or None where none runs or it is only starting."""
        if not self._is_locked():
            return None
        try:
            info = json.loads(self.service_file.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return info if isinstance(info, dict) else None

    def _claim(self, descriptor: int) -> ServiceLock:
        """Say who holds the lock, and remove what a killed service said."""
        try:
            self.service_file.unlink(missing_ok=True)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"{self.lock_file} cannot be written: {error.strerror}.") from error
        return ServiceLock(descriptor, self.service_file)

    def _is_locked(self) -> bool:
        try:
            descriptor = os.open(self.lock_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def _owner(self) -> str:
        info = self.read_service() or {}
        try:
            process = info.get("pid") or int(self.lock_file.read_text("ascii"))
        except (OSError, ValueError):
            process = "unknown"
        where = f" at {info['url']}" if info.get("url") else ""
        return (
            f"A service is already running on {self.path}: process {process}{where}. "
            f"Stop it first, or give this one its own state directory in {STATE_DIR_VARIABLE}."
        )

    def _check(self) -> None:
        facts = self.path.stat()
        if not stat.S_ISDIR(facts.st_mode):
            raise StoreError(f"{self.path} is not a directory. {_ELSEWHERE}")
        if facts.st_uid != os.geteuid():
            raise StoreError(
                f"{self.path} belongs to another user (uid {facts.st_uid}, this process is {os.geteuid()}). "
                f"Run as that user, or change the owner. {_ELSEWHERE}"
            )
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise StoreError(
                f"{self.path} cannot be written. Check its permissions (chmod 700). {_ELSEWHERE}"
            )
        if facts.st_mode & 0o077 and self._holds_nothing_else():
            self.path.chmod(0o700)
        elif facts.st_mode & 0o022:
            raise StoreError(
                f"Others may write to {self.path}, which also holds files that are not ours. Take that away "
                f"(chmod go-w), or give the calls a directory of their own. {_ELSEWHERE}"
            )

    def _holds_nothing_else(self) -> bool:
        """Whether closing the directory to others can harm nobody: it is empty, or ours from before."""
        names = set(os.listdir(self.path))
        return not names or self.lock_file.name in names or self.database.name in names


_ELSEWHERE = f"Another one can be named in {STATE_DIR_VARIABLE}."


def _default_path() -> str:
    return platformdirs.user_state_dir("openclaw-voicecall", appauthor=False)
