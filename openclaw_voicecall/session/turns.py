"""A call without a media stream: the carrier speaks what it is told and transcribes what the caller answers.

The carrier asks, and is answered with the next thing to do: say something and listen, say something and ask again, or
wait a moment. `TurnLine` takes the place of the voice and of the ears of a call, so that the core, the responder and
the record need not know that no audio reaches us.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from openclaw_voicecall.api.carrier import LegOrder
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.events import (
    DtmfReceived,
    Event,
    PlayoutProgressed,
    TranscriptReceived,
    UtterancePlayed,
)
from openclaw_voicecall.core.state import Agent, Caller, Leg

REPLY_LIMIT = 1.8
"""Seconds a carrier's question may wait for the agent's words; then it is told to ask again in a second."""
WHOLE_REPLY = 0.8
"""Seconds to wait for the rest of a reply once its first sentence is there. What is said before the rest is known
cannot be interrupted."""
LEAST_WAIT = 0.01
"""Seconds to wait at least, so that time surely passes."""
LISTENING = 5.0
"""Seconds that a carrier listens for a first word."""
PER_CHARACTER = 0.06
"""Seconds a carrier's voice takes for a character, about; it does not tell how far it has come."""


@dataclass(frozen=True, slots=True)
class _Text:
    turn: int
    utterance: int
    text: str

    @property
    def seconds(self) -> float:
        return len(self.text) * PER_CHARACTER


class TurnLine:
    """Voice and ears of one call, a turn at a time.

    Args:
        call: The core, only looked at.
        post: Takes events for it.
        moved: Set whenever the core has moved.
        clock: Monotonic time.
        language: BCP 47 tag.
        terminator: The key that ends dialled digits; empty for none.
    """

    def __init__(
        self,
        *,
        call: Call,
        post: Callable[[Event], None],
        moved: asyncio.Event,
        clock: Clock,
        language: str,
        terminator: str,
    ) -> None:
        self._call = call
        self._post = post
        self._moved = moved
        self._clock = clock
        self._language = language
        self._terminator = terminator
        self._waiting: list[_Text] = []
        self._given: list[_Text] = []
        self._given_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._digits = ""

    def speak(self, turn: int, utterance: int, text: str) -> None:
        """Queue an utterance."""
        self._waiting.append(_Text(turn, utterance, text))

    def hold(self) -> None:
        """Nothing to do: a carrier that hears the caller has fallen silent already."""

    def resume(self) -> None:
        """The caller's sound was no bid for the floor: what was cut by it is said again."""
        self._waiting = [*self._given, *self._waiting]
        self._given.clear()
        self._disarm()

    def clear(self, turn: int) -> None:
        """Drop everything of the turn and of those before it."""
        self.cancel(turn)
        self._given.clear()
        self._disarm()

    def cancel(self, turn: int) -> None:
        """Say nothing more of this turn."""
        self._waiting = [text for text in self._waiting if text.turn > turn]

    def detach(self) -> None:
        """Nothing to do: there is no stream."""

    def forget(self, utterance: int) -> None:
        """Say this utterance no more."""
        self._waiting = [text for text in self._waiting if text.utterance != utterance]

    def cut_clip(self) -> None:
        """Nothing to do: clips are played on streams only."""

    def send_tones(self, digits: str) -> bool:
        """Have the carrier press these keys before it says anything else."""
        self._digits += digits
        self._moved.set()
        return True

    def progress(self) -> PlayoutProgressed | None:
        """How far the carrier is about to have come in what it was last told to say."""
        elapsed = self._clock.monotonic() - self._given_at
        for text in self._given:
            if elapsed < text.seconds or text is self._given[-1]:
                return PlayoutProgressed(text.utterance, min(elapsed, text.seconds), text.seconds)
            elapsed -= text.seconds
        return None

    async def run(self) -> None:
        """Nothing to do until cancelled: the carrier makes the audio."""
        await asyncio.Event().wait()

    @property
    def waiting_seconds(self) -> float:
        """How long what the carrier was last told to do takes, about, should the caller say nothing."""
        return sum(text.seconds for text in self._given) + LISTENING

    def said(self) -> None:
        """The carrier has said everything it was told to."""
        self._disarm()
        given, self._given = self._given, []
        for text in given:
            self._post(UtterancePlayed(text.utterance))

    def heard(self, text: str, digits: str) -> None:
        """The carrier has listened. Both are empty when the caller said nothing in time."""
        elapsed = self._clock.monotonic() - self._given_at
        # A caller who says nothing has heard everything, and so has one who answers that late.
        if not (text or digits) or elapsed >= sum(text.seconds for text in self._given):
            self.said()
        if text:
            self._post(TranscriptReceived(text, final=True))
        for digit in digits + (self._terminator if digits else ""):
            self._post(DtmfReceived(digit))

    async def next_order(self) -> LegOrder:
        """What the carrier is to do next; waits a while for the agent's words."""
        asked = self._clock.monotonic()
        first_text: float | None = None
        while True:
            self._moved.clear()
            now = self._clock.monotonic()
            view = self._call.snapshot()
            if view.leg in (Leg.ENDING, Leg.ENDED):
                return LegOrder(action="hang-up")
            complete = view.agent in (Agent.IDLE, Agent.DRAINING)
            if self._waiting or self._digits:
                first_text = now if first_text is None else first_text
                if complete or now >= first_text + WHOLE_REPLY:
                    silent = view.last_words or view.gives_notice
                    return self._give(listen=complete and not silent)
            elif view.agent is Agent.IDLE and view.caller is Caller.QUIET and not view.last_words:
                return self._give(listen=True)
            until = asked + REPLY_LIMIT if first_text is None else first_text + WHOLE_REPLY
            if now >= until:
                return LegOrder(action="wait")
            await self._wait(until - now)

    def _give(self, *, listen: bool) -> LegOrder:
        self._given, self._waiting = [*self._given, *self._waiting], []
        digits, self._digits = self._digits, ""
        self._given_at = self._clock.monotonic()
        self._disarm()
        if len(self._given) > 1:
            self._timer = asyncio.get_running_loop().call_later(self._given[0].seconds, self._first_said)
        return LegOrder(
            action="turn",
            text=" ".join(text.text for text in self._given),
            listen=listen,
            digits=digits,
            language=self._language,
        )

    def _first_said(self) -> None:
        """By its length, the first of several utterances was said by now; the carrier tells only of the last."""
        first = self._given.pop(0)
        self._given_at += first.seconds
        self._timer = None
        if len(self._given) > 1:
            self._timer = asyncio.get_running_loop().call_later(self._given[0].seconds, self._first_said)
        self._post(UtterancePlayed(first.utterance))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, LEAST_WAIT)):
                await self._moved.wait()
        except TimeoutError:
            pass
