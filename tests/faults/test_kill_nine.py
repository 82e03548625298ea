"""`kill -9` of the service in every state of a call: nothing is lost, nothing is left running, nothing is redialled."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.testing.service import RunningService

pytestmark = [pytest.mark.faults, pytest.mark.unhurried, pytest.mark.timeout(240)]

WAITS = "name: waits\nring: {ring}\nanswer: {answer}\nsteps:\n{steps}"
TALK = (
    '  - wait: agent\n    pause: 0.3\n  - say: "Can you explain what you can do for me?"\n  - silence: 30\n'
)
LONG = "This message is long on purpose, so that there is time to stop the service while it is being spoken."


def _agent(state: str) -> Callable[[dict], bool]:
    return lambda entry: entry["states"]["agent"] == state


def _event(name: str) -> Callable[[dict], bool]:
    return lambda entry: entry["event"] == name


def _said(speaker: str) -> Callable[[dict], bool]:
    return lambda entry: any(
        order["command"] == "AppendTranscript" and order["speaker"] == speaker for order in entry["commands"]
    )


# What the journal says at the moment of the kill, the script that leads there, and what must be in the transcript.
MOMENTS = {
    "dialling": (_event("CallPlaced"), {"ring": 20, "answer": "yes"}, LONG, []),
    "leg known": (_event("leg-known"), {"ring": 20, "answer": "yes"}, LONG, []),
    "ringing": (_event("CallRinging"), {"ring": 20, "answer": "yes"}, LONG, []),
    "answered": (_event("CallAnswered"), {"ring": 0.1, "answer": "yes"}, LONG, []),
    "media open": (_event("MediaConnected"), {"ring": 0.1, "answer": "yes"}, LONG, []),
    "speaking": (_event("first-audio"), {"ring": 0.1, "answer": "yes"}, LONG, []),
    "listening": (_said("agent"), {"ring": 0.1, "answer": "yes"}, "Hello.", ["agent"]),
    "caller speaks": (_event("SpeechStarted"), {"ring": 0.1, "answer": "yes"}, "Hello.", ["agent"]),
    "answering": (_said("caller"), {"ring": 0.1, "answer": "yes"}, "Hello.", ["agent", "caller"]),
    "ending": (_event("HangUpRequested"), {"ring": 0.1, "answer": "yes"}, LONG, []),
}


async def _place_and_reach(
    socket: str, script: Path, message: str, moment: Callable[[dict], bool], end: bool
) -> str:
    async with ControlClient(socket) as client:
        call = await client.place_call(
            {"to": "+15550001234", "message": message, "mode": "conversation", "script": str(script)}
        )
        async for item in client.feed(call_id=call["callId"]):
            entry = item["entry"]
            if end and entry["event"] == "MediaConnected":
                await client.end_call(call["callId"])
            if moment(entry):
                return str(call["callId"])
    raise AssertionError("the call ended before the moment came")


def _phones(state: Path) -> list[int]:
    """Processes of phones whose job belongs to this state directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            output = os.readlink(process / "fd/2")
        except OSError:
            continue
        if b"openclaw_voicecall.providers.local.phone" in command and output.startswith(str(state)):
            found.append(int(process.name))
    return found


def _wait_for_no_phones(state: Path) -> None:
    async def wait() -> None:
        async with asyncio.timeout(10):
            while _phones(state):
                await asyncio.sleep(0.1)

    asyncio.run(wait())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):
    with RunningService(tmp_path_factory.mktemp("kill") / "s", port=0) as running:
        yield running


@pytest.mark.parametrize("name", MOMENTS)
def test_a_killed_service_loses_no_call_and_dials_none_again(service, tmp_path, name):
    moment, values, message, speakers = MOMENTS[name]
    script = tmp_path / "phone.yaml"
    script.write_text(WAITS.format(**values, steps=TALK))
    socket = service.cli("status").json["service"]["socket"]
    before = {call["callId"] for call in service.cli("calls").json}
    call_id = asyncio.run(_place_and_reach(socket, script, message, moment, end=name == "ending"))
    service.kill()

    left = service.cli("calls").json
    record = next(call for call in left if call["callId"] == call_id)
    if name != "ending":  # that call may be over and closed before the kill
        assert record["endedAt"] is None, "without a service the record is as the crash left it"

    service.start()
    after = service.cli("calls").json
    assert {call["callId"] for call in after} == before | {call_id}, (
        "nothing was lost, and nothing dialled anew"
    )
    record = next(call for call in after if call["callId"] == call_id)
    assert record["endedAt"] is not None
    expected = {("interrupted", "error")}
    if name == "ending":  # or the phone says how it ended, or the service still wrote that it hung up
        expected |= {("completed", "completed"), ("agent-hung-up", "hangup-bot")}
    assert (record["endReason"], record["state"]) in expected
    if record["endReason"] == "interrupted":
        assert "service died" in record["detail"]
    spoken = [line["speaker"] for line in record["transcript"]]
    assert spoken[: len(speakers)] == speakers, "what was on record stays on record"
    assert service.cli("status").json["calls"] == []
    _wait_for_no_phones(service.state_dir)


def test_the_record_is_in_the_store_before_anything_is_dialled(tmp_path, free_port):
    """The phone is the thing that is dialled: when it starts, the record must be there for others to read."""
    state = tmp_path / "s"
    script = tmp_path / "phone.yaml"
    script.write_text(WAITS.format(ring=20, answer="yes", steps=TALK))
    with RunningService(state, port=free_port) as service:
        socket = service.cli("status").json["service"]["socket"]

        async def place() -> list[str]:
            async with ControlClient(socket) as client:
                await client.place_call(
                    {"to": "+15550001234", "message": LONG, "mode": "conversation", "script": str(script)}
                )
                async with asyncio.timeout(10):
                    while not _phones(state):
                        await asyncio.sleep(0.001)
                store = await SqliteStore.open(state / "calls.db", read_only=True)
                try:
                    return [record.to_number for record in await store.list_calls()]
                finally:
                    await store.close()

        assert asyncio.run(place()) == ["+15550001234"]
        call = service.cli("calls").json[0]
        service.cli("end", call["callId"])
