"""A call's media stream: from the carrier's messages to facts, frames and marks."""

import asyncio
import logging
from collections.abc import AsyncIterator

from openclaw_voicecall.api.carrier import AudioReceived, DtmfPressed, MarkEchoed, MediaCodec
from openclaw_voicecall.core.events import DtmfReceived, MediaConnected, MediaLost
from openclaw_voicecall.errors import RemoteProtocolError
from openclaw_voicecall.observe.logs import call_id as logged_call
from openclaw_voicecall.session.link import MediaLink
from openclaw_voicecall.session.session import CallSession
from openclaw_voicecall.session.speaking import Speaking

logger = logging.getLogger(__name__)

CLOSE_LIMIT = 2.0
"""Seconds for the last messages to leave when a stream ends."""
REFUSALS = 50
"""Messages that may break the protocol before the stream is given up."""


async def carry_media(
    session: CallSession, codec: MediaCodec, link: MediaLink, messages: AsyncIterator[str | bytes]
) -> None:
    """Serve a stream until either side ends it. `messages` is what the carrier sends after its start."""
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
    reader = asyncio.create_task(_read(session, codec, voice, messages))
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


async def _read(
    session: CallSession,
    codec: MediaCodec,
    voice: Speaking,
    messages: AsyncIterator[str | bytes],
) -> None:
    recorder = session.parts.recorder
    refused = 0
    async for message in messages:
        session.heard_at = session.clock.monotonic()
        try:
            facts = codec.receive(message)
        except RemoteProtocolError as error:
            refused += 1
            session.note("media-refused", {"detail": str(error)})
            if refused == 1:  # one line for all of a stream; the journal has each
                logger.warning("carrier media stream: %s; left out, the stream goes on", error)
            if refused >= REFUSALS:
                logger.warning("carrier media stream: %d messages were refused; closed", refused)
                return
            continue
        for fact in facts:
            match fact:
                case AudioReceived(audio, timestamp):
                    ears = session.parts.listening
                    if ears is None:
                        continue  # the call goes on by turns, and this stream is about to end
                    if recorder is not None:
                        recorder.caller(timestamp, audio)
                    await ears.frame(audio)
                    session.meter.heard(audio, voice=ears.voice_sounds, timestamp=timestamp)
                case MarkEchoed(name):
                    voice.mark_echoed(name)
                case DtmfPressed(digit):
                    session.post(DtmfReceived(digit))
                case _:
                    pass  # the start was taken before the session was found; after a stop the socket closes
