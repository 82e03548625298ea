"""The public address.

A request to it must come out at this service, with its path, query, body and signature, and a WebSocket must pass. All
of it is asked from this machine, at the addresses that carriers are given.
"""

import ipaddress
import json
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import aiohttp

from openclaw_voicecall.checks.parts import Part
from openclaw_voicecall.checks.report import Finding, Report, Status, attempt
from openclaw_voicecall.checks.site import Site
from openclaw_voicecall.server.probe import PATH_HEADER, PROOF_HEADER, TOKEN_HEADER, Invitation, proof_of

ADDRESS = "public address"
SIGNATURE = "signature"
STREAM = "media stream"
LIMIT = 20.0
"""Seconds for one of the three."""
REQUEST = aiohttp.ClientTimeout(total=12.0, sock_connect=8.0)
ECHO = 5.0
"""Seconds until a message must have come back over a WebSocket."""
READ = 4096
"""Bytes of a foreign answer that are looked at."""

_UPGRADE = (
    "let the proxy pass WebSockets; with nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    'proxy_set_header Connection "upgrade"'
)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: str
    proven: bool
    """Whether this service has answered."""

    @property
    def facts(self) -> dict[str, object]:
        """The JSON in it, if it is any."""
        try:
            said = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return said if isinstance(said, dict) else {}

    @property
    def path(self) -> str:
        """The path that arrived."""
        return self.headers.get(PATH_HEADER, "")


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a request did not come through."""

    text: str
    cause: str
    fix: str


async def check_reach(report: Report, site: Site, carrier: Part, trunk: Part | None = None) -> str:
    """Check address, signature and media stream, in this order; returns the webhooks' address.

    Args:
        report: Takes the findings.
        site: Who answers at the address.
        carrier: Signs a request as it would.
        trunk: The same, at an address of its own.
    """
    invitation = await site.invite()
    if not site.public:
        report.add(
            _failed(
                ADDRESS,
                _Fault(
                    "there is none",
                    f"publicUrl is not set and tunnel.provider is none, so {carrier.name} cannot reach this service",
                    f"set publicUrl to an https address that leads to {site.where}, or choose a tunnel.provider",
                ),
            )
        )
        return ""
    url = invitation.webhook_url
    found = report.add(await attempt(lambda: _check_address(site), hop=ADDRESS, limit=LIMIT))
    if warning := _address_warning(url, carrier.name):
        report.add(warning)
    if found.status is Status.FAILED:
        for hop in hops(carrier)[1:]:
            report.add(Finding(hop=hop, status=Status.SKIPPED, text="the public address does not lead here"))
        return url
    for part in (carrier, trunk):
        if part is not None and part.spec.sign_probe is not None:
            name = part.name if part is trunk else ""
            signing = partial(_check_signature, site, part, name)
            report.add(await attempt(signing, hop=SIGNATURE, name=name, limit=LIMIT, section=part.section))
    if STREAM in hops(carrier):
        report.add(await attempt(lambda: _check_stream(site), hop=STREAM, limit=LIMIT))
    return url


def hops(carrier: Part) -> tuple[str, ...]:
    """What there is to check; where the vendor keeps the audio, no media stream comes to us."""
    return (ADDRESS, SIGNATURE) if carrier.is_remote else (ADDRESS, SIGNATURE, STREAM)


def _address_warning(url: str, carrier: str) -> Finding | None:
    parts = urlsplit(url)
    if _is_private(parts.hostname or ""):
        return Finding(
            hop=ADDRESS,
            status=Status.WARNING,
            text=f"{parts.hostname} is an address of this machine or its network",
            cause=f"{carrier} on the internet cannot reach it",
            fix="set publicUrl to a public host name, or choose a tunnel.provider",
        )
    if parts.scheme != "https":
        return Finding(
            hop=ADDRESS,
            status=Status.FAILED,
            text="it is plain http",
            cause="carriers open media streams over TLS only, and everybody on the way could listen",
            fix="set publicUrl to an https address",
        )
    return None


def _is_private(host: str) -> bool:
    try:
        return host == "localhost" or not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


async def _check_address(site: Site) -> Finding:
    invitation = await site.invite()
    mark = secrets.token_urlsafe(6)
    answer = await _ask("GET", f"{invitation.webhook_url}?for=doctor&n={mark}", invitation, site)
    if isinstance(answer, _Fault):
        return _failed(ADDRESS, answer)
    if not answer.proven:
        return _failed(ADDRESS, _stranger(answer, invitation.webhook_url, site))
    if answer.status == 404:
        return _failed(ADDRESS, _moved(answer, invitation.webhook_url))
    if mark not in str(answer.facts.get("query", "")):
        return _failed(
            ADDRESS,
            _Fault(
                "the query is lost on the way",
                "what follows the question mark of an address does not arrive, and it says which call is meant",
                "let the proxy or tunnel pass addresses whole",
            ),
        )
    who = "the running service" if site.running else "this machine"
    return Finding(hop=ADDRESS, text=f"{invitation.webhook_url} leads to {who}")


async def _check_signature(site: Site, carrier: Part, step: str) -> Finding:
    """`step` is what the carrier's address has behind the configured one."""
    invitation = await site.invite()
    address = f"{invitation.webhook_url}/{step}" if step else invitation.webhook_url
    probe = carrier.spec.sign_probe(carrier.settings, f"{address}?for=status&n=doctor")
    answer = await _ask(
        probe.method, probe.url, invitation, site, headers=dict(probe.headers), body=probe.body
    )
    if isinstance(answer, _Fault):
        return _failed(SIGNATURE, answer, step)
    if answer.proven and answer.status == 404:
        return _failed(SIGNATURE, _unknown(answer, address, step, site), step)
    if not answer.proven:
        fault = _stranger(answer, address, site)
        cause = f"a GET comes through, and a POST does not: {fault.cause}"
        return _failed(
            SIGNATURE,
            _Fault(
                "a POST does not come through", cause, "let the proxy or tunnel pass POST requests unchanged"
            ),
            step,
        )
    if refusal := str(answer.facts.get("refusal", "")):
        fix = "let the proxy or tunnel pass headers, query and body unchanged"
        if site.running:
            fix = (
                f"restart the service, so that it uses publicUrl and the keys of {carrier.section} as they are now; if "
                f"that does not help, {fix}"
            )
        cause = f"signed by the keys in the configuration for {probe.url}, it arrives as: {refusal}"
        return _failed(SIGNATURE, _Fault("a signed request is not believed", cause, fix), step)
    text = f"a request signed as {carrier.name} signs arrives whole and is believed"
    return Finding(hop=SIGNATURE, name=step, text=text)


