"""The replies of a speech-to-speech model, as turns and utterances of the agent: what of them sounds, and was heard."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from operator import methodcaller
from typing import Any, Final, Protocol

from openclaw_voicecall.api import realtime as r
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.transcript import heard_prefix
from openclaw_voicecall.media.audio import seconds
from openclaw_voicecall.session.modelkeeper import HOP, SessionKeeper
from openclaw_voicecall.session.modelline import ModelLine
from openclaw_voicecall.session.modelsounds import ModelVoice, Sound
from openclaw_voicecall.session.modeltools import ToolBench
from openclaw_voicecall.session.modelturns import Reply, Stretch, Turn

SAID_A_SECOND: Final = 20.0
"""Characters that a voice says in a second, at most."""


class Playback(Protocol):
    """What a vendor that has the audio itself plays of the agent."""

    def began(self, utterances: list[int]) -> None:
        """These are played now."""
        ...

    def ended(self, utterances: list[int], *, cut: bool) -> None:
        """They were played to their end, or cut off."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where replies are heard.

    Attributes:
        voice: Gets their sound; None where a vendor has the audio itself.
        heard_of: Seconds that were heard of an utterance; None for one that was heard to its end.
        silence: Drops what of a turn was not heard yet.
        playback: The vendor's own, where it has the audio itself; then there is no sound here.
        numbers: Numbers of utterances.
        post: Takes events for the core.
        note: Takes a journal word of the shell and its data.
    """

    voice: ModelVoice | None
    heard_of: Callable[[int], float | None]
    silence: Callable[[int], None]
    playback: Playback | None
    numbers: "count[int]"
    post: Callable[[e.Event], None]
    note: Callable[[str, dict[str, Any]], None]


class Replies:
    """All replies of one call.

    Args:
        keeper: Has the session.
        stage: Where they are heard.
        bench: Runs the model's tools.
    """

    def __init__(self, keeper: SessionKeeper, stage: Stage, bench: ToolBench) -> None:
        self._keeper = keeper
        self._stage = stage
        self._bench = bench
        self._post, self._note = stage.post, stage.note
        self._turns: dict[int, Turn] = {}
        self._replies: dict[str, Reply] = {}
        self._asked: dict[str, Turn] = {}
        self._names = count(1)

    # What the call wants.

    def ask(self, number: int, act: Callable[[r.RealtimeSession, str], None], *, fixed: bool = False) -> None:
        """Have the model fill this turn. `fixed` is a text that is to be heard, whoever says what meanwhile."""
        turn = self._open(number, fixed=fixed)
        turn.act = act
        self._ask(turn)

    def adopt(self, number: int, reply_id: str) -> None:
        """What the model says in this reply is this turn."""
        if reply_id in self._replies:
            turn = self._open(number)
            self._join(turn, self._replies[reply_id])

    def drop(self, reply_id: str) -> None:
        """Nobody may hear this reply."""
        self._note("reply-dropped", {"hop": HOP, "reply": reply_id})
        self._keeper.do(lambda session: session.cut(reply_id, []))

    def cut(self, number: int) -> None:
        """What was not heard of this turn will not be heard: the model learns what was."""
        turn = self._turns.get(number)
        if turn is None:
            return
        self._close(turn)
        for reply in turn.replies:
            heard = [(stretch.item, self._milliseconds(stretch)) for stretch in reply.stretches.values()]
            self._keeper.do(methodcaller("cut", reply.id, heard))
            for stretch in reply.stretches.values():
                if self._stage.voice is not None:
                    self._stage.voice.forget(stretch.utterance)
                stretch.sound.end("interrupted")

    def silence(self, reply_id: str, why: str) -> None:
        """What of this reply was not heard must not be heard, and what sounded of it were no words."""
        reply = self._replies.get(reply_id)
        if reply is None or reply.turn is None:
            return
        stretches = [stretch for each in reply.turn.replies for stretch in each.stretches.values()]
        dropped = [each.utterance for each in stretches if self._stage.heard_of(each.utterance) is not None]
        self._stage.silence(reply.turn.number)
        for utterance in dropped:
            self._post(e.UtteranceFailed(utterance, why, partly=True))

    def is_unheard(self, number: int) -> bool:
        """Whether a fixed text of this turn has still to begin to sound."""
        turn = self._turns.get(number)
        return turn is not None and turn.fixed and not turn.sounded

    @property
    def are_over(self) -> bool:
        """Whether nothing is being said, asked for or done."""
        return not self._asked and all(turn.is_complete for turn in self._turns.values())

    def break_off(self, detail: str) -> None:
        """The session is over: what was being said in it, or was asked for, comes to nothing."""
        self._keeper.expect_nothing()
        for turn in self._asked.values():
            turn.awaited.clear()
        self._asked.clear()
        self._replies.clear()
        for turn in list(self._turns.values()):
            if turn.may_be_asked_again:
                self._ask(turn)
                continue
            self._close(turn)
            for reply in turn.replies:
                for stretch in reply.stretches.values():
                    # Words are written ahead of the sound, and some of that is missing now.
                    if not reply.ended and self._stage.playback is None:
                        stretch.text = heard_prefix(stretch.text, seconds(stretch.sound.made), None)
                    self._tell(turn, stretch)
                    stretch.sound.end()
            if not turn.told:
                self._post(e.ResponseFailed(turn.number, detail))

    # What the model does.

    def on_began(self, began: r.ReplyBegan) -> None:
        """The model begins to talk."""
        reply = self._replies[began.reply] = Reply(began.reply)
        if not began.asked:
            self._post(e.ReplyBegan(began.reply))
            return
        turn = self._asked.pop(began.asked, None)
        if turn is None or turn.closed:
            self.drop(began.reply)
        else:
            turn.awaited.discard(began.asked)
            self._join(turn, reply)

    def on_audio(self, line: ModelLine, sound: r.ReplyAudio) -> None:
        """Sound. Raises `StaticOnLine` when it is noise."""
        reply = self._replies.get(sound.reply)
        if reply is None or reply.turn is None or reply.turn.closed:
            return
        self._keeper.expect_sound()
        if audio := line.probe.take(sound.audio):
            self._stretch(reply, reply.turn, sound.item).sound.add(audio)

    def on_text(self, words: r.ReplyText) -> None:
        """Words of what is said."""
        reply = self._replies.get(words.reply)
        if reply is None or reply.turn is None or reply.turn.closed:
            return
        stretch = reply.stretches.get(words.item)
        if stretch is None:
            reply.words[words.item] = reply.words.get(words.item, "") + words.text
            return
        stretch.text += words.text
        if self._stage.playback is not None:
            self._expect_more(reply)
        if stretch.is_to_tell:
            self._tell(reply.turn, stretch)

    def on_ended(self, line: ModelLine, ended: r.ReplyEnded) -> None:
        """Nothing more comes of a reply, or it was refused before it began."""
        turn = self._asked.pop(ended.asked, None) if ended.asked else None
        if turn is not None:
            turn.awaited.discard(ended.asked)
        reply = self._replies.get(ended.reply)
        if reply is not None:
            reply.ended = True
            turn = reply.turn
        if turn is None or turn.closed:
            return
        self._keeper.expect_nothing()
        if reply is not None:
            self._finish(turn, reply, line.probe.end())
        fails = ended.status == "failed" or (ended.status == "incomplete" and not turn.sounded)
        if fails:
            self._fail(turn, ended.detail or f"the reply is {ended.status}")
        else:
            self._settle(turn)

    def on_tool(self, called: r.ToolCalled) -> None:
        """The model calls a function."""
        reply = self._replies.get(called.reply)
        turn = reply.turn if reply is not None else None
        if reply is None or turn is None or turn.closed:
            refusal = "Not run: you were interrupted."
            self._keeper.do(lambda session: session.give_result(called.call, refusal, answer=False))
            return
        turn.working += 1
        self._keeper.expect_nothing()

        def done(text: str, carried_out: bool) -> None:
            turn.working -= 1
            # Keys are pressed without a word; who hangs up or hands over says so.
            silent = carried_out and (turn.sounded or turn.tools.last is None)
            wants_words = not turn.closed and not silent
            name = self._follow_up(turn, reply) if wants_words else ""
            self._keeper.do(
                lambda session: session.give_result(called.call, text, asked=name, answer=wants_words)
            )
            self._settle(turn)

        self._bench.run(turn.tools, called, done)

    def on_playback(self, began: r.PlaybackBegan) -> None:
        """The vendor plays a reply."""
        reply = self._replies.get(began.reply)
        if reply is None or reply.turn is None or reply.turn.closed or self._stage.playback is None:
            return
        for item in list(reply.words) or [""] * (not reply.stretches):
            self._stretch(reply, reply.turn, item)
        self._expect_more(reply)
        self._stage.playback.began([stretch.utterance for stretch in reply.stretches.values()])

    def on_played(self, ended: r.PlaybackEnded) -> None:
        """The vendor has played a reply, or cut it off."""
        reply = self._replies.get(ended.reply)
        if reply is not None and self._stage.playback is not None:
            utterances = [stretch.utterance for stretch in reply.stretches.values()]
            self._stage.playback.ended(utterances, cut=ended.cut)

    # Turns.

    def _open(self, number: int, *, fixed: bool = False) -> Turn:
        turn = Turn(number, self._bench.tools(number), fixed=fixed)
        for known in [known for known in self._turns.values() if known.is_complete]:
            del self._turns[known.number]
        self._replies = {reply.id: reply for reply in self._replies.values() if not reply.is_over}
        self._turns[number] = turn
        return turn

    def _ask(self, turn: Turn) -> None:
        turn.replies.clear()
        act, name = turn.act, self._await_reply(turn)
        turn.tries += 1
        if act is not None:
            self._keeper.do(lambda session: act(session, name), keep=True)

    def _await_reply(self, turn: Turn) -> str:
        """A reply of the model's is to follow in this turn; returns the name to ask for it under."""
        name = f"turn-{turn.number}-{next(self._names)}"
        turn.awaited.add(name)
        self._asked[name] = turn
        self._keeper.expect_sound()
        return name

    def _follow_up(self, turn: Turn, reply: Reply) -> str:
        """The model goes on once, after all the tools that it called in a reply; the last of them names that reply."""
        if self._asked.pop(reply.follow_up, None) is not None:
            turn.awaited.discard(reply.follow_up)
        reply.follow_up = self._await_reply(turn)
        return reply.follow_up

    def _join(self, turn: Turn, reply: Reply) -> None:
        turn.replies.append(reply)
        reply.turn = turn
        self._keeper.expect_sound()

    def _expect_more(self, reply: Reply) -> None:
        """The vendor plays a reply: more of it has to come by the time that its words so far were said."""
        if reply.ended:
            self._keeper.expect_nothing()
        else:
            words = sum(len(stretch.text) for stretch in reply.stretches.values())
            self._keeper.expect_sound(words / SAID_A_SECOND)

    def _stretch(self, reply: Reply, turn: Turn, item: str) -> Stretch:
        """The utterance that an item of a reply is; the first sound of it makes it one."""
        if item not in reply.stretches:
            number = next(self._stage.numbers)
            sound = Sound() if self._stage.voice is None else self._stage.voice.open(number)
            stretch = Stretch(item, number, sound, reply.words.pop(item, ""))
            stretch.told = len(stretch.text)
            reply.stretches[item] = stretch
            if not turn.sounded:
                turn.sounded = True
                self._note("first-token", {"turn": turn.number})
            self._post(e.ResponseChunk(turn.number, number, stretch.text))
        return reply.stretches[item]

    def _tell(self, turn: Turn, stretch: Stretch) -> None:
        if stretch.told != len(stretch.text):
            stretch.told = len(stretch.text)
            self._post(e.UtteranceGrew(turn.number, stretch.utterance, stretch.text))

    def _finish(self, turn: Turn, reply: Reply, held_back: bytes) -> None:
        """Nothing more is said in a reply: the rest of its sound and words."""
        for item in [item for item in reply.words if held_back or self._stage.playback is not None]:
            self._stretch(reply, turn, item)
        for stretch in reply.stretches.values():
            if held_back and not stretch.sound.made:
                stretch.sound.add(held_back)
            self._tell(turn, stretch)
            stretch.sound.end()

    def _fail(self, turn: Turn, detail: str) -> None:
        again = turn.may_be_asked_again
        action = "asked for again" if again else "the caller is told"
        self._note("vendor-failed", {"hop": HOP, "provider": "reply", "detail": detail, "action": action})
        if again:
            self._ask(turn)
            return
        self._close(turn)
        self._post(e.ResponseFailed(turn.number, detail))

    def _settle(self, turn: Turn) -> None:
        """A turn is written to its end once all its replies are, and no tool is at work."""
        if turn.is_complete and turn.replies and not turn.closed and not turn.told:
            turn.told = True
            ends, acts = self._bench.outcome(turn.tools)
            self._post(e.ResponseFinished(turn.number, end_call=ends, wordless=acts))

    def _close(self, turn: Turn) -> None:
        turn.closed = True
        self._keeper.expect_nothing()
        self._turns.pop(turn.number, None)

    def _milliseconds(self, stretch: Stretch) -> int:
        """How much of an utterance was heard."""
        made = seconds(stretch.sound.made)
        heard = self._stage.heard_of(stretch.utterance)
        return round(1000 * (made if heard is None else min(heard, made)))
