"""How Twilio signs what it sends, written from its documentation on webhook security.

The value of `X-Twilio-Signature` is base64 of HMAC-SHA1 under the account's auth token over the address as it was
asked, followed by every form field's name and value, sorted by name, with nothing between them.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit

Ports = Literal["as-is", "added", "left-out"]
"""Which port Twilio signs: that of the address, the scheme's own where there is none, or none at all."""

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def sign(auth_token: str, url: str, params: Iterable[tuple[str, str]] = (), *, ports: Ports = "as-is") -> str:
    """The signature of one request.

    Args:
        auth_token: Secret of the account.
        url: The whole address with its query. A WebSocket is signed with `ws` or `wss`, as it stands in the TwiML.
        params: Fields of a form that is posted; repeated values of a name count once. Nothing for GET and WebSockets.
        ports: Twilio signs some requests with the port and some without, so a server has to try both.
    """
    text = with_ports(url, ports) + "".join(name + value for name, value in sorted(set(params)))
    digest = hmac.new(auth_token.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode("ascii")


def with_ports(url: str, ports: Ports) -> str:
    """The address with the port that is signed."""
    parts = urlsplit(url)
    host, rest = parts.netloc, url[len(f"{parts.scheme}://{parts.netloc}") :]
    if ports == "added" and parts.port is None:
        host = f"{host}:{_DEFAULT_PORTS[parts.scheme]}"
    elif ports == "left-out" and parts.port is not None:
        host = host.rpartition(":")[0]
    return f"{parts.scheme}://{host}{rest}"
