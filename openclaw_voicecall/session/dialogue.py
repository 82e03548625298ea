"""The talk of one call with a speech-to-speech model: the ears of the call and the writer of its turns in one.

The model hears the caller and answers by itself. Here it is told what is to be said, what was heard of it, and when
the caller may not interrupt it. A session that fails is opened again, then the next model is asked, then a pipeline
goes on or there is a goodbye; the far party is told each time, because the turn that was under way counts as failed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Final

from openclaw_voicecall.api import realtime as r
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.commands import AdoptReply, DropReply
from openclaw_voicecall.core.state import Agent, Caller, CallView, Media
from openclaw_voicecall.session.deadline import Deadlines
from openclaw_voicecall.session.modelears import ModelEars
from openclaw_voicecall.session.modelkeeper import HOP, READY_LIMIT, SessionKeeper, Supply
from openclaw_voicecall.session.modelline import ModelLine
from openclaw_voicecall.session.modelreplies import Replies, Stage
from openclaw_voicecall.session.modelsounds import StaticOnLine
from openclaw_voicecall.session.modeltools import ToolBench
from openclaw_voicecall.session.responding import Responding

UNNOTICED: Final = "the caller speaks, and the model does not notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a dialogue has to do with.

    Attributes:
        view: The call as it is.
        answers: Whether anybody answers the caller at all.
        fixed: Says fixed texts, and more, once the model is gone.
        deadlines: Get the deadline of each turn.
        go_on: Has others take over once the model is gone, for this reason; false where nobody can.
        remote: Whether a vendor has the audio itself.
        left: The leg is over, says the vendor that has the audio.
    """

    view: Callable[[], CallView]
    answers: bool
    fixed: Responding
    deadlines: Deadlines
    post: Callable[[e.Event], None]
    note: Callable[[str, dict[str, Any]], None]
    clock: Clock
    go_on: Callable[[str], bool]
    remote: bool = False
    left: Callable[[], None] | None = None


