"""A call's media stream: from the carrier's messages to facts, frames and marks."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from openclaw_voicecall.api.carrier import AudioReceived, DtmfPressed, MarkEchoed, MediaCodec
from openclaw_voicecall.core.events import DtmfReceived, MediaConnected, MediaLost
from openclaw_voicecall.errors import RemoteProtocolError
from openclaw_voicecall.media.level import audible_seconds
from openclaw_voicecall.observe.logs import call_id as logged_call
from openclaw_voicecall.session.link import MediaLink
from openclaw_voicecall.session.session import CallSession
from openclaw_voicecall.session.speaking import Speaking

logger = logging.getLogger(__name__)

CLOSE_LIMIT = 2.0
"""Seconds for the last messages to leave when a stream ends."""
REFUSALS = 50
"""Messages that may break the protocol before the stream is given up."""


class Messages(Protocol):
    """What the carrier sends on a stream after its start."""

    async def give(self, take: Callable[[str | bytes], bool]) -> None:
        """Hand over every message as it comes, until the stream ends or one is answered with False."""
        ...


async def carry_media(session: CallSession, codec: MediaCodec, link: MediaLink, messages: Messages) -> None:
    """Serve a stream until either side ends it."""
    logged_call.set(session.call_id)
    parts = session.parts
    voice, ears = parts.speaking, parts.listening
    if not isinstance(voice, Speaking) or ears is None:
        link.close()  # the call goes on by turns, and a stream that comes late has nobody to talk to
        await link.run()
        return
    now = session.clock.monotonic()
    epoch = parts.recorder.start(now) if parts.recorder is not None else now
    writer = asyncio.create_task(link.run())
    session.media_socket = link.close
    voice.attach(codec, link, epoch)
    session.takeover.stream_began(link)
    session.post(MediaConnected())
    reader = asyncio.create_task(messages.give(_Reader(session, codec, voice).take))
    try:
        await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        # A far side that is gone without a word is noticed by the writer only.
        await asyncio.wait({reader}, timeout=CLOSE_LIMIT)
    finally:
        # If not, it was given up before, and another one may carry the call.
        if session.takeover.stream is link:
            session.media_socket = None
            voice.detach()
            if parts.speaking is voice:
                session.post(MediaLost())
            session.takeover.stream_ended()
        link.close()
        reader.cancel()
        await asyncio.wait({writer, reader}, timeout=CLOSE_LIMIT)
        writer.cancel()
    if not reader.cancelled():
        reader.result()


def _no_frame(message: str) -> tuple[bytes, float] | None:
    """For codecs that have no shorter way for audio."""
    return None


class _Reader:
    """Takes what the carrier sends: fifty frames a second, and now and then something else."""

    def __init__(self, session: CallSession, codec: MediaCodec, voice: Speaking) -> None:
        self._session = session
        self._codec = codec
        self._voice = voice
        self._frame = getattr(codec, "frame", _no_frame)
        self._recorder = session.parts.recorder
        self._refused = 0

    def take(self, message: str | bytes) -> bool:
        """Take one message; false once so many broke the protocol that the stream is given up."""
        session = self._session
        logged_call.set(session.call_id)  # the network calls this, and knows of no call
        session.heard_at = now = session.clock.monotonic()
        try:
            heard = self._frame(message) if isinstance(message, str) else None
            if heard is not None:
                self._hear(heard[0], heard[1], now)
                return True
            facts = self._codec.receive(message)
        except RemoteProtocolError as error:
            return self._refuse(error)
        for fact in facts:
            if isinstance(fact, AudioReceived):
                self._hear(fact.audio, fact.timestamp, now)
            elif isinstance(fact, MarkEchoed):
                self._voice.mark_echoed(fact.name)
            elif isinstance(fact, DtmfPressed):
                session.post(DtmfReceived(fact.digit))
            # The start was taken before the session was found; after a stop the socket closes.
        return True

    def _hear(self, audio: bytes, timestamp: float, now: float) -> None:
        session = self._session
        ears = session.parts.listening
        if ears is None:
            return  # the call goes on by turns, and this stream is about to end
        if self._recorder is not None:
            self._recorder.caller(timestamp, audio)
        sound = audible_seconds(audio)
        ears.frame(audio, silent=not sound)
        session.meter.heard(
            len(audio), sound, now, voice=bool(sound) and ears.voice_sounds, timestamp=timestamp
        )

    def _refuse(self, error: RemoteProtocolError) -> bool:
        self._refused += 1
        self._session.note("media-refused", {"detail": str(error)})
        if self._refused == 1:  # one line for all of a stream; the journal has each
            logger.warning("carrier media stream: %s; left out, the stream goes on", error)
        if self._refused >= REFUSALS:
            logger.warning("carrier media stream: %d messages were refused; closed", self._refused)
            return False
        return True
