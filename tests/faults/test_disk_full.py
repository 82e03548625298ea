"""The disk of the state directory is full to the last byte while calls are live, and later it is not.

The service is the real one, and so is the disk: a small file system that is filled up.
"""

import asyncio
import shutil
import sqlite3
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twilio_scenes import Played, Stage, answering, together
from vendor_line import OURS, vendor_line

from openclaw_voicecall.errors import VoiceCallError
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing import disks
from openclaw_voicecall.testing.disks import SmallDisk
from openclaw_voicecall.testing.emulators.twilio import Person
from openclaw_voicecall.testing.ports import free_port
from openclaw_voicecall.testing.service import RunningService, ServiceCrashed

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not disks.available(), reason="this user may not mount a disk in a namespace"),
]

ROOM = 4 * 2**20
GREETING = "Hello."
ANSWERS = {
    "Before.": "There is room.",
    "Meanwhile.": "All goes on.",
    "And now?": "Still here.",
    "After.": "Good.",
}
TALK = [("agent", GREETING)]
TALK += [line for asked, told in list(ANSWERS.items())[:3] for line in (("caller", asked), ("agent", told))]
CONFIG = {
    "inboundGreeting": GREETING,
    "recording": {"enabled": True, "notice": ""},
    "phrases": {"goodbye": "We cannot talk now. Goodbye."},
}
HEADER = 44


def asking(on: Stage, *texts: str, then: Any = None) -> Any:
    """Somebody who asks these and hangs up after the last answer; `then` is waited for after the first one."""
    clips = {text: on.line.words(text) for text in texts}

    async def person(phone: Person) -> None:
        await phone.wait_until_heard(GREETING, on.line.agent)
        for text, clip in clips.items():
            await phone.say(clip)
            await phone.wait_until_heard(ANSWERS[text], on.line.agent)
            if then is not None and text == texts[0]:
                await then()
        phone.hang_up()

    return person


async def play() -> Played:
    """A call that begins with room and ends without, what others meet meanwhile, and calls once there is room again."""
    with tempfile.TemporaryDirectory(prefix="ovc-", dir="/tmp") as folder:
        state = Path(folder) / "state"
        with SmallDisk(state, ROOM) as disk:
            async with (
                vendor_line(
                    state, free_port(), config=CONFIG, inside=disk.inside, respond=answering(ANSWERS)
                ) as line,
                ControlClient(disk.view / "control.sock") as client,
            ):
                on = Stage(line, client)
                other = Path(folder) / "other"
                played = await together(
                    {"full": _full(on, disk), "start": asyncio.to_thread(_started_on_a_full_disk, other)}
                )
                played |= await together(
                    {
                        "inbound again": on.ring("+15550202005", asking(on, "After.")),
                        "outbound again": on.place("+15550202006", asking(on, "After."), message=GREETING),
                    }
                )
                played["log"] = line.service.stderr
                played["refusals"] = line.twilio.refusals
                for scene in [played["full"]["scene"], played["inbound again"], played["outbound again"]]:
                    recording = disk.view / "recordings" / Path(scene.record["recording"]).name
                    played[f"wav {scene.record['callId']}"] = _sound(recording)
            played["database"] = _copied(disk.view, Path(folder))
        return Played(played)


async def _full(on: Stage, disk: SmallDisk) -> dict[str, Any]:
    """The call during which the disk fills up, from its answer to its record."""
    seen: dict[str, Any] = {}

    async def fill() -> None:
        await asyncio.to_thread(disk.fill)
        before = len(on.line.twilio.calls)
        try:
            await on.client.place_call({"to": "+15550202002", "message": GREETING, "mode": "conversation"})
        except VoiceCallError as error:
            seen["refused"] = error
        seen["dialled"] = len(on.line.twilio.calls) - before
        seen["turned away"] = await on.line.twilio.dial_in("+15550202003", OURS)

    call = await on.line.twilio.dial_in("+15550202001", OURS, asking(on, *list(ANSWERS)[:3], then=fill))
    async with asyncio.timeout(60):
        await call.finished()
        await seen["turned away"].finished()
        while not (told := await on.client.get_call(call.sid))["endReason"]:
            await asyncio.sleep(0.05)
    seen["told"] = told
    seen["room"] = disk.room
    disk.empty()
    seen["scene"] = await on.over(call, told["callId"])
    return seen


