"""Commands that open ways from the internet to the service."""

from typing import TYPE_CHECKING, Any

import click

from openclaw_voicecall.cli.options import Invocation, common_options, echo_json, run

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

_PORT = click.IntRange(min=1, max=65535)


@click.command()
@click.option(
    "--mode",
    type=click.Choice(["off", "serve", "funnel"]),
    default="funnel",
    show_default=True,
    help="Close the way, open it to the tailnet, or to the internet.",
)
@click.option(
    "--path", help="Path of the webhooks on the Tailscale name. Default: tunnel.path, else serve.path."
)
@click.option("--port", type=_PORT, help="Port of the service on this machine. Default: serve.port.")
@click.option("--serve-path", help="Path of the webhooks on this machine. Default: serve.path.")
@common_options
@click.pass_obj
def expose(
    invocation: Invocation, *, mode: str, path: str | None, port: int | None, serve_path: str | None
) -> None:
    """Open the service with Tailscale, for good.

    Tailscale hands webhooks and media streams to the service until --mode off, also over restarts. The port of the
    Tailscale name is tunnel.port. Whatever else Tailscale serves is left alone.
    """
    from openclaw_voicecall.cli.settings import load_settings
    from openclaw_voicecall.tunnels.tailscale import Tailscale
    from openclaw_voicecall.tunnels.tunnel import Door

    config = load_settings(invocation)[1].config
    if mode == "funnel" and config.tunnel.port not in _funnel_ports():
        raise click.UsageError(
            f"a funnel opens port 443, 8443 or 10000; tunnel.port is {config.tunnel.port}."
        )
    local_path = _url_path(serve_path, "--serve-path") or config.serve.path
    here = _address(config, port)
    door = Door(here, webhook_path=local_path, stream_path=config.streaming.stream_path)
    tailscale = Tailscale(
        door,
        funnel=mode == "funnel",
        port=config.tunnel.port,
        path=_url_path(path, "--path") or config.tunnel.path,
    )
    facts = {
        "ok": True,
        "mode": mode,
        "path": tailscale.webhook_path,
        "streamPaths": [door.stream_path],
    }
    if mode == "off":
        removed = run(tailscale.remove())
        _echo(invocation, {**facts, "removed": removed}, _removal(removed, here))
        return
    public_url = run(tailscale.open()) + tailscale.webhook_path
    local_url = f"http://{here}{local_path}"
    _echo(
        invocation,
        {**facts, "localUrl": local_url, "publicUrl": public_url},
        [f"{public_url} leads to {local_url}", *_advice(public_url, tailnet_only=mode == "serve")],
    )


@click.command()
@click.option(
    "--provider",
    type=click.Choice(["ngrok", "tailscale-serve", "tailscale-funnel"]),
    help="Program that opens the tunnel. Default: tunnel.provider.",
)
@common_options
@click.pass_obj
def tunnel(invocation: Invocation, *, provider: str | None) -> None:
    """Hold a tunnel to the service open.

    Prints the public address and the setting that makes the service use it; Ctrl-C closes it. It leads to the running
    service, or to the configured port where none runs yet. The command serve opens a tunnel by itself when
    tunnel.provider is set.
    """
    from openclaw_voicecall.cli.settings import load_settings

    config = load_settings(invocation)[1].config
    name = provider or config.tunnel.provider
    if name == "none":
        raise click.UsageError("--provider is missing, and tunnel.provider is none.")
    if name == "tailscale-funnel" and config.tunnel.port not in _funnel_ports():
        raise click.UsageError(
            f"a funnel opens port 443, 8443 or 10000; tunnel.port is {config.tunnel.port}."
        )
    run(_hold(invocation, config, name))


async def _hold(invocation: Invocation, config: "VoiceCallConfig", provider: str) -> None:
    from openclaw_voicecall.cli.live import Interrupts
    from openclaw_voicecall.cli.service import log_to_stderr
    from openclaw_voicecall.tunnels import make_tunnel
    from openclaw_voicecall.tunnels.keeper import kept_open

    here = _running(invocation) or _address(config, None)
    tunnel_ = make_tunnel(config, here, provider=provider)
    if tunnel_ is None:
        raise click.UsageError(f"there is no tunnel {provider!r}.")
    log_to_stderr("warning", config)
    local_url = f"http://{here}{config.serve.path}"

    def show(public_url: str) -> None:
        _echo(
            invocation,
            {"provider": provider, "publicUrl": public_url, "localUrl": local_url},
            [
                f"{public_url} leads to {local_url}",
                *_advice(public_url, tailnet_only=provider == "tailscale-serve"),
                "Ctrl-C closes it.",
            ],
        )

    with Interrupts() as interrupts:
        async with kept_open(tunnel_) as kept:
            kept.follow(show)
            await interrupts.wanted.wait()


def _funnel_ports() -> tuple[int, ...]:
    from openclaw_voicecall.config.sections import FUNNEL_PORTS

    return FUNNEL_PORTS


def _url_path(text: str | None, option: str) -> str:
    """A path as the configuration takes it; empty when none was given."""
    from pydantic import TypeAdapter, ValidationError

    from openclaw_voicecall.config.fields import UrlPath

    if text is None:
        return ""
    try:
        checked: str = TypeAdapter(UrlPath).validate_python(text)
    except ValidationError:
        raise click.BadParameter(
            "expected the path of a URL, such as /voice/webhook", param_hint=option
        ) from None
    return checked


def _address(config: "VoiceCallConfig", port: int | None) -> str:
    """`host:port` under which this machine reaches the service."""
    port = port or config.serve.port
    if not port:
        raise click.UsageError("serve.port is 0, any free one: start the service first, or set a port.")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.serve.bind, config.serve.bind)  # noqa: S104 read, not bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _running(invocation: Invocation) -> str:
    """`host:port` of the running service; empty when there is none."""
    from urllib.parse import urlsplit

    from openclaw_voicecall.cli.service import state_of

    service = state_of(invocation).read_service()
    return urlsplit(str(service["url"])).netloc if service else ""


def _advice(public_url: str, *, tailnet_only: bool) -> list[str]:
    lines = [f'setting for the service: publicUrl: "{public_url}"']
    if tailnet_only:
        lines.append("only your tailnet reaches it; carriers on the internet need a funnel")
    return lines


def _removal(paths: list[str], here: str) -> list[str]:
    if not paths:
        return [f"nothing on Tailscale leads to http://{here}"]
    return [f"{path} is closed" for path in paths]


def _echo(invocation: Invocation, facts: dict[str, Any], lines: list[str]) -> None:
    if invocation.as_json:
        echo_json(facts)
    else:
        click.echo("\n".join(lines))
