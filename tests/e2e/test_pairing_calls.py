"""A phone nobody knows calls the running service: it hears a code, is approved, talks, and is remembered."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from line_calls import Rung, ring, script, with_client

from openclaw_voicecall.cli.client import ControlClient
from openclaw_voicecall.testing.service import RunningService

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

STRANGER = "+15550004321"
RECALLING = '''
from contextlib import asynccontextmanager

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.responder import TextDelta
from openclaw_voicecall.api.spec import ResponderSpec


class Recalling:
    """Says what the caller asked first, as far as it is told."""

    async def respond(self, request):
        asked = [line.text for line in request.history if line.speaker == "caller"]
        yield TextDelta(f"You have asked {len(asked)} questions before.")


@asynccontextmanager
async def open_recalling(config, runtime, model):
    yield Recalling()


@hookimpl
def voicecall_register_responders(register):
    register(ResponderSpec(name="recalling", open=open_recalling))
'''


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it is told of ended calls."""

    told: list[dict] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.append({"id": self.headers["Idempotency-Key"], **json.loads(body)})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/ended"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory, address) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("pairing")
    (folder / "recalling_plugin.py").write_text(RECALLING)
    config = {
        "inboundPolicy": "pairing",
        "inboundGreeting": "Welcome back.",
        "phrases": {"pairing": "Your code is {code}. Again: {code}. The owner has to approve it."},
        "responseModel": "recalling",
        "notifyUrl": address,
        "plugins": {"modules": ["recalling_plugin"]},
    }
    with RunningService(folder / "state", port=0, config=config, env={"PYTHONPATH": str(folder)}) as running:
        yield running


@pytest.fixture(scope="module")
def calls(service, tmp_path_factory) -> dict[str, Rung]:
    """Four calls, one after the other; after the first the owner approves what the phone heard."""
    folder = tmp_path_factory.mktemp("phones")

    async def ring_all(client: ControlClient) -> dict[str, Rung]:
        async def call(name: str, how: str, number: str) -> Rung:
            return await ring(service, client, folder, name, "--script", script(how), "--from", number)

        stranger = await call("stranger", "silent", STRANGER)
        service.cli("pairing", "approve", code_in(stranger))
        first = await call("first", "asks-once", STRANGER)
        second = await call("second", "asks-once", STRANGER)
        return {
            "stranger": stranger,
            "first": first,
            "second": second,
            "other": await call("other", "silent", "+15550009999"),
        }

    return with_client(service, ring_all)


def code_in(call: Rung) -> str:
    codes = re.findall(r"\d(?:, \d){5}", call.words("agent"))
    assert len(codes) == 2
    assert codes[0] == codes[1]
    return codes[0].replace(", ", "")


def test_a_stranger_hears_the_code_twice_and_is_hung_up(calls):
    call = calls["stranger"]
    assert call.record["answeredAt"] is not None
    assert call.record["endReason"] == "completed"
    assert call.witness.agent_sounds()
    assert call.report["endReason"] != "caller-hung-up"


def test_an_approved_caller_talks_with_the_agent(calls):
    agent = [line["text"] for line in calls["first"].record["transcript"] if line["speaker"] == "agent"]
    assert agent == ["Welcome back.", "You have asked 0 questions before."]


def test_the_second_talk_knows_of_the_first(calls):
    agent = [line["text"] for line in calls["second"].record["transcript"] if line["speaker"] == "agent"]
    assert agent == ["Welcome back.", "You have asked 1 questions before."]


def test_another_stranger_hears_another_code(calls):
    assert code_in(calls["other"]) != code_in(calls["stranger"])


def test_every_end_was_told(calls, service):
    service.stop()
    told = {entry["id"]: entry for entry in Receiver.told}
    assert len(Receiver.told) == len(calls)
    for call in calls.values():
        assert told[call.record["callId"]]["event"] == "callEnded"
        assert told[call.record["callId"]]["call"] == call.record
