"""Only the carrier can speak to the webhook: thousands of requests that it did not sign change nothing."""

import asyncio
import base64
import gzip
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from twilio_door import FORM, SIGNATURE, TOKEN, Asked, ask, ask_all, fields, repeated
from twilio_scenes import Stage, stage

from openclaw_voicecall.testing.emulators.twilio_signing import sign

pytestmark = [pytest.mark.faults, pytest.mark.timeout(90)]

COUNT = 5000
PATH = "/voice/webhook"
OTHER_ACCOUNT = "AC" + "9" * 32


def no_signature(url: str) -> Asked:
    return Asked.signed(url, fields()).but(**{SIGNATURE: None})


def random_signature(url: str) -> Asked:
    signature = base64.b64encode(secrets.token_bytes(20)).decode()
    return Asked.signed(url, fields()).but(**{SIGNATURE: signature})


def empty_signature(url: str) -> Asked:
    return Asked.signed(url, fields()).but(**{SIGNATURE: ""})


def signed_with(token: str) -> Callable[[str], Asked]:
    return lambda url: Asked.signed(url, fields(), token=token)


def signed_for(address: str) -> Callable[[str], Asked]:
    return lambda url: Asked.signed(url, fields(), signed_url=address)


def signed_as(change: Callable[[str], str]) -> Callable[[str], Asked]:
    """The right signature, spelled as base64 is not."""

    def forge(url: str) -> Asked:
        asked = Asked.signed(url, fields())
        return asked.but(**{SIGNATURE: change(asked.signature)})

    return forge


def other_body(url: str) -> Asked:
    return replace(Asked.signed(url, fields()), body=urlencode(fields()).encode())


def other_query(url: str) -> Asked:
    return replace(Asked.signed(url, fields()), url=f"{url}?n=1")


def cut(old: str, new: str) -> Callable[[str], Asked]:
    """A genuine request whose names and values are cut anew, so that its signature is right all the same."""

    def forge(url: str) -> Asked:
        form = fields()
        asked = Asked.signed(url, form)
        body = asked.body.decode()
        assert old in body
        return replace(asked, body=body.replace(old, new).encode())

    return forge


def first_into_the_query(url: str) -> Asked:
    form = fields()
    asked = Asked.signed(url, form)
    account = form.pop("AccountSid")
    return replace(asked, url=f"{url}AccountSid{account}", body=urlencode(form).encode())


def first_into_a_query(url: str) -> Asked:
    form = fields()
    asked = Asked.signed(f"{url}?x=1", form)
    account = form.pop("AccountSid")
    return replace(asked, url=f"{url}?x=1AccountSid{account}", body=urlencode(form).encode())


def repeated_field(name: str) -> Callable[[str], Asked]:
    def forge(url: str) -> Asked:
        asked = Asked.signed(url, fields())
        return replace(asked, body=asked.body + f"&{name}=evil".encode())

    return forge


def repeated_and_signed(url: str) -> Asked:
    pairs = [*fields().items(), ("From", "+15550009999")]
    headers = (("Content-Type", FORM), (SIGNATURE, sign(TOKEN, url, pairs)))
    return Asked(url, urlencode(pairs).encode(), headers)


def with_field(**changes: str) -> Callable[[str], Asked]:
    """Signed with the right token, but not in the shape of Twilio's."""
    return lambda url: Asked.signed(url, fields(**changes))


def of_type(content_type: str) -> Callable[[str], Asked]:
    return lambda url: Asked.signed(url, fields()).but(Content_Type=content_type)


def as_json(url: str) -> Asked:
    body = json.dumps(fields()).encode()
    address = f"{url}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    return Asked(address, body, (("Content-Type", "application/json"), (SIGNATURE, sign(TOKEN, address))))


def compressed(url: str) -> Asked:
    asked = Asked.signed(url, fields()).but(Content_Encoding="gzip")
    return replace(asked, body=gzip.compress(asked.body))


def bomb(url: str) -> Asked:
    return replace(Asked.signed(url, fields()).but(Content_Encoding="gzip"), body=BOMB)


def signed_twice(url: str) -> Asked:
    asked = Asked.signed(url, fields())
    return replace(asked, headers=(*asked.headers, (SIGNATURE, asked.signature)))


def with_settings(url: str) -> Asked:
    settings = "key=account,algorithm=HMAC_SHA1"
    return Asked.signed(url, fields()).but(**{"X-Twilio-Webhooks-Signature-Settings": settings})


def forwarded(url: str) -> Asked:
    asked = Asked.signed(url, fields(), signed_url="https://evil.example/voice/webhook")
    return asked.but(X_Forwarded_Host="evil.example", X_Forwarded_Proto="https", Host="evil.example")


def at(path: str) -> Callable[[str], Asked]:
    return lambda url: Asked.signed(url.removesuffix(PATH) + path, fields())


def with_method(method: str) -> Callable[[str], Asked]:
    return lambda url: replace(Asked.signed(url, fields()), method=method)


