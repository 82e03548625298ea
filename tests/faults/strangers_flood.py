"""A crowd of strangers at the public port of a running service, and people who really call meanwhile."""

import asyncio
import resource
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from hearing import first_heard
from twilio_door import FORM, TOKEN, fields
from twilio_scenes import Stage, stage
from vendor_line import OURS, VendorLine

from openclaw_voicecall.testing.emulators.twilio import Person
from openclaw_voicecall.testing.emulators.twilio_signing import sign
from openclaw_voicecall.testing.strangers import Strangers

HOOK = "/voice/webhook"
STREAMS = "/voice/stream/twilio"
GREETING = "Good day to you."


@dataclass(frozen=True)
class Served:
    """A genuine call in the midst of the crowd."""

    webhook: float
    """Seconds until its first webhook was answered."""
    stream: float
    """Seconds until its media stream was open."""


@dataclass(frozen=True)
class Flooded:
    """What was seen."""

    calls: list[Served]
    talker: dict[str, Any]
    """Record of a call that was there before the crowd, and hung up after it."""
    answers: list[float]
    """Seconds that each of the signed reports took that came meanwhile."""
    grown: int
    """Bytes by which the service's memory had grown at its peak."""
    fates: dict[str, dict[str, int]]
    forged: Counter[int]
    """Forged requests by the status of their answer."""
    most_strangers: int
    """As many as the service had at a time."""
    log: str

    def percentile(self, percent: int) -> float:
        """Of `answers`, in seconds."""
        return statistics.quantiles(self.answers, n=100)[percent - 1]

    def figures(self) -> dict[str, Any]:
        """For people to read."""
        return {
            "calls": len(self.calls),
            "slowest_webhook_s": round(max(call.webhook for call in self.calls), 3),
            "slowest_stream_s": round(max(call.stream for call in self.calls), 3),
            "grown_mib": round(self.grown / 2**20, 1),
            "answers": len(self.answers),
            "answer_p50_ms": round(self.percentile(50) * 1000, 1),
            "answer_p99_ms": round(self.percentile(99) * 1000, 1),
            "answer_max_ms": round(max(self.answers) * 1000, 1),
            "forged": self.forged.total(),
            "strangers": sum(sum(kind.values()) for kind in self.fates.values()),
            "most_strangers": self.most_strangers,
        }


async def flood(
    *, silent: int, slow: int, half_open: int, wrong_tokens: int, forged: int, reports: int, calls: int = 1
) -> Flooded:
    """Hold a call to warm up; let the crowd come while another is held; have people call in its midst.

    Whoever of the crowd is sent away comes back at once. Beside it come forged requests, and signed reports whose
    answers are timed, one after the other.
    """
    _allow_files(2 * (silent + slow + half_open) + 500)
    async with stage({"inboundGreeting": GREETING}) as scene:
        line = scene.line
        await (await line.twilio.dial_in("+15550002001", OURS, _hears_greeting(line))).finished()
        over = asyncio.Event()
        talker = await line.twilio.dial_in("+15550002002", OURS, _hears_greeting(line, over))
        await talker.until_answered()
        before = _begin_peak(line.service.pid)
        async with Strangers("127.0.0.1", line.service.port, path=HOOK, again=True) as crowd:
            await asyncio.gather(
                crowd.silent(silent),
                crowd.slow(slow),
                crowd.half_open(half_open),
                crowd.wrong_tokens(wrong_tokens, STREAMS),
            )
            storm = asyncio.create_task(_forge(line, forged))
            asked = asyncio.create_task(_report(line, reports))
            served, most = [], await _strangers(scene)
            for number in range(calls):
                served.append(await _call(line, f"+1555000{3000 + number}"))
                most = max(most, await _strangers(scene))
            statuses, answers = await storm, await asked
            grown = _memory(line.service.pid, "VmHWM") - before
            fates = crowd.fates()
        over.set()
        record = (await scene.over(talker)).record
        return Flooded(served, record, answers, grown, fates, statuses, most, line.service.stderr)


async def _call(line: VendorLine, number: str) -> Served:
    """Somebody calls, hears the greeting and hangs up."""
    began = time.monotonic()
    call = await line.twilio.dial_in(number, OURS, _hears_greeting(line))
    async with asyncio.timeout(20):
        while not call.streams:
            await asyncio.sleep(0.005)
        await call.streams[0].started.wait()
    opened = time.monotonic()
    await call.finished()
    return Served(call.webhooks[0].latency, opened - began)


def _hears_greeting(line: VendorLine, until: asyncio.Event | None = None) -> Any:
    async def person(phone: Person) -> None:
        await first_heard(phone, line.agent, GREETING, since=0.0)
        if until is not None:
            await until.wait()
        phone.hang_up()

    return person


async def _strangers(scene: Stage) -> int:
    return int((await scene.client.status())["service"]["resources"]["strangers"])


async def _forge(line: VendorLine, count: int) -> Counter[int]:
    """Requests that nobody signed, eight at a time."""
    statuses: Counter[int] = Counter()
    left = iter(range(count))
    url = f"{line.service.url}{HOOK}"

    async def forge(http: aiohttp.ClientSession) -> None:
        for _ in left:
            form = fields()
            headers = {"Content-Type": FORM, "X-Twilio-Signature": sign("another-token", url, form.items())}
            async with http.post(url, data=urlencode(form), headers=headers) as answer:
                statuses[answer.status] += 1

    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(forge(http) for _ in range(8)))
    return statuses


async def _report(line: VendorLine, count: int) -> list[float]:
    """Signed reports on calls that nobody knows, one after the other; the seconds that each took."""
    answers = []
    url = f"{line.service.url}{HOOK}"
    async with aiohttp.ClientSession() as http:
        for _ in range(count):
            form = fields(CallStatus="completed")
            headers = {"Content-Type": FORM, "X-Twilio-Signature": sign(TOKEN, url, form.items())}
            began = time.monotonic()
            async with http.post(url, data=urlencode(form), headers=headers) as answer:
                await answer.read()
                assert answer.status == 200
            answers.append(time.monotonic() - began)
            await asyncio.sleep(0.005)
    return answers


def _allow_files(count: int) -> None:
    """Let this process, and the service that it starts, open so many files, as far as that may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def _begin_peak(pid: int) -> int:
    """Have the system measure the peak of a process's memory anew; gives what it has now, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _memory(pid, "VmRSS")


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"the system does not tell {name}")
