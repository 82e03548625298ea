"""One event, one effect: a signed request that comes again, however it is spelled and whatever happened in between."""

import asyncio
import base64
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

import pytest
import pytest_asyncio
from twilio_door import SIGNATURE, Answered, Asked, ask, fields, together
from twilio_scenes import Stage, stage

pytestmark = [pytest.mark.faults, pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="module")]

PATH = "/voice/webhook"
GOODBYE = "I'm sorry, I can't go on with this call. Goodbye."
WORDS = "What time is it?"
REPLY = "It is nine."


@dataclass
class Line:
    """The carrier of a running service."""

    scene: Stage

    @property
    def url(self) -> str:
        return f"{self.scene.line.service.url}{PATH}"

    def form(self, **changes: str) -> dict[str, str]:
        return fields(**changes)

    async def ask(self, asked: Asked) -> Answered:
        return await asyncio.to_thread(ask, asked)

    async def at_once(self, asked: Asked, times: int = 8) -> set[Answered]:
        return set(_same(answer) for answer in await asyncio.to_thread(together, asked, times))

    async def records(self, form: dict[str, str]) -> list[dict[str, Any]]:
        calls = await self.scene.client.list_calls(limit=1000)
        return [call for call in calls if call["carrierCallId"] == form["CallSid"]]

    async def resources(self) -> dict[str, Any]:
        return (await self.scene.client.status())["service"]["resources"]

    async def end(self, form: dict[str, str]) -> None:
        await self.ask(Asked.signed(self.url, {**form, "CallStatus": "completed"}))

    async def restart(self, *, kill: bool, change: Any = None) -> None:
        """Stop the service or kill it, and start it on the same state; `change` gets its database in between."""
        service = self.scene.line.service

        def again() -> None:
            if kill:
                service.kill()
            else:
                service.stop()
            if change is not None:
                with closing(sqlite3.connect(service.state_dir / "calls.db")) as database, database:
                    change(database)
            service.start()

        await asyncio.to_thread(again)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line() -> AsyncIterator[Line]:
    settings = {"limits": {"mediaGraceMs": 20_000}, "maxConcurrentCalls": 30}
    async with stage(settings, respond=lambda messages, body: REPLY) as scene:
        yield Line(scene)


def _same(answer: Answered) -> Answered:
    """An answer without the time in its head."""
    return replace(answer, head=re.sub(r"(?m)^Date: .*$", "", answer.head))


def stream_token(answer: Answered) -> str:
    (stream,) = re.findall(r'<Stream url="[^"]*/([^"/]+)"', answer.body)
    return stream


def respelled(asked: Asked) -> Asked:
    """The same signature: of the last letter before the `=` base64 does not look at two bits."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    text = asked.signature
    last = letters[letters.index(text[-2]) ^ 1]
    other = text[:-2] + last + "="
    assert other != text
    assert base64.b64decode(other) == base64.b64decode(text)
    return asked.but(**{SIGNATURE: other})


def recut(asked: Asked) -> Asked:
    """Other fields with the same signature: `FromCity` is empty, so its name may as well be a part of the next."""
    body = asked.body.replace(b"FromCity=&FromCountry=US", b"FromCityFrom=Country" + b"US")
    assert body != asked.body
    return replace(asked, body=body)


async def test_an_offer_that_comes_eight_times_at_once_makes_one_call_and_one_token(line):
    form = line.form()
    tokens = (await line.resources())["tokens"]
    asked = Asked.signed(line.url, form)
    (answer,) = await line.at_once(asked)
    assert answer.status == 200
    assert len(await line.records(form)) == 1
    assert (await line.resources())["tokens"] == tokens + 1
    for again in (asked, respelled(asked), recut(asked), asked.but(I_Twilio_Idempotency_Token="another")):
        assert _same(await line.ask(again)) == answer, "byte for byte"
    assert len(await line.records(form)) == 1
    assert (await line.resources())["tokens"] == tokens + 1
    await line.end(form)


async def test_what_a_caller_said_comes_eight_times_at_once_and_is_one_turn(line):
    form = line.form()
    answer = await line.ask(Asked.signed(line.url, form))
    while "<Gather" not in answer.body:  # no stream comes about, so the carrier asks how to go on
        over = ElementTree.fromstring(answer.body).findtext("Redirect")
        answer = await line.ask(Asked.signed(over, {**form, "CallStatus": "in-progress"}))
    gather = ElementTree.fromstring(answer.body).find("Gather")
    said = {**form, "CallStatus": "in-progress", "SpeechResult": WORDS, "Confidence": "0.9"}
    (answer,) = await line.at_once(Asked.signed(gather.get("action"), said))
    assert answer.status == 200
    asked = line.scene.asked(WORDS)
    assert len(asked) == 1, "the model was asked once"
    await line.end(form)
    (record,) = await line.records(form)
    heard = [text for text in record["transcript"] if text["speaker"] == "caller"]
    assert [text["text"] for text in heard] == [WORDS]


@pytest.mark.parametrize("kill", [False, True], ids=["restart", "kill -9"])
async def test_after_a_restart_a_request_gets_the_answer_it_got_and_nothing_more(line, kill):
    form = line.form()
    asked = Asked.signed(line.url, form)
    answer = _same(await line.ask(asked))
    token = stream_token(answer)
    if not kill:
        await line.end(form)
    await line.restart(kill=kill)
    before = await line.records(form)
    assert len(before) == 1
    for again in (asked, respelled(asked), recut(asked)):
        assert await line.at_once(again, 3) == {answer}
    assert [call["callId"] for call in await line.records(form)] == [before[0]["callId"]]
    resources = await line.resources()
    assert (resources["tokens"], resources["streams"]) == (0, 0), f"{token[:4]}... has died with its process"
    # Another request about the call, which the carrier would send next, ends it well.
    over = ElementTree.fromstring(answer.body).findtext("Redirect")
    ended = await line.ask(Asked.signed(over, {**form, "CallStatus": "in-progress"}))
    assert ended.status == 200
    assert GOODBYE in ended.body
    assert "<Hangup" in ended.body


async def test_a_service_that_died_before_it_answered_makes_no_second_call_of_the_repetition(line):
    form = line.form()
    asked = Asked.signed(line.url, form)
    await line.ask(asked)
    await line.restart(kill=True, change=lambda database: database.execute("DELETE FROM webhook_answers"))
    async with asyncio.timeout(20):  # it is asked for at the carrier first
        while not (await line.records(form))[0]["endReason"]:
            await asyncio.sleep(0.05)
    answer = await line.ask(asked)
    assert answer.status == 200
    assert GOODBYE in answer.body
    assert "<Hangup" in answer.body
    assert len(await line.records(form)) == 1
    assert (await line.resources())["tokens"] == 0


async def test_what_is_kept_of_requests_does_not_help_to_sign_one(line):
    form = line.form()
    asked = Asked.signed(line.url, form)
    await line.ask(asked)
    await line.end(form)
    kept = b"".join(file.read_bytes() for file in line.scene.line.service.state_dir.glob("calls.db*"))
    assert form["CallSid"].encode() in kept
    signature = base64.b64decode(asked.signature)
    for spelling in (signature, signature.hex().encode(), asked.signature.encode()):
        assert spelling not in kept
