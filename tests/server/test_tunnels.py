"""Tunnels against strict stand-ins for ngrok and tailscale: opened, kept open, taken down, refused with a reason."""

import asyncio
import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr
from tunnel_rig import NAME, FakeNgrok, FakeTailscale, is_alive, programs, serving

from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.errors import ConfigError, VendorAuthError, VendorError, VendorTimeout
from openclaw_voicecall.server.reach import open_reach
from openclaw_voicecall.tunnels.keeper import kept_open
from openclaw_voicecall.tunnels.ngrok import Ngrok
from openclaw_voicecall.tunnels.tailscale import Tailscale
from openclaw_voicecall.tunnels.tunnel import Door

pytestmark = [pytest.mark.server, pytest.mark.timed]

DOOR = Door("127.0.0.1:3334", webhook_path="/voice/webhook", stream_path="/voice/stream")
TOKEN = SecretStr("2abcDEF_secret-of-the-account")
URL = "https://abc123.ngrok-free.app"
OURS = {
    "/voice/webhook": "http://127.0.0.1:3334/voice/webhook",
    "/voice/stream": "http://127.0.0.1:3334/voice/stream",
}
MODEL = build_config_model({})


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FakeNgrok, FakeTailscale]:
    return programs(tmp_path, monkeypatch)


@pytest.fixture
def ngrok(fakes) -> FakeNgrok:
    return fakes[0]


@pytest.fixture
def daemon(fakes) -> FakeTailscale:
    return fakes[1]


async def gone(pid: int) -> None:
    async with asyncio.timeout(5):
        while is_alive(pid):
            await asyncio.sleep(0.02)


async def test_ngrok_leads_to_our_port_and_its_token_is_in_no_argument(ngrok):
    tunnel = Ngrok(DOOR, token=TOKEN)
    assert await tunnel.open() == URL
    (run,) = ngrok.runs
    assert run["address"] == "127.0.0.1:3334"
    assert run["token"] == TOKEN.get_secret_value()
    assert not [word for word in run["argv"] if TOKEN.get_secret_value() in word]
    assert "--inspect=false" in run["argv"], "ngrok keeps no copies of what callers say"
    config = Path(run["argv"][run["argv"].index("--config") + 1])
    assert not config.exists(), "the file with the token lasts no longer than the start"
    began = time.monotonic()
    await tunnel.close()
    assert time.monotonic() - began < 2
    assert not is_alive(run["pid"])


async def test_without_a_token_ngrok_uses_its_own_configuration(ngrok):
    tunnel = Ngrok(DOOR)
    await tunnel.open()
    await tunnel.close()
    assert "--config" not in ngrok.runs[0]["argv"]


@pytest.mark.parametrize("domain", ["voice.example.com", "https://voice.example.com/"])
async def test_a_domain_of_the_account_is_asked_for(ngrok, domain):
    tunnel = Ngrok(DOOR, domain=domain)
    assert await tunnel.open() == "https://voice.example.com"
    await tunnel.close()


@pytest.mark.parametrize(
    ("refusal", "kind", "words"),
    [
        (
            "Usage of ngrok requires a verified account and authtoken.\r\n\r\nERR_NGROK_4018\r\n",
            VendorAuthError,
            "NGROK_AUTHTOKEN",
        ),
        ("The authtoken is invalid.\nYour authtoken: TOKEN\r\n\r\nERR_NGROK_107", VendorAuthError, "revoked"),
        ("That is no authtoken.\nYour authtoken: TOKEN\r\nERR_NGROK_105", VendorAuthError, "API key"),
        (
            "Your account is limited to 1 simultaneous ngrok agent sessions. ERR_NGROK_108",
            VendorError,
            "agents",
        ),
        (
            "The endpoint 'https://x.ngrok.app' is already online. ERR_NGROK_334",
            VendorError,
            "in use by another",
        ),
        ("This domain is reserved for another account. ERR_NGROK_320", VendorError, "reserve"),
        ("TOKEN is odd. ERR_NGROK_9999", VendorError, "errors/err_ngrok_9999"),
    ],
)
@pytest.mark.parametrize("stays", [False, True])
async def test_a_refusal_of_ngrok_names_cause_and_fix_and_never_the_token(ngrok, refusal, kind, words, stays):
    ngrok.plan(refusal=refusal, stays=stays)
    with pytest.raises(kind) as error:
        await Ngrok(DOOR, token=TOKEN).open()
    assert words in str(error.value)
    assert TOKEN.get_secret_value() not in str(error.value)
    assert not is_alive(ngrok.runs[0]["pid"])


