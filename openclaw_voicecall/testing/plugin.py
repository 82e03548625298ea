"""Fixtures for pytest, known wherever the package is installed.

This module loads in every pytest run of every user, so it imports nothing but pytest; fixtures import what
they need when they are asked for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from openclaw_voicecall.testing.service import RunningService


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback that nobody listens on."""
    from openclaw_voicecall.testing import ports  # noqa: PLC0415 as the module says

    return ports.free_port()


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A private folder with a path short enough for a Unix socket; removed afterwards."""
    import shutil  # noqa: PLC0415 as the module says
    import tempfile  # noqa: PLC0415 as the module says

    # pytest's own tmp_path is longer than the 104 bytes that macOS allows for the path of a socket.
    folder = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def voicecall_config() -> dict[str, Any]:
    """Settings of the service that `voicecall` starts; override it to change them."""
    return {}


@pytest.fixture
def voicecall(
    state_dir: Path, free_port: int, voicecall_config: dict[str, Any]
) -> Iterator["RunningService"]:
    """A running service in a process of its own; it uses the local line unless `voicecall_config` says more.

    It is stopped afterwards, and the test fails when it crashed.
    """
    from openclaw_voicecall.testing.service import RunningService  # noqa: PLC0415 as the module says

    with RunningService(state_dir, port=free_port, config=voicecall_config) as service:
        yield service
