"""A disk that can be filled to its last byte, and emptied again, while programs use it.

```python
with SmallDisk(folder, size=4 * 2**20) as disk:
    run([*disk.inside, "program", folder])      # a program that finds the disk in the folder
    disk.fill()                                 # and gets "No space left on device" from here on
    print((disk.view / "file").read_text())     # what is on it, seen from outside
```

The disk is a file system in memory, mounted where only programs behind `inside` see it. So it needs no more rights than
a user has who may make namespaces, touches nothing of the machine, and is gone when the test is.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

_MOUNT = 'mount -t tmpfs -o "size=$1,mode=0700" tmpfs "$2" && echo mounted && exec cat'
"""Mounts, says so, and keeps the namespace until its input ends."""
_PIECE = 4096


@cache
def available() -> bool:
    """Whether this user of this machine can have such disks."""
    if not all(shutil.which(program) for program in ("unshare", "nsenter", "mount")):
        return False
    tried = [*_unshare(), "sh", "-c", 'mount -t tmpfs tmpfs "$1"', "sh", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


class SmallDisk:
    """A disk mounted on a folder.

    Args:
        folder: Where programs find it; made when needed.
        size: Bytes.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.inside: tuple[str, ...] = ()
        """What to put before a command so that it sees the disk."""
        self.view = folder
        """Where others see it. Not for SQLite, which resolves paths by itself: copy its files first."""
        self._size = size
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Mount it. Raises `OSError` where that is not allowed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [*_unshare(), "sh", "-c", _MOUNT, "sh", str(self._size), str(self.folder)]
        self._keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._keeper.stdout is not None  # noqa: S101 it is a pipe
        if self._keeper.stdout.readline() != b"mounted\n":
            self._release()
            raise OSError(f"no disk can be mounted on {self.folder}")
        pid = self._keeper.pid
        user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        self.inside = ("nsenter", "--target", str(pid), *user, "--mount", "--wd=/", "--")
        self.view = Path(f"/proc/{pid}/root{self.folder}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it go, with all that is on it."""
        self._release()

    @property
    def room(self) -> int:
        """Bytes that are free."""
        found = os.statvfs(self.view)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """Leave no room."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(_PIECE))
            except OSError:
                pass

    def empty(self) -> None:
        """Give back the room that `fill` took."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.view / "ballast"

    def _release(self) -> None:
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self._keeper.wait()
            assert self._keeper.stdout is not None  # noqa: S101 it is a pipe
            self._keeper.stdout.close()
            self._keeper = None


def _unshare() -> list[str]:
    return (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    )
