"""Exact callers only: whatever looks like an allowed number is not one, and who hides theirs has none."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from twilio_scenes import Stage, stage
from vendor_line import OURS, SID

from openclaw_voicecall.testing.emulators.twilio_signing import sign

pytestmark = [pytest.mark.faults, pytest.mark.timeout(90)]

TOKEN = "emulated-token"
FRIEND = "+15550003001"
LOOK_ALIKES = {
    "one digit more in front": "+115550003001",
    "one digit more behind": "+155500030010",
    "one digit less in front": "+5550003001",
    "one digit less behind": "+1555000300",
    "only its end": "3001",
    "only its beginning": "+1555",
    "another country behind the same digits": "+4915550003001",
    "without plus": "15550003001",
    "two pluses": "++15550003001",
    "a full-width plus": "\N{FULLWIDTH PLUS SIGN}15550003001",
    "a small plus": "\N{SMALL PLUS SIGN}15550003001",
    "international prefix 00": "0015550003001",
    "international prefix 011": "01115550003001",
    "plus and zeros": "+0015550003001",
    "trunk zero": "+105550003001",
    "full-width digits": "+1555000300\N{FULLWIDTH DIGIT ONE}",
    "arabic digits": "+\N{ARABIC-INDIC DIGIT ONE}5550003001",
    "mathematical digits": "+1555000300\N{MATHEMATICAL BOLD DIGIT ONE}",
    "superscript digit": "+1555000300\N{SUPERSCRIPT ONE}",
    "a space in front": " +15550003001",
    "a space behind": "+15550003001 ",
    "a space for the plus": " 15550003001",
    "spaces inside": "+1 555 000 3001",
    "dashes": "+1-555-000-3001",
    "brackets": "+1(555)0003001",
    "a no-break space": "+15550003001\N{NO-BREAK SPACE}",
    "a zero-width space": "+1555000\N{ZERO WIDTH SPACE}3001",
    "right to left mark": "\N{RIGHT-TO-LEFT MARK}+15550003001",
    "a trailing newline": "+15550003001\n",
    "carriage return and newline": "+15550003001\r\n",
    "a null": "+15550003001\x00",
    "an extension": "+15550003001;ext=7",
    "an extension as letters": "+15550003001x7",
    "a pause": "+15550003001,7",
    "a telephone address": "tel:+15550003001",
    "a SIP address": "sip:+15550003001@example.com",
    "a SIP address of our host": "sip:+15550003001@127.0.0.1;user=phone",
    "a secure SIP address": "sips:+15550003001@example.com",
    "a client": "client:+15550003001",
    "a display name": '"+15550003001" <sip:mallory@example.com>',
    "percent-encoded twice": quote(FRIEND, safe=""),
    "two numbers": "+15550003001,+15550009999",
    "a list": "+15550003001 +15550003001",
    "a float": "+15550003001.0",
    "an exponent": "+1.5550003001e10",
    "JSON": '["+15550003001"]',
    "wildcard": "+1555000300?",
    "star": "*",
    "nothing": "",
    "a plus": "+",
    "anonymous": "anonymous",
    "Anonymous": "Anonymous",
    "restricted": "Restricted",
    "unavailable": "unavailable",
    "keypad anonymous": "+266696687",
    "keypad restricted": "+7378742833",
    "keypad unknown": "+8656696",
    "keypad unavailable": "+86282452253",
    "no caller id": "+464",
    "an anonymous SIP address": "sip:anonymous@anonymous.invalid",
}
"""What may stand in `From` besides the allowed number itself."""
WITHOUT_NUMBER = (
    "",
    "+",
    "anonymous",
    "Restricted",
    "+266696687",
    "+7378742833",
    "+8656696",
    "+464",
    "sip:anonymous@anonymous.invalid",
)
"""Callers that hide their number, as carriers write them."""


@dataclass(frozen=True)
class Answer:
    """What a webhook came back with."""

    status: int
    text: str
    call_sid: str

    @property
    def lets_in(self) -> bool:
        """Whether the caller gets anywhere."""
        return "<Connect" in self.text or "<Gather" in self.text or "<Say" in self.text


class Carrier:
    """Signs and sends what Twilio would."""

    def __init__(self, on: Stage, http: aiohttp.ClientSession) -> None:
        self.url = f"{on.line.service.url}/voice/webhook"
        self._http = http

    async def rings(self, caller: str | None, **changes: str | None) -> Answer:
        """A call from this caller, signed with the right token; over at once. None leaves a field out."""
        fields: dict[str, Any] = {
            "AccountSid": SID,
            "ApiVersion": "2010-04-01",
            "CallSid": f"CA{secrets.token_hex(16)}",
            "CallStatus": "ringing",
            "Direction": "inbound",
            "From": caller,
            "Caller": caller,
            "To": OURS,
            "Called": OURS,
            **changes,
        }
        answer = await self.post({name: value for name, value in fields.items() if value is not None})
        if answer.lets_in:
            await self.post({**fields, "CallSid": answer.call_sid, "CallStatus": "completed"})
        return answer

    async def post(self, fields: Mapping[str, str]) -> Answer:
        """Send a form."""
        headers = {"X-Twilio-Signature": sign(TOKEN, self.url, fields.items())}
        async with self._http.post(self.url, data=dict(fields), headers=headers) as response:
            return Answer(response.status, await response.text(), fields["CallSid"])


async def ask_as_everybody() -> tuple[dict[str, Answer], list[dict[str, Any]], list[dict[str, Any]]]:
    closed = {"inboundPolicy": "allowlist", "allowFrom": [FRIEND], "skipSignatureVerification": False}
    async with stage(closed) as on, aiohttp.ClientSession() as http:
        carrier = Carrier(on, http)
        answers = {name: await carrier.rings(caller) for name, caller in LOOK_ALIKES.items()}
        answers["no From at all"] = await carrier.rings(None)
        # The allowed number in every other field, where a careless reader might find it.
        answers["other fields"] = await carrier.rings(
            "+15550009999", Caller=FRIEND, CallerName=FRIEND, ForwardedFrom=FRIEND, FromCity=FRIEND
        )
        answers["as the number called"] = await carrier.rings("+15550009999", To=FRIEND, Called=FRIEND)
        refused = await on.client.list_calls(limit=200)
        answers["the friend"] = await carrier.rings(FRIEND)
        everybody = await on.client.list_calls(limit=200)
    return answers, refused, everybody


async def call_openly() -> tuple[list[Answer], list[dict[str, Any]]]:
    async with stage({"skipSignatureVerification": False}) as on, aiohttp.ClientSession() as http:
        carrier = Carrier(on, http)
        answers = [await carrier.rings(caller) for caller in WITHOUT_NUMBER]
        return answers, await on.client.list_calls(limit=200)


@pytest.fixture(scope="module")
def everything():
    async def both():
        return await asyncio.gather(ask_as_everybody(), call_openly())

    return asyncio.run(both())


@pytest.fixture(scope="module")
def closed(everything):
    return everything[0]


@pytest.mark.parametrize("who", [*LOOK_ALIKES, "no From at all", "other fields", "as the number called"])
def test_a_look_alike_of_an_allowed_number_is_refused(closed, who):
    answer = closed[0][who]
    assert not answer.lets_in, answer
    assert answer.status in (200, 400), answer
    assert answer.status == 400 or "<Reject" in answer.text


def test_nobody_who_was_refused_has_a_call_that_was_answered(closed):
    _, refused, _ = closed
    assert all(record["answeredAt"] is None for record in refused)
    assert {record["endReason"] for record in refused} == {"rejected"}
    assert FRIEND not in {record["from"] for record in refused}


def test_the_allowed_number_itself_gets_through(closed):
    answers, refused, everybody = closed
    assert answers["the friend"].status == 200
    assert "<Connect><Stream" in answers["the friend"].text
    (friend,) = [record for record in everybody if record not in refused]
    assert friend["from"] == FRIEND


def test_who_hides_their_number_is_let_in_by_an_open_line_and_has_none_on_record(everything):
    answers, records = everything[1]
    assert all("<Connect><Stream" in answer.text for answer in answers), answers
    assert len(records) == len(WITHOUT_NUMBER)
    assert {record["from"] for record in records} == {""}


def test_callers_without_a_number_share_no_memory(everything):
    _, records = everything[1]
    keys = [record["metadata"]["sessionKey"] for record in records]
    assert len(set(keys)) == len(keys)