def _unknown(answer: _Answer, address: str, step: str, site: Site) -> _Fault:
    """Why a request came out at the service, and no carrier of it took it."""
    if answer.path.endswith(f"/{step}") and step and site.running:
        cause = f"the running service has not opened the carrier {step}"
        return _Fault("nobody takes a signed request", cause, "restart the service")
    return _moved(answer, address)


async def _check_stream(site: Site) -> Finding:
    invitation = await site.invite()
    url, token = invitation.stream_url, invitation.token
    word = secrets.token_urlsafe(12)
    try:
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=REQUEST) as http,
            http.ws_connect(url, headers={TOKEN_HEADER: token}, max_msg_size=READ) as socket,
        ):
            await socket.send_str(word)
            message = await socket.receive(timeout=ECHO)
            if message.data == word:
                return Finding(
                    hop=STREAM, text=f"a WebSocket below {_streams(url)} passes in both directions"
                )
            cause = "the WebSocket opens, and something else than what was sent comes back, or it is closed"
    except aiohttp.WSServerHandshakeError as error:
        headers: Mapping[str, str] = error.headers or {}
        proven = headers.get(PROOF_HEADER) == proof_of(token)
        return _failed(STREAM, _no_socket(_Answer(error.status, headers, "", proven), url, site))
    except TimeoutError:
        cause = "the WebSocket opens, and nothing comes back over it"
    except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
        return _failed(STREAM, _unreachable(error, url, site))
    return _failed(STREAM, _Fault("a WebSocket does not pass", cause, _UPGRADE))


def _no_socket(answer: _Answer, url: str, site: Site) -> _Fault:
    """Why a WebSocket was not opened."""
    if answer.proven and answer.status == 426:
        cause = "the request arrives without its upgrade: the proxy does not pass WebSockets"
        return _Fault("a WebSocket does not pass", cause, _UPGRADE)
    if answer.proven:
        return _moved(answer, url)
    stranger = _stranger(answer, url, site)
    path = urlsplit(_streams(url)).path
    fix = f"let the proxy or tunnel lead {path} of the same host to {site.where} too, WebSockets included"
    return _Fault("the path of the media streams does not lead here", stranger.cause, fix)


