"""A call whose audio never comes to us: a vendor has it, its model talks on it, and we are told what is played.

`RemoteVoice` takes the place of the voice on our own line, and `RemoteLegs` knows under which id the vendor has the
call: it may lose it and get it back under another one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from openclaw_voicecall.api.carrier import LegRef
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.realtime import RealtimeRequest, RealtimeSession, RemoteLine, SipTarget
from openclaw_voicecall.core.events import Event, PlayoutProgressed, UtteranceFailed, UtterancePlayed
from openclaw_voicecall.errors import CallIsGone, VendorRejected
from openclaw_voicecall.session.voice import Order

UNSPEAKABLE: Final = "the model is gone, and nobody else is on the line"
ASKED_WITHIN: Final = 1.0
"""Seconds in which a carrier asks how to go on when its connection with the vendor is over."""


class RemoteVoice:
    """The agent's voice, as the vendor plays it.

    Args:
        post: Takes events for the core.
        note: Takes a journal word of the shell and its data.
        clock: Monotonic time.
        speaks: Whether the model is there to say anything.
    """

    def __init__(
        self,
        *,
        post: Callable[[Event], None],
        note: Callable[[str, dict[str, Any]], None],
        clock: Clock,
        speaks: Callable[[], bool],
    ) -> None:
        self._post = post
        self._note = note
        self._clock = clock
        self._speaks = speaks
        self._orders: dict[int, Order] = {}
        self._playing: list[int] = []
        self._since = 0.0
        self._sounded: set[int] = set()

    # What the vendor does.

    def began(self, utterances: list[int]) -> None:
        """These are played now."""
        self._playing = [number for number in utterances if number in self._orders]
        self._since = self._clock.monotonic()
        for number in self._playing[:1]:
            turn = self._orders[number].turn
            if turn not in self._sounded:
                self._sounded.add(turn)
                self._note("first-audio", {"turn": turn, "utterance": number})

    def ended(self, utterances: list[int], *, cut: bool) -> None:
        """They were played to their end, or cut off: then it is for the core to say what was heard."""
        self._playing = []
        for number in utterances:
            if not cut and self._orders.pop(number, None) is not None:
                self._post(UtterancePlayed(number))

    # What the call wants.

    @property
    def sounds(self) -> bool:
        """Whether something is being heard, and not heard to its end."""
        return bool(self._playing)

    def unsaid(self, turn: int) -> tuple[Order, ...]:
        """What was ordered in a turn and of which nothing was heard, in order."""
        orders = self._orders.values()
        return tuple(order for order in orders if order.turn == turn and order.utterance not in self._playing)

    def speak(self, turn: int, utterance: int, text: str) -> None:
        """An utterance that the model makes; a text of ours cannot be said once it is gone."""
        self._orders[utterance] = Order(turn, utterance, text)
        if not self._speaks():
            self._post(UtteranceFailed(utterance, UNSPEAKABLE))

    def hold(self) -> None:
        """Nothing to do: a model that is interrupted has fallen silent already."""

    def resume(self) -> None:
        """Nothing to do: it does not go on by itself."""

    def clear(self, turn: int) -> None:
        """What was not heard of the turn is dropped: the vendor is told by the dialogue."""
        self.cancel(turn)
        self._playing = []

    def cancel(self, turn: int) -> None:
        """Nothing more of this turn."""
        self._orders = {number: order for number, order in self._orders.items() if order.turn > turn}

    def detach(self) -> None:
        """The audio is gone."""
        self._playing = []

    def forget(self, utterance: int) -> None:
        """Nobody speaks this utterance any more."""
        self._orders.pop(utterance, None)

    def cut_clip(self) -> None:
        """Nothing to do: clips are played on our own lines only."""

    def send_tones(self, digits: str) -> bool:
        """There is no audio of ours to put tones into."""
        return False

    def progress(self) -> PlayoutProgressed | None:
        """How far the utterance now playing was heard."""
        if not self._playing:
            return None
        return PlayoutProgressed(self._playing[0], self._clock.monotonic() - self._since, None)

    async def run(self) -> None:
        """Nothing to do until cancelled: the vendor makes the audio."""
        await asyncio.Event().wait()


class RemoteLegs:
    """The ids under which a vendor has the audio of one call, one after the other.

    Args:
        line: The vendor's line.
        call_id: Ours.
        are_the_call: Whether the vendor has the leg of the call as well, and no other carrier has it.
        again: Has the carrier that has the leg bring the audio to the vendor once more, unless it has asked how to go
            on within so many seconds.
    """

    def __init__(
        self, line: RemoteLine, call_id: str, *, are_the_call: bool, again: Callable[[float], None]
    ) -> None:
        self.are_the_call = are_the_call
        self._again = again
        self._line = line
        self._call_id = call_id
        self._leg = ""
        self._there = asyncio.Event()

    def target(self) -> SipTarget:
        """Where the carrier has to connect the call to."""
        return self._line.target(self._call_id)

    def joined(self, leg: str) -> None:
        """The vendor has the audio under this id."""
        self._leg = leg
        self._there.set()

    async def wait_joined(self) -> None:
        """Return once the vendor has the audio."""
        await self._there.wait()

    @asynccontextmanager
    async def open(self, request: RealtimeRequest) -> AsyncIterator[RealtimeSession]:
        """A session on the audio as the vendor has it now; where it has lost it, once it is there again."""
        await self._there.wait()
        leg = self._leg
        try:
            async with self._line.open_session(
                LegRef(call_id=self._call_id, carrier_call_id=leg), request
            ) as session:
                yield session
        except VendorRejected as error:
            if self._leg == leg and not self.are_the_call:
                self._there.clear()
                # Where the call is gone the carrier asks by itself how to go on; but it may go on all the same.
                self._again(ASKED_WITHIN if isinstance(error, CallIsGone) else 0.0)
            raise