def _sound(path: Path) -> tuple[float, int]:
    """Seconds of sound by the header of a recording, and the bytes that are there besides it."""
    with wave.open(str(path)) as file:
        frames = file.getnframes()
        return frames / file.getframerate(), path.stat().st_size - HEADER - 4 * frames


def _copied(view: Path, folder: Path) -> Path:
    for name in ("calls.db", "calls.db-wal"):
        if (view / name).exists():
            shutil.copy(view / name, folder.parent / f"{folder.name}-{name}")
    return folder.parent / f"{folder.name}-calls.db"


def _started_on_a_full_disk(state: Path) -> str:
    """What a service says that cannot start."""
    with SmallDisk(state, ROOM) as disk:
        disk.fill()
        service = RunningService(state, port=0, inside=disk.inside)
        try:
            with service:
                return "it started"
        except ServiceCrashed as error:
            return str(error)


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    played = asyncio.run(play())
    yield played
    for path in Path("/tmp").glob(f"{played['database'].name}*"):
        path.unlink()


def test_a_live_call_is_spoken_to_its_end(played):
    full = played["full"]
    assert full["room"] == 0
    assert full["scene"].lines == TALK
    assert full["scene"].record["endReason"] == "caller-hung-up"


def test_nobody_is_dialled_without_a_record_and_the_error_says_why(played):
    full = played["full"]
    assert full["dialled"] == 0
    assert full["refused"].code == "store"
    assert "disk" in str(full["refused"])
    assert "full" in str(full["refused"])


def test_who_calls_meanwhile_is_spoken_to(played):
    call = played["full"]["turned away"]
    assert call.said_by_carrier == [CONFIG["phrases"]["goodbye"]]
    assert call.application_error is None
    assert played["refusals"] == []


def test_the_end_of_a_call_is_told_before_it_can_be_stored(played):
    assert played["full"]["told"]["endReason"] == "caller-hung-up"


def test_with_room_again_nothing_is_missing(played):
    journal = played["full"]["scene"].journal
    assert [entry["seq"] for entry in journal] == list(range(1, len(journal) + 1))
    assert journal[-1]["event"] == "CallEnded"


@pytest.mark.parametrize("name", ["inbound again", "outbound again"])
def test_with_room_again_calls_are_as_before(played, name):
    scene = played[name]
    assert scene.lines == [("agent", GREETING), ("caller", "After."), ("agent", "Good.")]
    seconds, surplus = played[f"wav {scene.record['callId']}"]
    assert surplus == 0
    assert seconds == pytest.approx(scene.call.line.now, abs=1.0)


def test_a_recording_ends_where_the_disk_did_and_can_be_played(played):
    scene = played["full"]["scene"]
    seconds, surplus = played[f"wav {scene.record['callId']}"]
    assert surplus == 0
    assert 0 < seconds < scene.call.line.now - 2
    failed = [entry["data"]["detail"] for entry in scene.journal if entry["event"] == "recording-failed"]
    assert len(failed) == 1
    assert "No space left on device" in failed[0]


def test_the_database_is_whole(played):
    with sqlite3.connect(played["database"]) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        open_calls = database.execute("SELECT count(*) FROM calls WHERE ended_at IS NULL").fetchone()
    database.close()
    assert open_calls == (0,)


def test_the_log_says_once_that_the_disk_is_full_and_once_that_it_is_not(played):
    assert "Traceback" not in played["log"]
    failed = [line for line in played["log"].splitlines() if "the store failed" in line]
    assert len(failed) == 1
    assert "is full" in failed[0]
    assert played["log"].count("the store works again") == 1


def test_a_service_that_cannot_start_says_why(played):
    assert "full" in played["start"] or "No space left" in played["start"]
    assert "Traceback" not in played["start"]
