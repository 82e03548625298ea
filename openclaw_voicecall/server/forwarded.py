"""What a proxy before us tells of a request, and when it is believed: the setting `webhookSecurity`.

Anybody can write `X-Forwarded-Host`, and whoever chooses the address that a signature is checked against chooses the
signature. So nothing of it is believed unless the configuration says whose word counts, and none of it counts where
`publicUrl` says what our address is.
"""

import ipaddress
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from openclaw_voicecall.config.sections import WebhookSecurityConfig


class Forwarding:
    """Reads forwarding headers.

    Args:
        security: Which are believed.
    """

    def __init__(self, security: "WebhookSecurityConfig") -> None:
        self._hosts = frozenset(host.lower() for host in security.allowed_hosts)
        self._any_host = security.trust_forwarding_headers
        self._proxies = tuple(ipaddress.ip_network(text, strict=False) for text in security.trusted_proxy_ips)

    def origin(self, request: web.Request) -> str:
        """Scheme and host that the sender of a request asked for, such as `https://voice.example.com`.

        Empty where no proxy tells, or none that is believed. `X-Forwarded-Host` and `X-Forwarded-Proto` count, each
        with one value: of several nobody knows which one the last proxy has seen. Without the second it is `https`.
        """
        if not (self._hosts or self._any_host) or (self._proxies and not self._from_proxy(request)):
            return ""
        host = _only(request, "X-Forwarded-Host").lower()
        scheme = _only(request, "X-Forwarded-Proto", "https").lower()
        name = _host_name(host)
        if not name or scheme not in ("https", "http") or (self._hosts and name not in self._hosts):
            return ""
        return f"{scheme}://{host}"

    def remote(self, request: web.Request) -> str:
        """Address of whoever sent a request: the last in `X-Forwarded-For` that is no proxy of ours.

        Only where the connection comes from one of `trustedProxyIPs`; else the other end of the connection.
        """
        peer = request.remote or ""
        if not self._from_proxy(request):
            return peer
        told = ",".join(request.headers.getall("X-Forwarded-For", ()))
        for part in reversed([part.strip() for part in told.split(",")]):
            address = _address(part)
            if address is None:
                break
            peer = str(address)
            if not self._is_proxy(address):
                break
        return peer

    def _from_proxy(self, request: web.Request) -> bool:
        address = _address(request.remote or "")
        return address is not None and self._is_proxy(address)

    def _is_proxy(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address in network for network in self._proxies)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address; of an IPv4 one that is written as IPv6 the IPv4 one, so that it has one spelling."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _only(request: web.Request, name: str, default: str = "") -> str:
    """The value of a header that is there once and lists nothing; empty if it is not so."""
    values = request.headers.getall(name, (default,))
    return values[0].strip() if len(values) == 1 and "," not in values[0] else ""


def _host_name(host: str) -> str:
    """The name in `name` or `name:port`; empty if it is neither."""
    name, colon, port = host.partition(":")
    right = name and name.replace("-", "").replace(".", "").isalnum() and name.isascii()
    return name if right and (not colon or (port.isascii() and port.isdecimal())) else ""
