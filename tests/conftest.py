"""House rules of the suite: every test says which tier it is of, and none talks to the outside world."""

import asyncio
import fcntl
import inspect
import os
import sys
from collections.abc import Generator, Iterator
from ipaddress import ip_address
from pathlib import Path
from unittest import mock

import hypothesis
import pytest

TIERS = frozenset({"static", "unit", "session", "contract", "server", "e2e", "faults", "inside", "soak"})
ASKED_FOR = frozenset({"inside", "models", "soak"})
"""Folders that are collected only with the option of their name."""
WITHOUT_LOOP = frozenset({"static", "unit"})

# Deadlines lie on a shared machine. CI takes the same examples each time, so that a red run can be repeated.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

# looptime asks for the current loop around every test. Without this the first one is made for it, and never closed.
asyncio.set_event_loop(None)


class OutsideWorld(RuntimeError):
    """A test was about to talk to an address that is not on loopback."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long tests too, see `make soak`")
    parser.addoption(
        "--models",
        action="store_true",
        help="run all that can fail on calls of speech models, see `make test-models`",
    )
    parser.addoption(
        "--inside", action="store_true", help="run those inside of hosts too, see `make test-hosts`"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what takes long, or installs other people's programs, unless it is asked for."""
    return True if collection_path.name in ASKED_FOR and not config.getoption(collection_path.name) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wrong: set[str] = set()
    for item in items:
        tiers = _tiers(item)
        if len(tiers) != 1:
            said = " and ".join(sorted(tiers)) or "none"
            wrong.add(
                f"{item.path}: declares {said}; set pytestmark to exactly one of {', '.join(sorted(TIERS))}"
            )
        elif tiers & WITHOUT_LOOP and inspect.iscoroutinefunction(getattr(item, "function", None)):
            wrong.add(
                f"{item.nodeid}: is async, but tests of the tier {tiers.pop()} run without an event loop"
            )
    if wrong:
        raise pytest.UsageError(*sorted(wrong))


@pytest.fixture(scope="module", autouse=True)
def alone_if_heavy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Of the modules that keep a core busy only one runs at a time, whichever worker it is on."""
    if request.node.get_closest_marker("heavy") is None:
        yield
        return
    with (tmp_path_factory.getbasetemp().parent / "heavy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def no_secrets_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test calls a secret may be a plain word in another one's messages."""
    monkeypatch.setattr("openclaw_voicecall.errors._secrets", ())


# Innermost, because other plugins make event loops around every test.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    if not _tiers(pyfuncitem) & WITHOUT_LOOP:
        return (yield)
    refuse = mock.Mock(side_effect=AssertionError("a test of pure code started an event loop"))
    with mock.patch.object(asyncio.BaseEventLoop, "run_forever", refuse):
        return (yield)


def _tiers(item: pytest.Item) -> set[str]:
    return {marker.name for marker in item.iter_markers()} & TIERS


def _stay_on_loopback(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if host is not None and not _is_loopback(host):
        raise OutsideWorld(f"{event} to {host!r}: tests talk to loopback only")


def _is_loopback(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in {"", "localhost"}:
        return True
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


sys.addaudithook(_stay_on_loopback)
