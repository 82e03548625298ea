"""The owner's door: by the socket's file, or on a port of this machine with the owner's token; never for web pages."""

import asyncio
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from openclaw_voicecall.errors import ServiceError, StoreError
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.server.ownertoken import OwnerGuard, owner_token
from openclaw_voicecall.testing.service import RunningService, ServiceCrashed

pytestmark = [pytest.mark.server, pytest.mark.timeout(60)]

STATUS = "/api/v1/status"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("door")
    settings = {"control": {"port": 0, "socket": str(folder / "own.sock")}}
    with RunningService(folder / "s", port=0, config=settings) as running:
        yield running


@pytest.fixture(scope="module")
def told(service: RunningService) -> dict[str, str]:
    """What the service says of itself to its owner."""
    return json.loads((service.state_dir / "service.json").read_text())


@pytest.fixture(scope="module")
def token(told: dict[str, str]) -> str:
    return Path(told["controlToken"]).read_text().strip()


async def ask(told, headers, *, method="GET", path=STATUS):
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, told["controlUrl"] + path, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def test_the_port_answers_who_brings_the_token(service, told, token):
    assert told["controlUrl"].startswith("http://127.0.0.1:")
    assert stat.S_IMODE(os.stat(told["controlToken"]).st_mode) == 0o600
    status, answer = await ask(told, {"Authorization": f"Bearer {token}"})
    assert status == 200
    assert json.loads(answer)["service"]["pid"] == service.pid
    assert token not in answer
    assert token not in service.stderr
    port = told["controlUrl"].rpartition(":")[2]
    for host in (f"localhost:{port}", f"[::1]:{port}", "127.0.0.1", f"127.0.0.2:{port}"):
        assert (await ask(told, {"Authorization": f"Bearer {token}", "Host": host}))[0] == 200, host


@pytest.mark.parametrize("path", [STATUS, "/api/v1/calls", "/api/v1/feed", "/healthz", "/nothing"])
async def test_nobody_else_is_answered(told, token, path):
    wrong = {
        "nothing": ({}, 401),
        "an empty token": ({"Authorization": "Bearer "}, 401),
        "another token": ({"Authorization": f"Bearer {token[:-1]}x"}, 401),
        "half of it": ({"Authorization": f"Bearer {token[:-1]}"}, 401),
        "more than it": ({"Authorization": f"Bearer {token}x"}, 401),
        "no ASCII": ({"Authorization": "Bearer é"}, 401),
        "another scheme": ({"Authorization": f"Basic {token}"}, 401),
        "in the query": ({}, 401),
        "a name that leads here": ({"Authorization": f"Bearer {token}", "Host": "evil.example"}, 403),
        "a name like ours": ({"Authorization": f"Bearer {token}", "Host": "localhost.evil.example"}, 403),
        "an address of others": ({"Authorization": f"Bearer {token}", "Host": "10.0.0.1"}, 403),
        "a web page": ({"Authorization": f"Bearer {token}", "Origin": "https://evil.example"}, 403),
        "a web page on this machine": (
            {"Authorization": f"Bearer {token}", "Origin": "http://localhost"},
            403,
        ),
    }
    for name, (headers, expected) in wrong.items():
        asked = f"{path}?token={token}" if name == "in the query" else path
        status, answer = await ask(told, headers, path=asked)
        assert status == expected, name
        assert json.loads(answer).keys() == {"error"}, name
        assert token not in answer


async def test_nobody_else_places_a_call(service, told, token):
    body = json.dumps({"to": "+15550001234", "message": "Hello"})
    async with aiohttp.ClientSession() as http:
        for headers in ({}, {"Origin": "https://evil.example", "Content-Type": "text/plain"}):
            async with http.post(f"{told['controlUrl']}/api/v1/calls", data=body, headers=headers) as answer:
                assert answer.status in (401, 403)
    async with ControlClient.of(told) as client:
        assert await client.list_calls() == []


async def test_web_pages_may_not_use_the_socket_either(told):
    connector = aiohttp.UnixConnector(path=told["socket"])
    async with aiohttp.ClientSession(base_url="http://voicecall", connector=connector) as http:
        async with http.get(STATUS) as answer:
            assert answer.status == 200
        async with http.get(STATUS, headers={"Origin": "https://evil.example"}) as answer:
            assert answer.status == 403


async def test_the_socket_lies_where_the_owner_wants_it_and_the_commands_find_it(service, told, tmp_path):
    assert told["socket"].endswith("own.sock")
    assert stat.S_IMODE(os.stat(told["socket"]).st_mode) == 0o600
    assert not (service.state_dir / "control.sock").exists()
    shown = await asyncio.to_thread(service.cli, "status")
    assert shown.json["service"]["socket"] == told["socket"]
    # Where the socket cannot be seen, such as from within a container, the port does.
    elsewhere = told | {"socket": str(tmp_path / "gone.sock")}
    async with ControlClient.of(elsewhere) as client:
        assert (await client.status())["service"]["pid"] == service.pid
    with pytest.raises(ServiceError, match="token"):
        ControlClient.of(elsewhere | {"controlToken": str(tmp_path / "none")})
    async with ControlClient(url=told["controlUrl"], token="wrong") as client:
        with pytest.raises(Exception, match=r"control\.token"):
            await client.status()


@pytest.mark.parametrize("content", ["", "short", "\n", "a" * 31, "é" * 40, "a b" * 20])
def test_a_token_that_is_none_is_refused(tmp_path, content):
    file = tmp_path / "control.token"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(StoreError, match="holds no token"):
        owner_token(file)


def test_a_token_is_made_once_and_kept_private(tmp_path):
    file = tmp_path / "control.token"
    made = owner_token(file)
    assert len(made) >= 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert owner_token(file) == made
    file.chmod(0o640)
    with pytest.raises(StoreError, match="Others may read"):
        owner_token(file)
    file.unlink()
    file.symlink_to(tmp_path / "other")
    with pytest.raises(StoreError):
        owner_token(file)
    with pytest.raises(ValueError, match="empty"):
        OwnerGuard("")


def test_a_service_with_an_empty_token_or_a_foreign_file_for_a_socket_does_not_start(tmp_path):
    for name, settings in (("a", {"port": 0}), ("b", {"socket": str(tmp_path / "notes.txt")})):
        state = tmp_path / name
        state.mkdir(mode=0o700)
        (state / "control.token").touch(mode=0o600)
        (tmp_path / "notes.txt").write_text("mine")
        service = RunningService(state, port=0, config={"control": settings}, start_timeout=20)
        with pytest.raises(ServiceCrashed, match=r"control\.token holds no token|was left alone"), service:
            pass
        assert (tmp_path / "notes.txt").read_text() == "mine"
