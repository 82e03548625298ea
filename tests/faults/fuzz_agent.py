"""Targets for fuzzing: what OpenClaw's gateway says, and where it is said to be."""

import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

from fuzz_common import said, scratch, storable, waited_for

from openclaw_voicecall.errors import ConfigError, VendorError
from openclaw_voicecall.providers.openclaw.config import OpenClawConfig
from openclaw_voicecall.providers.openclaw.failures import refused
from openclaw_voicecall.providers.openclaw.gateway import Gateway, find_gateway
from openclaw_voicecall.providers.openclaw.responder import _texts
from openclaw_voicecall.testing.fuzzing import Target
from openclaw_voicecall.testing.fuzzing_kinds import Binary, Text

WIRE = "openclaw_voicecall.providers.openclaw"
GATEWAY = Gateway("http://127.0.0.1:1", "key")


class Answer:
    """A stream of events as the HTTP client gives it, line by line."""

    def __init__(self, body: bytes) -> None:
        self.content = self._lines(body)

    @staticmethod
    async def _lines(body: bytes) -> AsyncIterator[bytes]:
        for line in body.splitlines(keepends=True):
            yield line


def reply(random: Random) -> bytes:
    """A run of the agent, in events."""
    words = [f"word{random.randrange(10)} " for _ in range(random.randrange(1, 6))]
    chunks = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*events, ": comment\n", "data: [DONE]\n\n"]).encode()


def read_reply(body: bytes) -> None:
    async def texts() -> None:
        async for text in _texts(Answer(body)):  # type: ignore[arg-type] # as far as it is used
            storable(text)

    try:
        waited_for(texts())
    except VendorError as error:
        said(error)
        raise


def refuse(body: str) -> None:
    for status in (400, 401, 404, 429, 500):
        said(refused(GATEWAY, status, body))


def own_config(random: Random) -> bytes:
    """OpenClaw's configuration as far as it says where the gateway is."""
    auth: dict[str, Any] = {"mode": "token", "token": random.choice(["secret", "${TOKEN}"])}
    return json.dumps({"gateway": {"port": random.randrange(1, 65536), "auth": auth}}).encode()


def read_config(data: bytes) -> None:
    path = scratch() / "openclaw.json"
    path.write_bytes(data)
    found = find_gateway(OpenClawConfig(), {"OPENCLAW_CONFIG_PATH": str(path), "TOKEN": "t"})
    assert found.url.startswith("http://127.0.0.1:")
    storable(found.key)


TARGETS = (
    Target(
        name="openclaw reply",
        kind=Binary(),
        make=reply,
        feed=read_reply,
        refusals=(VendorError,),
        known=(
            b"data: " + b"[" * 5000,
            b'data: {"choices": 1}',
            b'data: {"choices": [{"delta": {"content": 1}}]}',
        ),
        parsers=(f"{WIRE}.responder",),
    ),
    Target(
        name="openclaw refusal",
        kind=Text(),
        make=lambda random: json.dumps({"error": {"message": f"no{random.randrange(10)}", "type": "x"}}),
        feed=refuse,
        known=("[" * 5000, "<html>", '{"error": {"message": "\\udc00"}}', "x" * 100_000),
        parsers=(f"{WIRE}.failures",),
    ),
    Target(
        name="openclaw config",
        kind=Binary(),
        make=own_config,
        feed=read_config,
        refusals=(ConfigError,),
        seconds=2.0,  # json5 is slow, and the file its owner's
        known=(
            b"[" * 5000,
            b'{"a": ' + b"\t" * 200_000 + b"1}",
            b'{gateway: {port: 1e999, auth: {token: {source: "env"}}}}',
        ),
        parsers=(f"{WIRE}.gateway",),
    ),
)
