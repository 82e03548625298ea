"""What a transcriber is handed comes in order, however slowly it takes it, and a call outlives one that fails."""

import asyncio

import pytest
from rig import running_call

from openclaw_voicecall.session.feeding import Feed
from openclaw_voicecall.testing.scripted import ScriptedStream, ScriptedTranscriber

pytestmark = [pytest.mark.session, pytest.mark.looptime]


class SlowStream(ScriptedStream):
    """Waits before it takes anything."""

    async def send(self, audio: bytes) -> None:
        await asyncio.sleep(0.05)
        self.told.append("audio")


class Promising(ScriptedStream):
    """Says that it never waits."""

    never_waits = True


class Lying(SlowStream):
    never_waits = True


async def test_a_stream_that_waits_is_told_in_order_and_the_end_of_an_utterance_comes_last():
    stream, found = SlowStream(request=None), []
    feed = Feed(stream, found.append)
    for work in (stream.speech_started(), stream.send(b"a"), stream.send(b"b"), stream.finish_utterance()):
        feed.give(work)
    await asyncio.sleep(1.0)
    assert stream.told == ["started", "audio", "audio", "finish"]
    assert not found
    feed.close()


async def test_a_stream_that_never_waits_is_told_at_once():
    stream, found = Promising(request=None), []
    feed = Feed(stream, found.append)
    feed.give(stream.send(b"a"))
    assert stream.audio == b"a"
    assert not found


async def test_one_that_waits_all_the_same_is_found_out():
    stream, found = Lying(request=None), []
    feed = Feed(stream, found.append)
    feed.give(stream.send(b"a"))
    feed.give(stream.send(b"b"))
    assert [str(error) for error in found] == ["the transcriber waits, although it says that it never does"]
    assert stream.told == []


async def test_a_plugin_that_raises_costs_the_caller_the_transcriber_and_not_the_line():
    class Broken(ScriptedStream):
        async def send(self, audio: bytes) -> None:
            raise KeyError("a bug of a plugin")

    first, second = ScriptedTranscriber(), ScriptedTranscriber()
    async with running_call(stt=[first, second]) as call:
        await call.until(lambda: first.streams)
        first.streams[-1].send = Broken(request=None).send
        call.far.frames(100, 0, b"\x10\x90" * 80)
        await call.until(lambda: second.streams)
        (failed, *_) = call.words("vendor-failed")
        assert "it takes no audio" in failed["detail"]
        assert call.reason is None, "the call goes on"