async def _ask(
    method: str,
    url: str,
    invitation: Invitation,
    site: Site,
    *,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> _Answer | _Fault:
    """Ask with a token; redirects are not followed, because carriers' bodies do not survive them."""
    sent = {**(headers or {}), TOKEN_HEADER: invitation.token}
    try:
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=REQUEST) as http,
            http.request(method, url, headers=sent, data=body, allow_redirects=False) as response,
        ):
            text = (await _begin(response)).decode(errors="replace")
            proven = response.headers.get(PROOF_HEADER) == proof_of(invitation.token)
            return _Answer(response.status, response.headers, text, proven)
    except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
        return _unreachable(error, url, site)


async def _begin(response: aiohttp.ClientResponse) -> bytes:
    """As much of an answer as is looked at."""
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(body) >= READ:
            break
    return body


def _unreachable(error: Exception, url: str, site: Site) -> _Fault:
    """Why nobody answered."""
    host = urlsplit(url).hostname
    match error:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            said = (
                error.certificate_error
                if isinstance(error, aiohttp.ClientConnectorCertificateError)
                else error
            )
            return _Fault(
                "its certificate is not trusted",
                f"{said}",
                f"give {host} a certificate of a public authority: carriers accept no other",
            )
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return _Fault(
                "there is no TLS",
                f"{error}",
                "serve https at this port of the proxy or tunnel, or correct the port of publicUrl",
            )
        case aiohttp.ClientConnectorDNSError():
            return _Fault(
                "the host does not exist", f"{error}", "correct the host of publicUrl, or start the tunnel"
            )
        case aiohttp.ClientConnectorError():
            fix = (
                f"start the proxy or tunnel that leads to {site.where}, or correct host and port of publicUrl"
            )
            return _Fault("nobody listens there", f"{error}", fix)
        case TimeoutError():
            fix = f"start the proxy or tunnel, and open the firewall for it; it must lead to {site.where}"
            return _Fault("it does not answer", f"nothing came within {REQUEST.total:g} s", fix)
        case _:
            fix = f"check that publicUrl speaks {urlsplit(url).scheme} and leads to {site.where}"
            return _Fault("the connection breaks", f"{error or type(error).__name__}", fix)


def _stranger(answer: _Answer, url: str, site: Site) -> _Fault:
    """Why somebody else answered."""
    status, where = answer.status, _start(url)
    if 300 <= status < 400:
        location = answer.headers.get("Location", "?")[:200]
        return _Fault(
            "it redirects",
            f"{where} answers {status} to {location}; the body of a webhook does not survive that",
            f"set publicUrl to the address that answers without a redirect, such as {location.partition('?')[0]}",
        )
    if status in (502, 503, 504):
        return _Fault(
            "the proxy does not reach this service",
            f"{where} answers {status}",
            f"let the proxy or tunnel lead to {site.where}",
        )
    if status in (401, 403):
        return _Fault(
            "the way is closed",
            f"{where} answers {status}: a login or filter stands before it",
            "let carriers through without a login; their requests are signed",
        )
    if "openclaw-voicecall" in str(answer.facts.get("what", "")):
        return _Fault(
            "another openclaw-voicecall answers there",
            f"{where} leads to a service with another state directory, or the proxy drops headers",
            f"let the proxy or tunnel lead to {site.where}",
        )
    server = answer.headers.get("Server", "")
    named = f", its name is {server[:60]}" if server else ""
    return _Fault(
        "another server answers there",
        f"{where} answers {status}{named}",
        f"let the proxy or tunnel lead to {site.where}, or correct publicUrl",
    )


def _moved(answer: _Answer, url: str) -> _Fault:
    """The service was reached at a path that it does not have."""
    asked = urlsplit(url).path
    return _Fault(
        "the path is changed on the way",
        f"{asked} was asked for, and {answer.path} arrived",
        f"let the proxy or tunnel pass {asked} as it is (with nginx: no path after the port in proxy_pass)",
    )


def _start(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _streams(url: str) -> str:
    """Where all media streams are, from the address of one: the last two parts are carrier and token."""
    return _start(url).rpartition("/")[0].rpartition("/")[0]


def _failed(hop: str, fault: _Fault, name: str = "") -> Finding:
    return Finding(
        hop=hop, name=name, status=Status.FAILED, text=fault.text, cause=fault.cause, fix=fault.fix
    )
