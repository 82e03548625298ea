"""How a call outlives its media stream: by a new stream, or by turns that the carrier itself speaks and hears.

A stream ends, or never begins; the transcriber or the synthesizer fails with all its fallbacks. In each case a carrier
that can talk by turns keeps the call alive, in the same call, with the same responder and the same record.
"""

import asyncio
from typing import TYPE_CHECKING

from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.state import Agent, CallView, Leg, Media
from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.session.dialogue import Dialogue
from openclaw_voicecall.session.link import MediaLink
from openclaw_voicecall.session.remote import RemoteVoice
from openclaw_voicecall.session.speaking import Speaking
from openclaw_voicecall.session.turns import TurnLine

if TYPE_CHECKING:
    from openclaw_voicecall.session.session import CallSession

STREAMS = 3
"""Streams that a call may have; one that breaks so often goes on by turns."""
WORDS_LIMIT = 15.0
"""Seconds that words of the agent may delay a takeover for want of ears."""
CLOSE_LIMIT = 1.0
"""Seconds for our side of a stream to end after the carrier says that it has."""


class Takeover:
    """Decides, for one call, how it goes on without its stream.

    Args:
        session: The call.
    """

    def __init__(self, session: "CallSession") -> None:
        self._session = session
        self.stream: MediaLink | None = None
        """The media stream that carries the call."""
        self._streams = 0
        self._allowed = STREAMS
        self._asked_after = 0
        """How many streams there had been when the carrier was last told to open one."""
        self._ended = asyncio.Event()
        self._renewing = False
        self._asking = False
        """Whether the carrier was told to ask how to go on, and has not done so."""
        self._hurry = asyncio.Event()
        self._gave_up = False
        self._failed: e.TranscriptionFailed | e.UtteranceFailed | None = None
        """What would have ended the call, had the carrier not been asked to take over."""
        self._broke_off = 0
        """The turn in which a sentence last broke off."""

    @property
    def by_turns(self) -> bool:
        """Whether the carrier speaks and hears."""
        return isinstance(self._session.parts.speaking, TurnLine)

    @property
    def renewing(self) -> bool:
        """Whether a stream was given up that was open and dead, and no other one has begun since."""
        return self._renewing

    def stream_began(self, link: MediaLink) -> None:
        """A media stream carries the call."""
        self._session.absence.heard_of()
        self._streams += 1
        self.stream = link
        self._renewing = False
        self._ended.clear()

    def joined(self) -> None:
        """The vendor that keeps the audio has it, as good as a stream that began."""
        self._session.absence.heard_of()
        self._streams += 1

    def bridge_again(self, after: float) -> None:
        """Nobody can talk where the vendor has the audio: have the carrier ask how to go on.

        Args:
            after: Seconds in which it may do so by itself.
        """
        self._session.start(self._bridge_again(after, self._streams))

    def stream_ended(self) -> None:
        """It does no more, and the core knows."""
        self.stream = None
        self._ended.set()
        self._session.absence.stream_lost()

    def renew_stream(self, why: str) -> str:
        """The stream is open, and dead: give it up and have the carrier ask how to go on.

        Args:
            why: What is wrong with it.

        Returns:
            What is done about it; empty when that is under way already, or nothing can be done.
        """
        self.hurry()
        view = self._session.call.snapshot()
        if self._renewing or self.stream is None or self._failed is not None or view.transferring:
            return ""
        self._renewing = True
        self._session.start(self._give_up_stream(why))
        return "the carrier is asked to go on" if self._possible(view) else "it is closed"

    def instead_of(self, event: e.TranscriptionFailed | e.UtteranceFailed) -> bool:
        """Have the carrier take over instead of giving this fact to the core; false when that cannot be."""
        session = self._session
        view = session.call.snapshot()
        if self._failed is not None and not self._gave_up:
            self.hurry()
            return not self.by_turns  # more of the same while the carrier is being asked
        if not self._possible(view) or self.by_turns or self._gave_up:
            return False
        if view.transferring:
            if not isinstance(event, e.TranscriptionFailed):
                return False
            self._failed = event  # the far party needs nobody now; the carrier goes on, should they come back
            return True
        unspoken = isinstance(event, e.UtteranceFailed) and not event.partly
        if view.last_words and not unspoken:
            return False
        if isinstance(event, e.UtteranceFailed) and event.partly and not self._breaks_off_again(view):
            return False
        self._failed = event
        ears = session.parts.listening
        listens = ears.hop if ears is not None else "transcriber"
        session.note(
            "takeover",
            {
                "hop": listens if isinstance(event, e.TranscriptionFailed) else "synthesizer",
                "detail": "the carrier speaks and listens from here on",
                "why": event.detail,
            },
        )
        if view.last_words:
            session.start(self._part_by_carrier(event))
        elif view.leg is not Leg.UP:
            self.go_by_turns()  # the carrier will ask what to do once somebody answers
        else:
            session.start(self._ask_carrier(event))
        return True

    def hurry(self) -> None:
        """Nothing can be heard: a takeover has nothing to wait for."""
        self._hurry.set()

    async def next_stream(self, *, lost: bool = True) -> bool:
        """The carrier says that the stream is over: whether another stream is worth a try. If not, go on by turns.

        Args:
            lost: Whether nobody meant it to end.
        """
        self._asking = False
        if self.stream is not None:
            if self._session.media_socket is not None:
                self._session.media_socket()
            try:
                # Nobody may be there to agree to the end of a stream that was given up.
                async with asyncio.timeout(0 if self._renewing else CLOSE_LIMIT):
                    await self._ended.wait()
            except TimeoutError:
                self._abandon()
        if self.by_turns or self._failed is not None:
            self.go_by_turns()
            return False
        began = self._streams > self._asked_after
        if not lost:
            self._allowed += 1  # one that was given up on purpose tells nothing of the next
        again = began and self._streams < self._allowed
        if lost:
            self._session.carrier_failed(
                "media stream",
                "it ended while the call goes on" if began else "it did not begin",
                "another one is opened" if again else "the carrier speaks and listens from here on",
            )
        if again:
            self._asked_after = self._streams
        else:
            self.go_by_turns()
        return again

    def go_by_turns(self) -> TurnLine:
        """Let the carrier speak and hear from here on."""
        session = self._session
        line, ears = session.parts.speaking, session.parts.listening
        unanswered = ears is not None and ears.voice_unanswered
        if not isinstance(line, TurnLine):
            line = self._change_voice(line)
        if session.call.snapshot().media is not Media.FLOWING:
            apology = session.call.policy.apology
            session.post(e.MediaConnected(unheard=unanswered))
            # Of a turn that was heard in part nothing is said again; alone it would leave the caller waiting.
            cut_off = isinstance(self._failed, e.UtteranceFailed)
            silent = cut_off and session.call.snapshot().agent is Agent.IDLE
            if silent and not unanswered and apology:
                session.post(e.SayRequested(apology))
        return line

    def new_line(self) -> TurnLine:
        """Voice and ears for a call by turns."""
        session = self._session
        return TurnLine(
            call=session.call,
            post=session.post,
            moved=session.moved,
            clock=session.clock,
            language=session.language,
            terminator=session.call.policy.dtmf.terminator,
        )

    def _possible(self, view: CallView) -> bool:
        """Whether the carrier can speak and listen by itself in this call, now or once it is answered."""
        before_answer = view.leg in (Leg.DIALING, Leg.RINGING)
        there = bool(self._session.carrier_call_id) and view.leg is Leg.UP
        return self._session.parts.capabilities.turns and (before_answer or there)

    def _change_voice(self, voice: Speaking | RemoteVoice) -> TurnLine:
        session = self._session
        voice.detach()
        for task in (session.speaking_task, session.listening_task):
            if task is not None:
                task.cancel()
        line = self.new_line()
        session.parts.speaking, session.parts.listening = line, None
        if isinstance(session.parts.responding, Dialogue):
            session.parts.responding.leave("the carrier speaks and listens from here on")
        else:
            session.parts.responding.voice = None
        return line

    def _abandon(self) -> None:
        """Nobody closes the stream for us: it is over all the same, and another one may begin."""
        session = self._session
        session.media_socket = None
        if self.stream is not None:
            self.stream.close()
        if not isinstance(session.parts.speaking, TurnLine):
            session.parts.speaking.detach()
            session.post(e.MediaLost())
        self.stream_ended()

    def _breaks_off_again(self, view: CallView) -> bool:
        """A sentence broke off half-way: whether it was no single mishap, but the second in a turn or in a row."""
        again = view.failures > 0 or view.turn == self._broke_off
        self._broke_off = view.turn
        return again

    async def _bridge_again(self, after: float, streams: int) -> None:
        await asyncio.sleep(after)
        asked = self._asked_after == streams or self._streams > streams
        away = self._session.call.snapshot().transferring or self.by_turns or self._failed is not None
        if not (asked or away):
            self._asking = True
            await self._give_up_stream("the audio cannot be used")

    async def _give_up_stream(self, why: str) -> None:
        session = self._session
        if self._possible(session.call.snapshot()):
            try:
                await session.parts.carrier.take_over(session.leg)
            except (VendorError, OSError) as error:
                session.carrier_failed("take over", str(error), "the stream is closed")
            else:
                return
        else:
            session.carrier_failed("media stream", why, "it is closed")
        self._abandon()

    async def _part_by_carrier(self, event: e.TranscriptionFailed | e.UtteranceFailed) -> None:
        """Have the carrier say the last words of the call, but none that were heard."""
        session = self._session
        voice = session.parts.speaking
        if isinstance(voice, TurnLine):
            return
        while voice.sounds:
            session.moved.clear()
            await session.moved.wait()
        line, turn = self._change_voice(voice), session.call.snapshot().turn
        for order in voice.unsaid(turn):
            line.speak(order.turn, order.utterance, order.text)
        await self._ask_carrier(event)

    async def _ask_carrier(self, event: e.TranscriptionFailed | e.UtteranceFailed) -> None:
        session = self._session
        if isinstance(event, e.TranscriptionFailed):
            await self._both_quiet()
        if self._asking:
            return  # told twice, it would cut off what it was answered the first time
        try:
            await session.parts.carrier.take_over(session.leg)
        except (VendorError, OSError) as error:
            session.carrier_failed("take over", str(error), "given up")
            self._gave_up = True
            session.post(event)

    async def _both_quiet(self) -> None:
        """Cut neither the agent, who can still be heard, nor the caller: of a half sentence nobody makes sense."""
        self._hurry.clear()
        quiet = asyncio.create_task(self._quiet())
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait({quiet, hurry}, timeout=WORDS_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            quiet.cancel()
            hurry.cancel()

    async def _quiet(self) -> None:
        session = self._session
        ears = session.parts.listening
        while session.call.snapshot().agent is not Agent.IDLE:
            session.moved.clear()
            await session.moved.wait()
        if ears is not None:
            await ears.voice_paused()
