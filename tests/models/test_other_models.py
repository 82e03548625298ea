"""The same talk with Gemini Live and GPT-Live: tools, a barge-in and a hang-up, heard in the configured voice."""

import asyncio

import pytest
from model_line import CALLER, GREETING, OURS, lines, model_line
from model_scenes import ANSWERS, CONSULTS, FAREWELL, LISTENS, LOOKING, QUESTIONS, REPLIES, SAID, talking

from openclaw_voicecall.providers.google.sound import ModelSound
from openclaw_voicecall.testing.emulators.gemini_live import GeminiLiveEmulator
from openclaw_voicecall.testing.emulators.gemini_live_sound import spoken
from openclaw_voicecall.testing.emulators.gpt_live import GptLiveEmulator
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = [pytest.mark.e2e, pytest.mark.timed]


def in_kores_voice(text: str) -> bytes:
    """What comes out of the telephone when Gemini says this."""
    sound = ModelSound()
    return sound.push(spoken(text, "Kore")) + sound.finish()


def in_quartz_voice(text: str) -> bytes:
    """The same for GPT-Live."""
    return babble(text, seed="quartz")


@pytest.mark.parametrize(
    ("emulated", "name", "settings", "path", "voice"),
    [
        (GeminiLiveEmulator, "google", {"voice": "Kore"}, "", in_kores_voice),
        (GptLiveEmulator, "openai", {"voice": "quartz", "model": "gpt-live-1"}, "/v1", in_quartz_voice),
    ],
    ids=["gemini", "gpt-live"],
)
async def test_the_talk_is_held(emulated, name, settings, path, voice, state_dir, free_port):
    async with emulated(replies=REPLIES) as vendor:
        settings = {**settings, "apiKey": vendor.key, "baseUrl": vendor.url + path}
        realtime = {"provider": name, "providers": {name: settings}}
        async with model_line(state_dir, free_port, consults=CONSULTS, config={"realtime": realtime}) as line:
            vendor.recognizer = line.caller
            person = talking(line)
            for text in (GREETING, *SAID):
                line.agent.add(f"{text} ", voice(text))
            call = await line.twilio.dial_in(CALLER, OURS, person)
            async with asyncio.timeout(60):
                await call.finished()
            record = await line.last_record()
    said = lines(record)
    assert [text for speaker, text in said if speaker == "caller"] == list(QUESTIONS)
    agent = [text for speaker, text in said if speaker == "agent"]
    assert agent[:2] == [GREETING, f"{LOOKING[0]} {ANSWERS[0]}"]
    assert agent[2].startswith(LOOKING[1])
    assert agent[2] != f"{LOOKING[1]} {ANSWERS[1]}"
    assert agent[3:] == [LISTENS, FAREWELL]
    assert record["endReason"] == "agent-hung-up"
    heard = [found.clip.strip() for found in line.agent.read(bytes(call.phone.heard))]
    assert heard[:3] == [GREETING, LOOKING[0], ANSWERS[0]]
    assert heard[-2:] == [LISTENS, FAREWELL]
    assert vendor.refusals == []
