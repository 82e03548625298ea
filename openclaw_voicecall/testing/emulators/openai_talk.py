"""What an emulated Realtime session does, whoever carries its audio and however many sockets watch it.

It hears the caller, finds turns and answers them. The events are those of the OpenAI SDK,
`types/realtime/realtime_server_event`.
"""

import asyncio
import copy
import time
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from openclaw_voicecall.testing.emulators import openai_sessions, openai_vad
from openclaw_voicecall.testing.emulators.openai_checks import SessionRefused
from openclaw_voicecall.testing.emulators.openai_conversation import BYTES_PER_MS, Conversation, Item
from openclaw_voicecall.testing.emulators.openai_replies import Cue, Reply
from openclaw_voicecall.testing.emulators.openai_responses import FAULTS, Response, ResponseRecord
from openclaw_voicecall.testing.emulators.openai_transcripts import Utterance, transcript_events
from openclaw_voicecall.testing.emulators.openai_voice_records import Line, VoiceSession, Watcher
from openclaw_voicecall.testing.emulators.serving import Fault

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator

SHORTEST_COMMIT_MS: Final = 100
DTMF: Final = "input_audio_buffer.dtmf_event_received"
"""The one event without an id."""
VAD_SETTINGS: Final = ("threshold", "prefix_padding_ms", "silence_duration_ms")


