"""Nobody waits in silence: when sound is due and none leaves, a ladder of remedies is climbed.

Every hop of a call has limits of its own and reports its failures. This watch believes none of them. It knows from the
line meter what the far party can hear, and from the core whether they wait for something. After a while of silence a
clip is played, every time. When that does not bring the talk back, the hop that keeps it up is replaced, then the
carrier is asked to speak, and in the end there is a goodbye.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Agent, Caller, CallView, Leg, Media
from openclaw_voicecall.session.clips import Clips
from openclaw_voicecall.session.dialogue import Dialogue
from openclaw_voicecall.session.speaking import Speaking

if TYPE_CHECKING:
    from openclaw_voicecall.session.session import CallSession

LOOK_EVERY: Final = 0.2
"""Seconds between two looks."""
STALE: Final = 1.0
"""Seconds by which a look may be late. After a longer sleep of the whole process, what it finds is of no worth yet."""
FRAMES_LIMIT: Final = 2.5
"""Seconds that frames of a carrier which sends silence too may stay away."""
IMPATIENT: Final = (2.0, 1.5)
"""After so many seconds of silence in which sound is due, or after a clip, they may stay away for so many."""
LATE_LIMIT: Final = 3.0
"""Seconds that frames may be late."""
BUSY: Final = frozenset({Agent.THINKING, Agent.SPEAKING, Agent.DRAINING, Agent.YIELDED})


class LineWatch:
    """Watches the line of one call.

    Args:
        session: The call.
        clips: What is played at once.
        limit: Seconds of silence until something is done.
        late_after: Seconds after the caller's last word from which on the clip says that it takes long.
    """

    def __init__(self, session: "CallSession", clips: Clips, *, limit: float, late_after: float) -> None:
        self._session = session
        self._clips = clips
        self._limit = limit
        self._late_after = late_after
        self._running = False
        self._soon: asyncio.Handle | None = None
        """A look that is due at once."""
        self._rung = 0
        """Clips played since sound is due."""

    def moved(self) -> None:
        """The core has moved: sound may be due from now on, or no more."""
        meter = self._session.meter
        meter.set_due(self._is_due(self._session.call.snapshot()))
        if self._running and self._soon is None and meter.silence() >= self._limit:
            # Such as when a stream begins after a silence.
            self._soon = asyncio.get_running_loop().call_soon(self._look_soon)

    async def run(self) -> None:
        """Watch until cancelled."""
        clock, self._running = self._session.clock, True
        try:
            while True:
                slept = clock.monotonic()
                await asyncio.sleep(LOOK_EVERY)
                if clock.monotonic() - slept < LOOK_EVERY + STALE:
                    self._look()
        finally:
            self._running = False
            if self._soon is not None:
                self._soon.cancel()

    def _look_soon(self) -> None:
        self._soon = None
        self._look()

    def _look(self) -> None:
        session = self._session
        view = session.call.snapshot()
        due = self._is_due(view)
        session.meter.set_due(due)
        if not due:
            self._rung = 0
        voice = session.parts.speaking
        if not isinstance(voice, Speaking) or view.leg is not Leg.UP or view.media is not Media.FLOWING:
            return
        if why := self._dead_stream(voice):
            self._give_up_stream(why)
        elif session.meter.silence() >= self._limit:
            self._climb(view, voice)

    def _is_due(self, view: CallView) -> bool:
        """Whether the far party is quiet and waits for sound of ours."""
        ears = self._session.parts.listening
        if view.leg is not Leg.UP or view.media is Media.NONE or view.transferring or ears is None:
            return False
        if view.media is Media.LOST:
            return True  # and only another stream brings it
        if ears.voice_sounds or (view.caller is Caller.TALKING and not ears.words_owed):
            return False
        if view.agent in BUSY:
            return True
        answers = self._session.call.policy.respond and not view.machine
        return answers and (view.caller is Caller.PAUSED or ears.words_owed)

    def _dead_stream(self, voice: Speaking) -> str:
        if why := voice.stalled():
            return why
        meter = self._session.meter
        if meter.behind() >= LATE_LIMIT:
            return "audio comes too late"
        waited, limit = IMPATIENT
        limit = limit if meter.silence() >= waited or self._rung else FRAMES_LIMIT
        return "no audio comes" if meter.frames_missing() >= limit else ""

    def _give_up_stream(self, why: str) -> None:
        if action := self._session.takeover.renew_stream(why):
            self._tell("media stream", why, action)

    def _climb(self, view: CallView, voice: Speaking) -> None:
        """Play a clip; from the second time in a turn on, do something about the hop as well."""
        self._rung += 1
        self._session.takeover.hurry()
        hop, why = self._culprit(view, voice)
        actions = [self._play_clip(view, voice)]
        ears = self._session.parts.listening
        if ears is not None:
            ears.bridged()
        if self._rung > 1 and ears is not None and hop == ears.hop:
            ears.give_up(why)
            actions.append(f"another {hop} is asked")
        elif self._rung > 1 and hop == "synthesizer":
            actions.append(self._replace_voice(view, voice, why))
        self._tell(hop, why, " and ".join(action for action in actions if action))

    def _culprit(self, view: CallView, voice: Speaking) -> tuple[str, str]:
        """The hop that is waited for, and what it does not do."""
        ears = self._session.parts.listening
        if isinstance(ears, Dialogue) and not ears.gone:
            return ears.hop, "the model is silent"
        if view.agent is Agent.IDLE or view.agent is Agent.YIELDED:
            return "transcriber", "no words of what the caller said come"
        if voice.sounds or voice.unsaid(view.turn):
            return "synthesizer", "nothing can be heard of what is to be said"
        if view.agent is Agent.DRAINING:
            return "media stream", "nobody says that all was played"
        return "responder", "no words to say come"

    def _play_clip(self, view: CallView, voice: Speaking) -> str:
        session = self._session
        deadline = session.deadlines.current
        late = not deadline.late and session.clock.monotonic() - deadline.asked >= self._late_after
        about_to_be = (order.text for order in voice.unsaid(view.turn))
        clip = self._clips.find(late=late, said=(*deadline.fillers, *about_to_be))
        if not voice.play_clip(clip):
            return ""
        if clip.text:
            deadline.fillers.append(clip.text)
            deadline.late = deadline.late or late
            return f"a clip is played: {clip.text}"
        return "a sound is played"

    def _replace_voice(self, view: CallView, voice: Speaking, why: str) -> str:
        session = self._session
        if voice.give_up(why):
            return "the synthesizer is given up"
        if self._rung == 2:
            return ""
        unsaid = voice.unsaid(view.turn)
        if unsaid and session.takeover.instead_of(e.UtteranceFailed(unsaid[0].utterance, why)):
            return "the carrier speaks instead"
        goodbye = session.call.policy.goodbye
        session.post(e.HangUpRequested(EndReason.SYNTHESIS_FAILED, "" if view.last_words else goodbye))
        return "the call is ended"

    def _tell(self, hop: str, why: str, action: str) -> None:
        seconds = round(self._session.meter.silence(), 2)
        self._session.note("line-silent", {"hop": hop, "detail": why, "seconds": seconds, "action": action})
