"""The probe answers those who were invited, once, and is not there for anybody else."""

from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from openclaw_voicecall.builtin.system import SystemClock, SystemIds
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.tokens import StreamTokens
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.errors import InvalidSignature
from openclaw_voicecall.server.probe import PATH_HEADER, PROOF_HEADER, TOKEN_HEADER, ProbeDoor, proof_of

pytestmark = pytest.mark.server

HOOK = "/voice/webhook"


@asynccontextmanager
async def probed():
    """A server with the probe before it, whose own answer is "ordinary"; its carrier believes nobody."""

    def verify(request, now):
        raise InvalidSignature(f"no signature in {request.body.decode()} to {request.url}")

    clock = SystemClock()
    config = build_config_model()(provider="carrier", public_url="https://voice.example.com/voice/webhook")
    door = ProbeDoor(
        config,
        tokens=StreamTokens(clock, SystemIds()),
        clock=clock,
        addresses=Addresses(config, "127.0.0.1:3334"),
        carriers={"carrier": SimpleNamespace(verify=verify)},
    )
    app = web.Application()
    door.guard(app)
    app.router.add_route("*", "/voice/{tail:.*}", ordinary)
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        yield client, door


async def ordinary(request):
    return web.Response(text="ordinary")


def with_token(token):
    return {TOKEN_HEADER: token}


async def test_who_has_no_token_or_a_wrong_one_sees_what_everybody_sees():
    async with probed() as (client, _):
        for headers in ({}, with_token("guessed")):
            answer = await client.get(HOOK, headers=headers)
            assert await answer.text() == "ordinary"
            assert PROOF_HEADER not in answer.headers


async def test_a_token_is_good_for_one_request_and_only_until_the_next_is_given_out():
    async with probed() as (client, door):
        stale, token = door.invite().token, door.invite().token
        assert await (await client.get(HOOK, headers=with_token(stale))).text() == "ordinary"
        answer = await client.get(f"{HOOK}?n=1", headers=with_token(token))
        assert answer.headers[PROOF_HEADER] == proof_of(token)
        assert await answer.json() == {"carrier": "carrier", "path": HOOK, "query": "n=1"}
        assert await (await client.get(HOOK, headers=with_token(token))).text() == "ordinary"


async def test_a_path_that_is_none_of_ours_is_said_as_it_arrived():
    async with probed() as (client, door):
        answer = await client.get("/elsewhere", headers=with_token(door.invite().token))
        assert answer.status == 404
        assert answer.headers[PATH_HEADER] == "/elsewhere"


async def test_a_post_is_shown_to_the_carrier_as_one_to_the_public_address():
    async with probed() as (client, door):
        answer = await client.post(f"{HOOK}?n=1", data=b"a=1", headers=with_token(door.invite().token))
        said = await answer.json()
        assert said["refusal"] == "no signature in a=1 to https://voice.example.com/voice/webhook?n=1"


async def test_a_stream_without_its_upgrade_is_told_so_and_with_it_echoes_one_message():
    async with probed() as (client, door):
        invitation = door.invite()
        assert invitation.stream_url == "wss://voice.example.com/voice/stream/carrier/probe"
        answer = await client.get("/voice/stream/carrier/probe", headers=with_token(invitation.token))
        assert answer.status == 426
        token = door.invite().token
        async with client.ws_connect("/voice/stream/carrier/probe", headers=with_token(token)) as socket:
            await socket.send_str("word")
            assert (await socket.receive()).data == "word"
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
