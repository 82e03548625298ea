"""Who signed a webhook: Twilio's two signature schemes, as the official SDK computes them.

The auth token signs with HMAC-SHA1. A shared key signs with HMAC-SHA256, and the request then names the key in
`X-Twilio-Webhooks-Signature-Settings`. Anybody can write that header, so it only chooses among the configured keys:
where keys are configured nothing else is taken, and without keys it never leads anywhere.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from twilio.request_validator import (  # type: ignore[import-untyped] # the SDK ships no types
    HMAC_SHA1,
    HMAC_SHA256,
    RequestValidator,
)

from openclaw_voicecall.errors import InvalidSignature
from openclaw_voicecall.providers.twilio.webhooks import SIGNATURE_HEADER

SETTINGS_HEADER = "x-twilio-webhooks-signature-settings"

_DIGEST_BYTES = {HMAC_SHA1: 20, HMAC_SHA256: 32}
_DEFAULT_PORTS = {"https": 443, "http": 80}
_ACCOUNT = "account"
"""The signer whose key is the auth token. Shared keys have longer ids, and are never configured beside it."""


class SignatureCheck:
    """Checks signatures against the secrets of one account.

    Args:
        auth_token: The account's auth token.
        signing_keys: Shared keys by id; if there are any, the auth token signs nothing.
    """

    def __init__(self, auth_token: str, signing_keys: Mapping[str, str]) -> None:
        self._default = None if signing_keys else RequestValidator(auth_token)
        self._keys = {name: RequestValidator(secret) for name, secret in signing_keys.items()}

    def check(self, urls: Iterable[str], params: Mapping[str, str], headers: Mapping[str, str]) -> str:
        """Check a form request.

        Args:
            urls: Addresses that Twilio may have asked, all of them ours; each counts with and without its port.
            params: Fields of the body.
            headers: Headers by their lower-case names.

        Returns:
            A name of this signature, made from its key and its decoded bytes, so that no other spelling of it
            has another name.

        Raises:
            InvalidSignature: It is missing, malformed, by an unknown key, or wrong.
        """
        text = headers.get(SIGNATURE_HEADER, "")
        if not text:
            raise InvalidSignature("the request carries no signature of Twilio")
        key, validator, algorithm = self._signer(headers.get(SETTINGS_HEADER))
        signature = _decode(text, _DIGEST_BYTES[algorithm])
        right = False
        for url in urls:
            for variant in _port_variants(url):
                expected = base64.b64decode(_compute(validator, variant, params, algorithm))
                right |= hmac.compare_digest(expected, signature)
        if not right:
            raise InvalidSignature(
                "the signature does not match; check twilio.authToken, and that publicUrl is the address that the "
                "number has at Twilio"
            )
        return f"{key}:{signature.hex()}"

    def _signer(self, settings: str | None) -> tuple[str, RequestValidator, str]:
        if settings is None:
            if self._default is None:
                raise InvalidSignature("the request is not signed with one of twilio.signingKeys")
            return _ACCOUNT, self._default, HMAC_SHA1
        said: dict[str, str] = {}
        for part in settings.split(","):
            name, _, value = part.partition("=")
            if name.strip() in said:
                raise InvalidSignature("the signature settings name something twice")
            said[name.strip()] = value.strip()
        key = said.get("key", "")
        if key not in self._keys:
            raise InvalidSignature("the request is signed with a key that twilio.signingKeys does not have")
        if said.get("algorithm") != HMAC_SHA256:
            raise InvalidSignature(f"signatures by shared keys are {HMAC_SHA256}")
        return key, self._keys[key], HMAC_SHA256


def _compute(validator: RequestValidator, url: str, params: Mapping[str, str], algorithm: str) -> str:
    try:
        return str(validator.compute_signature(url, dict(params), algorithm))
    except UnicodeEncodeError:
        raise InvalidSignature("the request holds text that cannot be signed") from None


def _decode(text: str, length: int) -> bytes:
    try:
        signature = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        signature = b""
    if len(signature) != length:
        raise InvalidSignature("the signature is not in the form of Twilio's")
    return signature


def _port_variants(url: str) -> Iterator[str]:
    """The address as it is, and with its port left out or added: Twilio signs either."""
    yield url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return
    rest = url[len(f"{parts.scheme}://{parts.netloc}") :]
    if port is not None:
        yield f"{parts.scheme}://{parts.netloc.rpartition(':')[0]}{rest}"
    elif parts.scheme in _DEFAULT_PORTS:
        yield f"{parts.scheme}://{parts.netloc}:{_DEFAULT_PORTS[parts.scheme]}{rest}"