class Talk:
    """A session at work.

    Args:
        emulator: Whose it is.
        session: What tests look at.
        line: The call, where the vendor has its audio; None where the client sends and plays it.
    """

    def __init__(
        self, emulator: "OpenAIVoiceEmulator", session: VoiceSession, line: Line | None = None
    ) -> None:
        self.emulator = emulator
        self.session = session
        self.line = line
        self.static = False
        """Whether the caller hears noise in place of the model."""
        self.conversation = Conversation()
        session.items = self.conversation.items
        self.watchers: list[Watcher] = []
        self._active: Response | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids = 0
        self._vad: openai_vad.ServerVad | None = None
        self._begin = 0
        """Where in the heard audio the buffer begins."""
        self._item = ""
        """Id of the item that speech was detected for and that is not committed."""
        self._deaf_turn = False
        self.results: list[str] = []
        """Results of functions that the model has not answered to."""
        self._idle_from: int | None = None
        """Byte of the heard audio from which on silence counts as idle."""

    async def send(self, name: str, /, **fields: Any) -> None:
        """Tell all sockets."""
        event = {"type": name, **fields}
        if name != DTMF:
            event["event_id"] = self.next_id("event")
        self.session.sent.append(event)
        self.session.sent_at.append(time.monotonic())
        self.emulator.stamp(name, str(fields.get("item_id", "")))
        for watcher in list(self.watchers):
            await watcher.tell(name, event)
        if self.line is not None:
            await self._lose(name)
        self.emulator.note_change()

    async def hear(self, audio: bytes) -> None:
        """Take the next sound of the caller, mu-law 8 kHz."""
        self.session.audio += audio
        edges = self._vad.push(audio) if self._vad else []
        for edge in edges:
            if edge.speaking:
                self._deaf_turn = self.emulator.take_fault("quiet") is not None
                self._idle_from = None
                if not self._deaf_turn:
                    await self._speech_started(edge.at)
            elif not self._deaf_turn:
                milliseconds = edge.at // BYTES_PER_MS
                stopped = "input_audio_buffer.speech_stopped"
                await self.send(stopped, item_id=self._item, audio_end_ms=milliseconds)
                await self._commit(edge.at)
                if self._turn.get("create_response") and not self.emulator.take_fault("no-response"):
                    await self.respond("turn")
        await self._look_for_idleness()

    async def respond(
        self, why: str, asked: Mapping[str, Any] | None = None, *, again: Reply | None = None
    ) -> None:
        """Begin a response, unless one is under way already."""
        asked = asked or {}
        aside = asked.get("conversation") == "none"
        if self._active is not None and not aside:
            return
        config = self.session.config
        tools = asked.get("tools", config["tools"])
        silent = asked.get("tool_choice", config["tool_choice"]) == "none"
        cue = Cue(
            why,
            self.session.heard[-1] if self.session.heard else "",
            asked.get("instructions", config["instructions"]),
            tuple(self.results),
            () if silent else tuple(tool["name"] for tool in tools if tool["type"] == "function"),
        )
        self.results.clear()
        reply = again or self.emulator.brain.reply(cue, asked.get("instructions", ""))
        voice = asked.get("audio", {}).get("output", {}).get("voice", config["audio"]["output"]["voice"])
        voice = voice["id"] if isinstance(voice, dict) else voice
        record = ResponseRecord(self.next_id("resp"), why, voice, asked, text=reply.text)
        self.session.responses.append(record)
        response = Response(self, record, reply, self.emulator.take_fault(*FAULTS) if again is None else None)
        if not aside:
            self._active = response
        self.spawn(response.run())

    @property
    def active_response(self) -> str:
        """The id of the response under way, empty for none."""
        return self._active.record.id if self._active else ""

    async def cancel_response(self, reason: str) -> None:
        """End the response under way; returns when its end was told."""
        if self._active is not None:
            await self._active.cancel(reason)

    def response_ended(self, response: Response) -> None:
        """A response is over; its end is about to be told."""
        if self._active is response:
            self._active = None
        sound = sum(item.audio_ms for item in response.record.items)
        self._idle_from = len(self.session.audio) + sound * BYTES_PER_MS

    async def tell_item(self, name: str, item: Item) -> None:
        """Tell of an item and its place."""
        await self.send(name, previous_item_id=self.conversation.previous(item), item=item.wire())

    async def tell_digit(self, digit: str) -> None:
        """Tell that the caller pressed a key."""
        await self.send(DTMF, event=digit, received_at=int(time.time()))

    async def drop(self, code: int | None) -> None:
        """End everything without a word: the sockets, and the call."""
        for watcher in list(self.watchers):
            await watcher.drop(code)
        if self.line is not None:
            await self.line.hang_up()

    async def finish(self) -> None:
        """End what still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def apply(self, config: dict[str, Any]) -> None:
        """Put settings in force."""
        turn = config["audio"]["input"]["turn_detection"]
        before = self._turn
        self.session.config = config
        formats = (config["audio"][side]["format"]["type"] for side in ("input", "output"))
        if self.line is not None and any(kind != "audio/pcmu" for kind in formats):
            self.static = True
        if not self.session.ready or (turn or {}) != before:
            # When a sentence is over is for the vendor's model to say in semantic VAD; here it is by silence as well.
            settings = {key: turn[key] for key in VAD_SETTINGS if turn and key in turn}
            self._vad = openai_vad.ServerVad(**settings, position=len(self.session.audio)) if turn else None
        self.session.ready = True

    def lose_formats(self) -> None:
        """What was negotiated for the line is lost, as the next echo tells, and as the caller hears."""
        config = copy.deepcopy(self.session.config)
        for side in ("input", "output"):
            config["audio"][side]["format"] = {"type": "audio/pcm", "rate": 24000}
        self.apply(config)

    def next_id(self, kind: str) -> str:
        """A fresh id."""
        self._ids += 1
        return f"{kind}_{self._ids:016d}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the rest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def _turn(self) -> dict[str, Any]:
        return self.session.config["audio"]["input"]["turn_detection"] or {}

    async def put_in_force(self, config: dict[str, Any], seconds: float = 0.0) -> None:
        """Have the settings of an update hold, and tell."""
        if seconds:
            await asyncio.sleep(seconds)
        self.apply(config)
        await self.send("session.updated", session=config)

    async def _speech_started(self, at: int) -> None:
        self._begin, self._item = at, self.next_id("item")
        started = "input_audio_buffer.speech_started"
        await self.send(started, item_id=self._item, audio_start_ms=at // BYTES_PER_MS)
        if not self._turn.get("interrupt_response"):
            return
        await self.cancel_response("turn_detected")
        await self.cut_line()

    async def cut_line(self) -> None:
        """Play no more of what is being played, and note how much of it was heard."""
        if self.line is None:
            return
        response_id, heard = self.line.clear()
        for item in self.conversation.items:
            for item_id, milliseconds in heard:
                if item.id == item_id and item.truncated_ms is None:
                    item.truncated_ms = milliseconds
                    place = {"item_id": item.id, "content_index": 0, "audio_end_ms": milliseconds}
                    await self.send("conversation.item.truncated", **place)
        if response_id:
            await self.send("output_audio_buffer.cleared", response_id=response_id)

    async def commit_all(self) -> None:
        """The client says that the turn is over.

        Raises:
            SessionRefused: There is next to nothing in the buffer.
        """
        end = len(self.session.audio)
        milliseconds = (end - self._begin) / BYTES_PER_MS
        if milliseconds < SHORTEST_COMMIT_MS:
            text = (
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{SHORTEST_COMMIT_MS}ms of audio, but buffer only has {milliseconds:.2f}ms of audio."
            )
            raise SessionRefused(text, "input_audio_buffer_commit_empty", None)
        if self._vad is not None:
            self._vad.restart()
        await self._commit(end)

    async def forget_input(self) -> None:
        """The client wants nothing of the buffer."""
        if self._vad is not None:
            self._vad.restart()
        self._begin, self._item = len(self.session.audio), ""
        await self.send("input_audio_buffer.cleared")

    async def _commit(self, end: int) -> None:
        """Make an item of the buffer up to here, understand it, and have it transcribed."""
        session, emulator = self.session, self.emulator
        audio = bytes(session.audio[self._begin : end])
        item = Item(self._item or self.next_id("item"), "message", "user", spoken=True)
        self._begin, self._item = end, ""
        self.conversation.add(item)
        previous = self.conversation.previous(item)
        await self.send("input_audio_buffer.committed", item_id=item.id, previous_item_id=previous)
        for name in ("conversation.item.added", "conversation.item.done"):
            await self.tell_item(name, item)
        if emulator.recognizer is not None:
            item.text = await emulator.recognizer(audio)
        else:
            item.text = emulator.next_words(audio, self._turn.get("threshold", 0.5))
        session.heard.append(item.text)
        settings = session.config["audio"]["input"]["transcription"]
        if settings is not None:
            fault = emulator.take_fault("transcription-failed", "transcription-late")
            logprobs = openai_sessions.LOGPROBS in (session.config["include"] or ())
            failed = Fault("failed-item", 1, fault.options) if fault and "failed" in fault.name else None
            utterance = Utterance(item.id, audio, item.text, settings, logprobs, failed)
            late = 0.0 if fault is None or failed else float(fault.options.get("seconds", 1.0))
            self.spawn(self._transcribe(utterance, emulator.transcription_delay + late))

    async def _transcribe(self, utterance: Utterance, seconds: float) -> None:
        await asyncio.sleep(seconds)
        for name, fields in transcript_events(utterance, utterance.words or ""):
            if name.endswith(".completed"):
                self.session.transcripts.append(fields["transcript"])
            await self.send(name, **fields)

    async def _look_for_idleness(self) -> None:
        limit, now = self._turn.get("idle_timeout_ms"), len(self.session.audio)
        if not limit or self._idle_from is None or self._active is not None:
            return
        if now - self._idle_from < limit * BYTES_PER_MS or (self._vad and self._vad.speaking):
            return
        start, self._idle_from = self._idle_from, None
        self._item = self.next_id("item")
        times = {"audio_start_ms": start // BYTES_PER_MS, "audio_end_ms": now // BYTES_PER_MS}
        await self.send("input_audio_buffer.timeout_triggered", item_id=self._item, **times)
        await self._commit(now)
        await self.respond("idle")

    async def _lose(self, name: str) -> None:
        """Carry out what befalls a call, or those who watch it, after an event of this name."""
        fault = self.emulator.take_fault_after(name, "sideband-drop", "remote-hangup")
        if fault is None or self.line is None:
            return
        if fault.name == "remote-hangup":
            await self.line.hang_up()
            return
        for watcher in list(self.watchers):
            await watcher.drop(fault.options.get("code"))