async def test_an_ngrok_that_opens_nothing_is_given_up_with_what_it_said(ngrok):
    ngrok.plan(refusal="dial tcp: lookup connect.ngrok-agent.com: no such host", stays=True)
    with pytest.raises(VendorTimeout, match=r"no tunnel within 3 s; it says: .*no such host"):
        await Ngrok(DOOR, start_limit=3).open()
    assert not is_alive(ngrok.runs[0]["pid"])


async def test_an_ngrok_that_knows_no_url_option_is_told_to_be_updated(ngrok):
    ngrok.plan(old=True)
    with pytest.raises(VendorError, match=r"too old.*ngrok update"):
        await Ngrok(DOOR, domain="voice.example.com").open()


async def test_a_missing_program_is_named_with_its_download(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("openclaw_voicecall.tunnels.tailscale._PLACES", ())
    with pytest.raises(VendorError, match=r"ngrok is not installed: get it from https://ngrok.com/download"):
        await Ngrok(DOOR).open()
    with pytest.raises(VendorError, match="tailscale is not installed"):
        await Tailscale(DOOR, funnel=True).open()


async def test_a_program_that_ignores_the_request_to_end_is_gone_within_two_seconds(ngrok):
    ngrok.plan(stubborn=True)
    tunnel = Ngrok(DOOR)
    await tunnel.open()
    began = time.monotonic()
    await tunnel.close()
    assert time.monotonic() - began < 2
    await gone(ngrok.runs[0]["pid"])


async def test_a_killed_service_leaves_no_ngrok_behind(ngrok):
    script = (
        "import asyncio; from openclaw_voicecall.tunnels.ngrok import Ngrok\n"
        "from openclaw_voicecall.tunnels.tunnel import Door\n"
        "async def main():\n"
        "    print(await Ngrok(Door('127.0.0.1:1', '/a', '/b')).open(), flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == URL
        process.kill()
    await gone(ngrok.runs[0]["pid"])


async def test_a_tunnel_that_dies_is_opened_again_and_its_new_address_told(ngrok, caplog):
    second = "https://def456.ngrok-free.app"
    ngrok.plan(urls=[URL, second])
    told: asyncio.Queue[str] = asyncio.Queue()
    async with kept_open(Ngrok(DOOR), pauses=lambda: itertools.repeat(0.0)) as kept, asyncio.timeout(20):
        kept.follow(told.put_nowait)
        assert await told.get() == f"{URL}/voice/webhook"
        ngrok.plan(urls=[URL, second], refusal="ERR_NGROK_108")
        os.kill(ngrok.runs[0]["pid"], signal.SIGKILL)
        while len(ngrok.runs) < 3:
            await asyncio.sleep(0.02)
        ngrok.plan(urls=[URL, second])
        assert await told.get() == f"{second}/voice/webhook"
        assert kept.public_url == f"{second}/voice/webhook"
    records = [record for record in caplog.records if getattr(record, "hop", "") == "tunnel"]
    texts = " | ".join(record.getMessage() for record in records)
    assert "is down" in texts
    assert "as many ngrok agents as it may" in texts
    assert f"open again at {second}" in texts


def tailscale(*, funnel: bool = True, **options) -> Tailscale:
    return Tailscale(DOOR, funnel=funnel, **options)


@pytest.mark.parametrize(("port", "base"), [(443, f"https://{NAME}"), (8443, f"https://{NAME}:8443")])
async def test_tailscale_leads_webhooks_and_streams_to_us_and_nothing_else(daemon, port, base):
    daemon.set(serve=serving("/", port=10000))
    tunnel = tailscale(port=port)
    assert await tunnel.open() == base
    assert daemon.paths(port) == OURS
    assert daemon.funnel(port)
    began = time.monotonic()
    await tunnel.close()
    assert time.monotonic() - began < 2
    assert daemon.paths(port) == {}
    assert not daemon.funnel(port)
    assert daemon.paths(10000) == {"/": "http://127.0.0.1:80"}


async def test_serve_stays_within_the_tailnet_and_beside_what_is_there(daemon):
    daemon.set(serve=serving("/", "/photos"))
    tunnel = tailscale(funnel=False, path="/hooks")
    await tunnel.open()
    others = {"/": "http://127.0.0.1:80", "/photos": "http://127.0.0.1:80"}
    ours = {"/hooks": OURS["/voice/webhook"], "/voice/stream": OURS["/voice/stream"]}
    assert daemon.paths() == others | ours
    assert not daemon.funnel()
    await tunnel.close()
    assert daemon.paths() == others


@pytest.mark.parametrize(
    ("serve", "funnel", "words"),
    [
        (serving("/voice/webhook"), False, "/voice/webhook on port 443 leads to http://127.0.0.1:80 already"),
        (serving("/photos/"), True, "would show the internet /photos on port 443 too"),
        (
            serving("/", funnel=True),
            False,
            "open to the internet for /, and `tailscale serve` would end that",
        ),
        ({"TCP": {"443": {"TCPForward": "127.0.0.1:22"}}}, True, "port 443 is handed on as plain TCP"),
    ],
)
async def test_what_others_have_set_up_is_not_touched(daemon, serve, funnel, words):
    daemon.set(serve=serve)
    with pytest.raises(ConfigError) as error:
        await tailscale(funnel=funnel).open()
    assert words in str(error.value)
    assert "tunnel.port" in str(error.value)
    assert daemon.facts["serve"] == serve


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"state": "NeedsLogin"}, "not logged in.*tailscale up"),
        ({"state": "Stopped"}, "stopped: run `tailscale up`"),
        ({"state": "NeedsMachineAuth"}, "approve this machine"),
        ({"state": "Starting"}, "just starting"),
        ({"name": ""}, "enable MagicDNS"),
        ({"down": True}, "does not run on this machine"),
        ({"refusal": "Access denied: serve config denied"}, "set --operator="),
        (
            {"refusal": "Funnel not available; HTTPS must be enabled. See https://tailscale.com/s/https."},
            "enable HTTPS certificates",
        ),
        ({"refusal": 'Funnel not available; "funnel" node attribute not set.'}, "no-funnel"),
        ({"disabled": "leaves"}, "enabled for the tailnet: .*https://login.tailscale.com/f/funnel"),
        ({"disabled": "waits"}, "did not finish within 3 s; .*https://login.tailscale.com/f/funnel"),
    ],
)
async def test_what_tailscale_needs_is_said_with_what_to_do(daemon, facts, words):
    daemon.set(**facts)
    with pytest.raises(VendorError, match=words):
        await tailscale(command_limit=3 if "disabled" in facts else 15).open()
    assert daemon.paths() == {}


