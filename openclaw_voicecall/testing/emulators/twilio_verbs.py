"""What Twilio does for each TwiML verb, from its reference of TwiML for Programmable Voice."""

import asyncio
from typing import TYPE_CHECKING

from openclaw_voicecall.testing.emulators.twilio_dial import action_of, dial
from openclaw_voicecall.testing.emulators.twilio_phone import RATE, TICK
from openclaw_voicecall.testing.emulators.twilio_twiml import Document, Problem, Verb, stream_problem
from openclaw_voicecall.testing.emulators.twilio_webhooks import Fetch, absolute

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.twilio_calls import Call

AUTO_PAUSE = 0.8
"""Seconds of silence that end what a caller says, with `speechTimeout="auto"`."""
KEYPAD_TIMES = {"w": 0.5, "W": 1.0}
KEY_TIME = 0.2
SILENT_FIRST = frozenset({"Reject", "Pause", "Redirect"})
"""Verbs that do not answer a call that rings."""


async def perform(call: "Call", document: Document, base: str) -> Fetch | None:
    """Carry out a document; returns where the next one is, or None when the call is to end.

    Args:
        call: The call it is for.
        document: What to do.
        base: Address that the document came from; empty when it came with a request to the REST API.
    """
    for verb in document.verbs:
        call.verbs.append(str(verb))
        late = verb.name == "Dial" and verb.attributes.get("answerOnBridge") == "true"
        if verb.name not in SILENT_FIRST and not late:
            call.answer()
        following: Fetch | None = None
        match verb.name:
            case "Say" | "Play" | "Pause":
                await _sound(call, verb, base)
            case "Gather":
                following = await _Gather(call, verb).run(base)
            case "Redirect":
                return Fetch(absolute(base, verb.text), verb.attributes.get("method", "POST"))
            case "Dial":
                following = await dial(call, verb, base, perform)
            case "Connect":
                following = await _connect(call, verb, base)
            case "Start":
                call.start_stream(verb.children[0])
            case "Reject" if not call.answered:
                call.end("busy" if verb.attributes.get("reason") == "busy" else "failed", by="twiml")
                return None
            case "Hangup":
                call.end("completed", by="twiml")
                return None
            case _:
                return None
        if following is not None:
            return following
    return None


async def _sound(call: "Call", verb: Verb, base: str) -> None:
    if verb.name == "Pause":
        await asyncio.sleep(int(verb.attributes.get("length", "1")))
        return
    times = int(verb.attributes.get("loop", "1")) or 1000
    if verb.name == "Say":
        audio = call.exchange.render(verb.text)
    elif "digits" in verb.attributes:
        keys = verb.attributes["digits"]
        call.played_digits += keys
        audio = b"\xff" * round(RATE * sum(KEYPAD_TIMES.get(key, KEY_TIME) for key in keys))
    else:
        audio = await _fetch_audio(call, absolute(base, verb.text))
    for _ in range(times):
        if verb.name == "Say":
            call.said_by_carrier.append(verb.text)
        await _played(call, audio)


async def _played(call: "Call", audio: bytes) -> None:
    line = call.line
    line.play(audio)
    try:
        while (left := line.waiting) > 0:  # noqa: ASYNC110 sound takes its time
            await asyncio.sleep(left)
    except asyncio.CancelledError:
        line.clear()
        raise


async def _fetch_audio(call: "Call", url: str) -> bytes:
    """Audio for `<Play>`. Bare mu-law is played as it is; of other kinds a second of silence is heard."""
    webhook = await call.send("play", url, {}, method="GET")
    kind = webhook.content_type.partition(";")[0].strip().lower()
    if webhook.problem is None and not kind.startswith("audio/"):
        call.note(Problem(13420, f"Play: Invalid Content-Type {kind}"), url)
    if webhook.problem is not None or not kind.startswith("audio/"):
        return b""
    return webhook.body if kind == "audio/basic" else b"\xff" * RATE


class _Gather:
    """One `<Gather>`: listens from its beginning, also while it prompts."""

    def __init__(self, call: "Call", verb: Verb) -> None:
        given = verb.attributes
        self._call, self._verb = call, verb
        self._speech = "speech" in given.get("input", "dtmf")
        self._dtmf = "dtmf" in given.get("input", "dtmf")
        timeout = given.get("timeout", "5")
        self._timeout = 5.0 if timeout == "auto" else float(timeout)
        pause = given.get("speechTimeout", timeout)
        self._pause = AUTO_PAUSE if pause == "auto" else float(pause)
        self._longest = float(given.get("maxSpeechTime", "60"))
        self._finish_on = given.get("finishOnKey", "#")
        self._count = int(given.get("numDigits", "0"))
        self._barge_in = given.get("bargeIn", "true") == "true"

    async def run(self, base: str) -> Fetch | None:
        """Wait for words or keys."""
        self._call.keys.clear()
        prompts = asyncio.create_task(self._prompt(base))
        try:
            result = await self._listen(prompts)
        finally:
            prompts.cancel()
            await asyncio.gather(prompts, return_exceptions=True)
        if not result:
            if self._verb.attributes.get("actionOnEmptyResult") != "true":
                return None
            result = {"Digits": ""} if self._dtmf else {}
            result |= {"SpeechResult": "", "Confidence": "0.0"} if self._speech else {}
        return action_of(self._verb, base, result, default=True)

    async def _prompt(self, base: str) -> None:
        for verb in self._verb.children:
            self._call.verbs.append(str(verb))
            await _sound(self._call, verb, base)

    async def _listen(self, prompts: asyncio.Task[None]) -> dict[str, str]:
        line, begun = self._call.line, self._call.line.now
        digits, last, quiet_since = "", 0.0, None
        while True:
            await asyncio.sleep(TICK)
            if prompts.done() and quiet_since is None:
                if not prompts.cancelled():
                    prompts.result()
                quiet_since = line.now
                if not self._barge_in:
                    begun = quiet_since
            while self._dtmf and self._call.keys:
                key, last = self._call.keys.popleft(), line.now
                prompts.cancel()
                if key in self._finish_on:
                    return self._pressed(digits, key)
                digits += key
                if len(digits) == self._count:
                    return self._pressed(digits)
            if digits:
                if line.now - last >= self._timeout:
                    return self._pressed(digits)
                continue
            said = [at for at, audio in line.said if at + len(audio) / RATE > begun] if self._speech else []
            if said and (self._barge_in or quiet_since is not None):
                prompts.cancel()
                if (
                    line.now - line.speaking_until >= self._pause
                    or line.now - max(said[0], begun) >= self._longest
                ):
                    return await self._recognise(max(said[0], begun))
            elif quiet_since is not None and line.now - quiet_since >= self._timeout:
                return {}

    def _pressed(self, digits: str, key: str = "") -> dict[str, str]:
        return {"Digits": digits, "FinishedOnKey": key, "msg": "Gather End"}

    async def _recognise(self, start: float) -> dict[str, str]:
        line = self._call.line
        first = round(start * RATE)
        until = min(line.now, line.speaking_until)
        words = await self._call.exchange.recognise(line.spoken(first, round(until * RATE) - first))
        if not words:
            return {}
        language = self._verb.attributes.get("language", "en-US")
        return {"SpeechResult": words, "Confidence": "0.95", "Language": language}


async def _connect(call: "Call", verb: Verb, base: str) -> Fetch | None:
    noun = verb.children[0]
    right_track = noun.attributes.get("track", "inbound_track") == "inbound_track"
    if right_track and stream_problem(noun.attributes.get("url", "")) is None:
        await call.stream(noun)
    return action_of(verb, base, {})