def too_long(url: str) -> Asked:
    return Asked.signed(url, fields(FromCity="x" * 70_000))


BOMB = gzip.compress(bytes(20_000_000))
FORGERIES: dict[str, Callable[[str], Asked]] = {
    "no signature": no_signature,
    "a random one": random_signature,
    "an empty one": empty_signature,
    "another token": signed_with("another-token"),
    "no token": signed_with(""),
    "the account's id for a token": signed_with("AC" + "0" * 31 + "1"),
    "of another body": other_body,
    "of another query": other_query,
    "for another host": signed_for("https://voice.example.com/voice/webhook"),
    "for another path": signed_for("http://127.0.0.1/status"),
    "for a forwarded host": forwarded,
    "url-safe base64": signed_as(lambda text: text.replace("=", "") + "-_=="),
    "with something behind": signed_as(lambda text: f"{text}AAAA"),
    "with a space within": signed_as(lambda text: f"{text[:5]} {text[5:]}"),
    "hex": signed_as(lambda text: base64.b64decode(text).hex()),
    "other letters": signed_as(lambda text: text.swapcase()),
    "no ASCII": signed_as(lambda text: "ÿ" + text),
    "a list": signed_as(lambda text: f"{text},{text}"),
    "there twice": signed_twice,
    "settings that choose nothing": with_settings,
    "the caller cut away": cut("&From=%2B15550002001", "From=%2B15550002001"),
    "the direction cut": cut("Direction=inbound", "Dir=ectioninbound"),
    "the status cut": cut("CallStatus=ringing", "CallSta=tusringing"),
    "the account in the path": first_into_the_query,
    "the account in the query": first_into_a_query,
    "a field twice": repeated_field("From"),
    "the same field twice": repeated_field("CallSid"),
    "a field twice, and signed": repeated_and_signed,
    "another account": with_field(AccountSid=OTHER_ACCOUNT),
    "an account of its own making": with_field(AccountSid="AC"),
    "no call": with_field(CallSid="CA1"),
    "a call that goes on": with_field(CallSid="CA" + "a" * 32 + "\n"),
    "a direction of its own": with_field(Direction="sideways"),
    "a status of its own": with_field(CallStatus="owned"),
    "a caller of its own": with_field(From="+1555' OR 1=1 --"),
    "full-width digits": with_field(From="+１５５５０００２００１"),
    "plain text": of_type("text/plain"),
    "JSON": as_json,
    "multipart": of_type("multipart/form-data; boundary=x"),
    "a type like it": of_type(FORM + "-x"),
    "a type behind another": of_type(f"text/plain; {FORM}"),
    "no type": of_type(""),
    "compressed": compressed,
    "a bomb": bomb,
    "too long": too_long,
    "a path below": at(f"{PATH}/twilio/x"),
    "a longer path": at(f"{PATH}x"),
    "a path with its end": at(f"{PATH}/"),
    "a path with dots": at(f"{PATH}/../webhook"),
    "a path in other letters": at("/Voice/Webhook"),
    "a path spelled otherwise": at("/voice/%77ebhook"),
    "another carrier's": at(f"{PATH}/telnyx"),
    "another method": with_method("PUT"),
    "a method of its own": with_method("DELETE"),
}


def forge(url: str, count: int):
    """So many forged requests of all kinds, each another one."""
    return ((name, FORGERIES[name](url)) for name in repeated(FORGERIES, count))


async def traces(scene: Stage) -> dict[str, object]:
    """All that a request can leave behind."""
    status = (await scene.client.status())["service"]
    line = scene.line
    return {
        "records": [call["callId"] for call in await scene.client.list_calls(limit=1000)],
        "live": status["liveCalls"],
        "tokens": status["resources"]["tokens"],
        "streams": status["resources"]["streams"],
        "asked of Twilio": len(line.twilio.moments),
        "asked of the model": len(line.chat.requests),
        "transcribed": len(line.openai.moments),
        "spoken": len(line.elevenlabs.moments),
    }


async def test_thousands_of_forged_requests_change_nothing():
    async with stage() as scene:
        url = f"{scene.line.service.url}{PATH}"
        before = await traces(scene)
        tally = await asyncio.to_thread(ask_all, forge(url, COUNT))
        assert tally.odd == []
        assert sum(tally.statuses.values()) == COUNT
        assert set(tally.statuses) <= {400, 401, 404, 405, 413, 415}
        assert await traces(scene) == before
        assert "Traceback" not in scene.line.service.stderr
        assert len(scene.line.service.stderr.splitlines()) < 100, "the log is not theirs to fill"
        # And whoever is the carrier is still believed.
        form = fields()
        genuine = await asyncio.to_thread(ask, Asked.signed(url, form))
        assert (genuine.status, "<Stream" in genuine.body) == (200, True)
        assert len(await scene.client.list_calls()) == len(before["records"]) + 1
        await asyncio.to_thread(ask, Asked.signed(url, form | {"CallStatus": "completed"}))