async def test_what_was_there_before_us_stays_when_we_go(daemon):
    await tailscale().open()  # as the command `expose` does
    tunnel = tailscale()
    await tunnel.open()
    await tunnel.close()
    assert daemon.paths() == OURS
    assert await tailscale(funnel=False).remove() == list(OURS)
    assert daemon.paths() == {}


async def test_the_next_service_takes_down_what_a_killed_one_left(daemon, tmp_path):
    memory = tmp_path / "tunnel.json"
    await tailscale(path="/old", memory=memory).open()  # and never closed
    assert "/old" in daemon.paths()
    tunnel = tailscale(memory=memory, port=8443)
    await tunnel.open()
    assert daemon.paths(443) == {}
    assert daemon.paths(8443) == OURS
    await tunnel.close()
    assert daemon.paths(8443) == {}
    assert not memory.exists()


async def test_a_path_that_others_took_over_is_theirs(daemon):
    tunnel = tailscale()
    await tunnel.open()
    theirs = serving("/voice/webhook", "/voice/stream", funnel=True)
    daemon.set(serve=theirs)
    await tunnel.close()
    assert daemon.facts["serve"] == theirs


async def test_a_way_that_somebody_closed_is_opened_again(daemon):
    async with (
        kept_open(tailscale(look_every=0.05), pauses=lambda: itertools.repeat(0.0)) as kept,
        asyncio.timeout(20),
    ):
        daemon.set(serve=None)
        while daemon.paths() != OURS or not daemon.funnel():
            await asyncio.sleep(0.02)
        assert kept.public_url == f"https://{NAME}/voice/webhook"


