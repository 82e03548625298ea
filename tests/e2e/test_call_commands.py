"""The commands that work on calls, against a running service or none, and what stopping a service does to a call."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import aiohttp
import pytest
from line_calls import command, dial, outcome_of, script, wait_for_end, wait_for_line, with_client

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.service import RunningService
from openclaw_voicecall.testing.wer import word_errors
from openclaw_voicecall.testing.witness import RATE, Witness

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

GREETING = "Hello, who is there?"
FIELDS = {
    "callId", "carrierCallId", "carrier", "direction", "from", "to", "mode", "state", "endReason", "createdAt",
    "answeredAt", "endedAt", "transcript",
}  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):
    with RunningService(tmp_path_factory.mktemp("commands") / "s", port=0) as running:
        yield running


def assert_has_every_field(record: dict) -> None:
    assert set(record) >= FIELDS
    for line in record["transcript"]:
        assert set(line) >= {"speaker", "text", "at", "interrupted"}
        assert line["speaker"] in ("agent", "caller")
        assert isinstance(line["interrupted"], bool)


def test_commands_speak_ask_press_keys_and_hang_up_during_a_call(service, tmp_path):
    async def cli(*arguments: str):
        return (await asyncio.to_thread(service.cli, *arguments)).json

    async def talk(client: ControlClient) -> dict:
        call = await dial(client, tmp_path, "companion", message=GREETING)
        call_id = call["callId"]
        watching = asyncio.create_task(asyncio.to_thread(service.cli, "tail", "--call-id", call_id))
        await wait_for_line(client, call_id, GREETING)
        seen = {"status": await cli("status"), "one": await cli("status", call_id)}
        seen["speak"] = await cli("speak", "--call-id", call_id, "--message", "One moment, please.")
        await wait_for_line(client, call_id, "One moment, please.")
        seen["continue"] = await cli("continue", call_id, "Am I talking to Sam?")
        seen["dtmf"] = await cli("dtmf", call_id, "12#")
        seen["emoji"] = (await asyncio.to_thread(service.cli, "speak", call_id, "🎉", check=False)).json
        seen["open"] = await cli("calls", "--open")
        seen["end"] = await cli("end", call_id)
        outcome = await outcome_of(client, tmp_path, "companion", call_id)
        feed = [json.loads(line) for line in (await watching).stdout.splitlines()]
        return seen | {"outcome": outcome, "tail": feed, "id": call_id}

    seen = with_client(service, talk)
    call_id, outcome = seen["id"], seen["outcome"]

    assert seen["status"]["service"]["pid"] == service.pid
    assert [call["callId"] for call in seen["status"]["calls"]] == [call_id]
    assert [call["callId"] for call in seen["open"]] == [call_id]
    for live in (seen["one"], seen["speak"], seen["dtmf"]):
        assert live["callId"] == call_id
        assert live["endedAt"] is None
        assert_has_every_field(live)

    assert word_errors([("Yes, this is Sam. Who is calling?", seen["continue"]["transcript"])]).errors <= 1
    assert seen["continue"]["call"]["callId"] == call_id
    assert outcome.report["digits"] == "12#"
    assert "message: there is nothing in it that can be spoken" in seen["emoji"]["error"]["message"]
    said = [line["text"] for line in outcome.lines("agent")]
    assert said[:3] == [GREETING, "One moment, please.", "Am I talking to Sam?"]
    assert len(outcome.witness.agent_sounds(min_gap_ms=500)) >= 3

    assert (outcome.record["endReason"], outcome.record["state"]) == ("agent-hung-up", "hangup-bot")
    assert_has_every_field(outcome.record)
    numbers = [item["entry"]["seq"] for item in seen["tail"]]
    assert numbers == list(range(1, len(numbers) + 1)), "tail shows a call from its beginning, without holes"
    assert seen["tail"][-1]["call"]["endReason"] == "agent-hung-up"

    shown = service.cli("show", call_id).json
    assert shown == outcome.record
    assert service.cli("show", outcome.record["carrierCallId"]).json == outcome.record
    assert service.cli("calls").json[0] == outcome.record
    over = service.cli("speak", call_id, "Hello?", check=False)
    assert (over.exit_code, over.json["error"]["code"]) == (66, "call-ended")


def test_a_detached_call_goes_on_when_the_command_is_gone(service):
    arguments = ("--to", "+15550001234", "--message", GREETING, "--script", script("hangs-up-mid-sentence"))
    placed = service.cli("call", *arguments, "--detach").json
    assert_has_every_field(placed)
    assert placed["endedAt"] is None
    record = with_client(service, lambda client: wait_for_end(client, placed["callId"]))
    assert record["endReason"] == "caller-hung-up"
    assert record["answeredAt"] is not None


def test_a_call_without_a_service_brings_its_own_and_leaves_a_record(tmp_path):
    recordings = tmp_path / "recordings"
    common = ("--state-dir", tmp_path / "s", "--json")
    order = (
        "--to",
        "+15550001234",
        "--message",
        GREETING,
        "--script",
        script("says-goodbye"),
        "--record",
        recordings,
    )
    done = command("call", *order, *common, folder=tmp_path)
    assert done.exit_code == 0
    record = done.json
    assert record["endReason"] == "agent-hung-up"
    assert [line["speaker"] for line in record["transcript"]] == ["agent", "caller", "agent"]
    assert_has_every_field(record)
    assert Path(record["recording"]).parent == recordings
    assert Path(record["recording"]).stat().st_size > 5 * RATE
    assert command("calls", *common, folder=tmp_path).json == [record]
    assert command("show", record["callId"], *common, folder=tmp_path).json == record
    nobody = command("status", *common, folder=tmp_path)
    assert (nobody.exit_code, nobody.json["error"]["code"]) == (69, "service-not-running")


def test_a_second_service_on_the_same_state_names_the_first_and_does_not_start(service):
    second = service.cli("serve", check=False)
    assert second.exit_code == 69
    assert second.json["error"]["code"] == "service-running"
    assert f"process {service.pid}" in second.json["error"]["message"]
    assert service.cli("status").json["service"]["pid"] == service.pid, "the first one is unharmed"


async def until_draining(http: aiohttp.ClientSession, service: RunningService) -> None:
    async with asyncio.timeout(5):
        while True:
            async with http.get(f"{service.url}/healthz") as response:
                if (await response.json())["status"] == "draining":
                    return


def stop_during_a_call(service: RunningService, folder: Path, *, twice: bool) -> dict:
    """Place a call, wait until it is answered and spoke, and stop the service, with one SIGTERM or with two."""

    async def run() -> dict:
        async with (
            ControlClient(service.state_dir / "control.sock") as client,
            aiohttp.ClientSession() as http,
        ):
            call = await dial(client, folder, "listens", message=GREETING)
            await wait_for_line(client, call["callId"], GREETING)
            if twice:
                os.kill(service.pid, signal.SIGTERM)
                await until_draining(http, service)
                began = time.monotonic()
                await asyncio.to_thread(service.stop)
                return {"id": call["callId"], "seconds": time.monotonic() - began}
            stopping = asyncio.create_task(asyncio.to_thread(service.stop))
            await until_draining(http, service)
            refused = await asyncio.to_thread(service.cli, "call", "--to", "+15550001234", check=False)
            await stopping
            return {"id": call["callId"], "refused": refused}

    return asyncio.run(run())


def test_a_service_that_is_stopped_says_goodbye_on_its_calls(tmp_path):
    config = {"serve": {"bind": "127.0.0.1", "port": 0, "drainSeconds": 2}}
    with RunningService(tmp_path / "s", port=0, config=config) as service:
        seen = stop_during_a_call(service, tmp_path, twice=False)
        record = service.cli("show", seen["id"]).json
    assert (record["endReason"], record["state"]) == ("shutdown", "hangup-bot")
    assert seen["refused"].exit_code == 75
    assert seen["refused"].json["error"]["code"] == "limit-exceeded"
    goodbye = record["transcript"][-1]
    assert (goodbye["speaker"], goodbye["interrupted"]) == ("agent", False)
    assert "Goodbye" in goodbye["text"]
    phone = Witness(tmp_path / "listens.wav", tmp_path / "listens.json")
    first, last = phone.agent_sounds(min_gap_ms=1000)
    assert last.start - first.end >= 1.0, "live calls may go on for drainSeconds"
    assert last.duration >= 2.0, "the goodbye was heard"
    assert last.end < phone.report["duration"], "to its end"


def test_a_second_sigterm_hangs_up_at_once(tmp_path):
    with RunningService(tmp_path / "s", port=0) as service:
        seen = stop_during_a_call(service, tmp_path, twice=True)
        record = service.cli("show", seen["id"]).json
    assert seen["seconds"] <= 3.0
    assert record["endReason"] == "shutdown"
    assert [line["text"] for line in record["transcript"]] == [GREETING]