class Dialogue:
    """Ears and mouth of one call.

    Args:
        supply: The models.
        ears: What can be told of the caller's audio here.
        stage: Where replies are heard.
        bench: Runs the model's tools.
        around: What it has to do with.
    """

    hop = HOP

    def __init__(
        self, supply: Supply, ears: ModelEars, stage: Stage, bench: ToolBench, around: Surroundings
    ) -> None:
        self._keeper = SessionKeeper(supply, self, note=around.note, clock=around.clock)
        self._replies = Replies(self._keeper, stage, bench)
        self._ears = ears
        self._bench = bench
        self._around = around
        self._post, self._note = around.post, around.note
        self._attends = True
        self.arrivals = ears.arrivals
        self.gone = False
        """Whether no model is left."""

    # The ears.

    @property
    def voice_sounds(self) -> bool:
        """Whether the caller speaks now, as far as can be told."""
        return self._ears.voice_sounds

    @property
    def voice_unanswered(self) -> bool:
        """Whether the caller said something whose words have not come."""
        return self._ears.voice_unanswered and not self.gone

    @property
    def words_owed(self) -> bool:
        """Whether the caller has said something and the model has not noticed."""
        return self._attends and not self.gone and self._ears.words_owed

    def bridged(self) -> None:
        """The caller has heard a clip: the model owes an answer all the same."""

    def give_up(self, why: str) -> None:
        """Wait no longer for the session that is open."""
        self._keeper.give_up(why)

    def finish_utterance(self) -> None:
        """Nothing to do: the model knows by itself when an utterance is over."""

    def frame(self, audio: bytes, *, silent: bool = False) -> None:
        """Take the next caller audio; `silent` if nothing can be heard in it."""
        audio, deaf = self._ears.take(audio, heard=self._keeper.is_open)
        self._keeper.do(lambda session: session.send(audio))
        if self._ears.beeped(audio):
            self._post(e.BeepDetected())
        if deaf and self._attends and self._keeper.is_ready:
            self._keeper.give_up(UNNOTICED)

    async def voice_paused(self) -> None:
        """Wait until the caller is not speaking."""
        await self._ears.paused()

    async def last_words(self) -> None:
        """The line is gone: wait for the words of what was said before, not for long."""
        if self._keeper.is_ready:
            await self._ears.last_words()

    # The mouth.

    def respond(self, turn: int, text: str, digits: str, waited: float = 0.0) -> None:
        """Have the model take up this turn, which it has not begun by itself."""
        around = self._around
        if self.gone:
            around.fixed.respond(turn, text, digits, waited)
            return
        around.deadlines.begin(turn, self._now(), waited=waited, reply_within=READY_LIMIT)
        keys = f"[The caller pressed the keys {digits}.]" if digits else ""
        self._replies.ask(turn, lambda session, name: session.answer(keys, asked=name))
        self.look()

    def say(self, turn: int, text: str) -> None:
        """Have the model say a fixed text as this turn."""
        if self.gone:
            self._around.fixed.say(turn, text)
            return
        self._around.deadlines.begin(turn, self._now())
        self._attend(False)
        self._replies.ask(turn, lambda session, name: session.say(text, asked=name), fixed=True)

    def judge(self, decided: AdoptReply | DropReply) -> None:
        """What the core has decided about a reply that the model began by itself."""
        if isinstance(decided, AdoptReply):
            self._around.deadlines.begin(decided.turn, self._now(), reply_within=READY_LIMIT)
            self._replies.adopt(decided.turn, decided.reply)
        else:
            self._replies.drop(decided.reply)

    def cancel(self, turn: int) -> None:
        """Stop this turn."""
        self._around.fixed.cancel(turn)
        self._replies.cut(turn)

    def cut(self, turn: int) -> None:
        """What was not heard of this turn will not be heard any more."""
        self._replies.cut(turn)

    async def run(self) -> None:
        """Keep a session open until cancelled."""
        await self._keeper.run()

    async def close(self) -> None:
        """Stop whatever is under way."""
        await self._bench.close()
        await self._around.fixed.close()

    def leave(self, why: str) -> None:
        """The call goes on without its audio reaching us, and so without the model."""
        if not self.gone:
            self.gone = True
            self._post(e.ModelLost(why, instead=True))

    # What happens in a session.

    def begin(self, line: ModelLine) -> None:
        """Another session is to be used."""
        for audio in self._ears.unanswered():
            line.do(methodcaller("send", audio))
        if not self._attends:
            line.do(lambda session: session.attend(False))

    def take(self, line: ModelLine, event: r.RealtimeEvent) -> None:
        """Something happens in it."""
        match event:
            case r.SessionReady():
                if self._around.remote:
                    self._post(e.MediaConnected())
            case SpeechEdge(speaking, ago):
                self._ears.edge(speaking=speaking)
                self._post(e.SpeechStarted() if speaking else e.SpeechStopped(ago))
            case r.CallerSaid(_, text, final):
                self._ears.words(final=final)
                self._post(e.TranscriptReceived(text, final))
            case r.ReplyBegan():
                self._ears.answered()
                self._replies.on_began(event)
            case r.ReplyAudio():
                self._on_audio(line, event)
            case r.ReplyText():
                self._replies.on_text(event)
            case r.ReplyEnded():
                self._replies.on_ended(line, event)
            case r.ToolCalled():
                self._replies.on_tool(event)
            case r.PlaybackBegan():
                self._replies.on_playback(event)
            case r.PlaybackEnded():
                self._replies.on_played(event)
            case r.KeyPressed(digit):
                self._post(e.DtmfReceived(digit))
            case r.SessionExpiring(left):
                line.ends = min(line.ends, self._now() + left)
            case r.VendorComplained(what, detail):
                data = {"hop": HOP, "provider": line.name, "what": what, "detail": detail}
                self._note("vendor-complained", data)
            case r.CallOver():
                if self._around.left is not None:
                    self._around.left()

    def look(self) -> None:
        """Let the caller interrupt what may be interrupted, once it can be heard."""
        view = self._around.view()
        fixed = view.gives_notice or view.last_words or self._replies.is_unheard(view.turn)
        self._attend(self._around.answers and not fixed)

    def is_resting(self) -> bool:
        """Whether nobody says or waits for anything."""
        view = self._around.view()
        quiet = view.agent is Agent.IDLE and view.caller is Caller.QUIET and not self._ears.voice_sounds
        return quiet and self._replies.are_over

    def broke_off(self, detail: str) -> None:
        """The session is over, whatever was being said in it."""
        self._replies.break_off(detail)
        if self._around.remote and self._around.view().media is Media.FLOWING:
            self._post(e.MediaLost())

    def lost(self, detail: str) -> None:
        """No model is left."""
        self.gone = True
        self._post(e.ModelLost(detail, instead=self._around.go_on(detail)))

    def _on_audio(self, line: ModelLine, event: r.ReplyAudio) -> None:
        try:
            self._replies.on_audio(line, event)
        except StaticOnLine as error:
            data = {"hop": HOP, "direction": "agent", "provider": line.name, "detail": str(error)}
            self._note("line-static", data)
            self._replies.silence(event.reply, str(error))
            self._keeper.give_up(str(error))

    def _attend(self, attends: bool) -> None:
        if attends != self._attends:
            self._attends = attends
            self._keeper.do(lambda session: session.attend(attends))

    def _now(self) -> float:
        return self._around.clock.monotonic()