async def test_tailscale_that_cannot_be_asked_at_the_end_leaves_a_warning(daemon, caplog):
    tunnel = tailscale()
    await tunnel.open()
    daemon.set(down=True)
    await tunnel.close()
    assert "do it with: tailscale serve --https=443 --set-path=PATH off" in caplog.text


async def reach(stack: AsyncExitStack, folder: Path, **settings):
    config = MODEL.model_validate(settings)
    return await open_reach(stack, config, "127.0.0.1:3334", memory=folder / "tunnel.json")


async def test_the_tunnel_gives_carriers_their_address(ngrok, tmp_path):
    async with AsyncExitStack() as stack:
        found = await reach(stack, tmp_path, provider="twilio", tunnel={"provider": "ngrok"})
        addresses = Addresses(found.config, "127.0.0.1:3334")
        assert addresses.webhook("twilio") == f"{URL}/voice/webhook"
        assert addresses.stream("twilio", "t") == "wss://abc123.ngrok-free.app/voice/stream/twilio/t"
        assert addresses.webhook("local") == "http://127.0.0.1:3334/voice/webhook/local"
        assert found.notices == (f"tunnel ngrok is open: carriers reach the webhooks at {URL}/voice/webhook",)
    await gone(ngrok.runs[0]["pid"])


async def test_carriers_are_given_the_address_of_a_tunnel_that_moved(ngrok, tmp_path, caplog, monkeypatch):
    second = "https://def456.ngrok-free.app"
    ngrok.plan(urls=[URL, second])
    monkeypatch.setattr("openclaw_voicecall.tunnels.keeper.chain", lambda *_: itertools.repeat(0.0))
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        found = await reach(stack, tmp_path, provider="twilio", tunnel={"provider": "ngrok"})
        addresses = Addresses(found.config, "127.0.0.1:3334")
        found.follow(addresses)
        os.kill(ngrok.runs[0]["pid"], signal.SIGKILL)
        while addresses.webhook("twilio") != f"{second}/voice/webhook":
            await asyncio.sleep(0.02)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "callers do not get through until your carrier knows it" in errors[0]


@pytest.mark.parametrize(
    ("public_url", "words"),
    [
        ("https://voice.example.com/voice/webhook", "publicUrl: its host is voice.example.com"),
        (f"{URL}:8443/voice/webhook", "publicUrl: its host is abc123.ngrok-free.app:8443"),
        (f"{URL}/hooks", "publicUrl: its path is /hooks"),
    ],
)
async def test_a_public_url_that_the_tunnel_does_not_serve_stops_the_start(
    ngrok, tmp_path, public_url, words
):
    with pytest.raises(ConfigError) as error:
        async with AsyncExitStack() as stack:
            await reach(stack, tmp_path, publicUrl=public_url, tunnel={"provider": "ngrok"})
    assert words in str(error.value)
    assert "remove publicUrl" in str(error.value)
    await gone(ngrok.runs[0]["pid"])


async def test_a_public_url_that_agrees_is_kept(ngrok, tmp_path):
    async with AsyncExitStack() as stack:
        same = f"{URL}:443/voice/webhook"
        found = await reach(stack, tmp_path, publicUrl=same, tunnel={"provider": "ngrok"})
        assert found.config.public_url == same


async def test_a_proxy_in_front_of_the_tailnet_may_have_another_name(daemon, tmp_path):
    public = "https://voice.example.com/voice/webhook"
    settings = {"provider": "tailscale-serve"}
    async with AsyncExitStack() as stack:
        found = await reach(stack, tmp_path, publicUrl=public, tunnel=settings)
        assert found.config.public_url == public
        assert "its host is voice.example.com" in found.notices[-1]
        alone = await reach(stack, tmp_path, tunnel=settings)
        assert "a carrier on the internet cannot reach them" in alone.notices[-1]
