"""The agent's own voice that comes back: taken out of what the caller says, and nothing else with it."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openclaw_voicecall.media.audio import silence
from openclaw_voicecall.media.echo import EchoGate
from openclaw_voicecall.media.g711 import pcm_to_ulaw, ulaw_to_pcm
from openclaw_voicecall.media.level import rms_dbfs
from openclaw_voicecall.media.vad import EnergyVad
from openclaw_voicecall.testing.emulators.openai_vad import ServerVad

pytestmark = pytest.mark.unit

RATE = 8000
SAMPLES = Path(__file__).parents[2] / "data" / "speech-asterisk"
AGENT = [(SAMPLES / f"{name}.ulaw").read_bytes() for name in ("demo-abouttotry", "conf-adminmenu-18")]
CALLERS = [
    (SAMPLES / f"{name}.ulaw").read_bytes()
    for name in ("hello-world", "im-sorry", "calling", "agent-newlocation", "conf-now-recording", "invalid")
]
LEAD = 0.9


def wave(audio):
    return np.frombuffer(ulaw_to_pcm(audio), "<i2").astype(float)


def ulaw(samples):
    return pcm_to_ulaw(np.clip(samples, -32768, 32767).astype("<i2").tobytes())


def at_level(samples, dbfs):
    """As loud as told where it is loud."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    levels = 20 * np.log10(np.sqrt((frames**2).mean(axis=1)) / 32768 + 1e-9)
    active = levels[levels > levels.max() - 25]
    return samples * 10 ** ((dbfs - 10 * np.log10(np.mean(10 ** (active / 10)))) / 20)


def echo_of(samples, quieter, delay, seed):
    """What a telephone makes of a voice: later, quieter, and coloured by a room."""
    source = np.random.default_rng(seed)
    room = np.zeros(400)
    room[0] = 1.0
    at = source.integers(1, 400, 12)
    room[at] += source.normal(0, 0.35, 12) * np.exp(-at / 120)
    back = np.convolve(samples, np.convolve(room, [1.0, -0.7]))[: len(samples)]
    back *= np.sqrt(np.mean(samples**2) / np.mean(back**2)) * 10 ** (-quieter / 20)
    return np.concatenate([np.zeros(round(delay * RATE)), back])[: len(samples)]


def hiss(count, dbfs, seed):
    return np.random.default_rng(seed).normal(0, 32768 * 10 ** (dbfs / 20), count)


def agent(seed=0):
    """Fourteen seconds of the agent, with pauses."""
    parts = [np.zeros(1600)]
    for piece in (AGENT[seed % 2], AGENT[(seed + 1) % 2]):
        parts += [at_level(wave(piece)[: 7 * RATE], -18), np.zeros(RATE)]
    return np.concatenate(parts)


def cleaned(played, heard, *, gate=None, late=0.05, jitter=0.01, seed=0, begin=1000.0):
    """What the gate leaves of what is heard while this is played, with a network in between."""
    gate, source = gate or EchoGate(), np.random.default_rng(seed)
    played, heard = ulaw(played), ulaw(heard)
    out, sent = bytearray(), 0
    for at in range(0, len(heard), 160):
        now = begin + (at + 160) / RATE
        while sent < len(played) and begin + sent / RATE < now + LEAD:
            gate.played(played[sent : sent + 800], begin + sent / RATE)
            sent += 800
        out += gate.clean(heard[at : at + 160], now + late + abs(source.normal(0, jitter)))
    return bytes(out)


def starts(detector, audio):
    """Seconds at which a detector says that speech begins."""
    found = []
    for at in range(0, len(audio), 160):
        found += [(at + 160) / RATE for edge in detector.push(audio[at : at + 160]) if edge.speaking]
    return found


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.3])
@pytest.mark.parametrize("quieter", [20, 25, 30, 35])
def test_an_echo_starts_no_speech_from_the_agents_first_word_on(quieter, delay):
    for seed in range(2):
        spoken = agent(seed)
        heard = echo_of(spoken, quieter, delay, seed) + hiss(len(spoken), -60, seed)
        audio = cleaned(spoken, heard, seed=seed)
        assert starts(EnergyVad(), audio) == []
        assert starts(ServerVad(), audio) == []


def test_without_the_gate_it_does():
    spoken = agent()
    heard = ulaw(echo_of(spoken, 25, 0.15, 1) + hiss(len(spoken), -60, 1))
    assert len(starts(EnergyVad(), heard)) > 3


@pytest.mark.parametrize("dbfs", [-20, -26])
@pytest.mark.parametrize("quieter", [20, 25, 30, None])
def test_who_speaks_over_the_agent_is_heard_at_once_in_any_echo(quieter, dbfs):
    late = []
    for seed, caller in enumerate(CALLERS):
        spoken, at = agent(seed), 3.0 + 0.3 * seed
        voice = at_level(wave(caller), dbfs)
        voice = voice[np.flatnonzero(np.abs(voice) > 200)[0] :][:12000]
        near = hiss(len(spoken), -60, seed)
        near[round(at * RATE) :][: len(voice)] += voice
        alone = starts(EnergyVad(), ulaw(near))
        if quieter is not None:
            near += echo_of(spoken, quieter, 0.12, seed)
        heard = [time for time in starts(EnergyVad(), cleaned(spoken, near, seed=seed)) if time >= at]
        assert heard, "missed"
        late.append(heard[0] - alone[0])
    assert np.median(late) <= 0.1
    assert max(late) <= 0.7


def test_a_line_without_an_echo_is_left_alone():
    spoken, caller = agent(), np.zeros(len(agent()))
    voice = at_level(wave(CALLERS[0]), -30)
    caller[40000 : 40000 + len(voice)] = voice
    caller += hiss(len(caller), -60, 3)
    audio, as_it_was = cleaned(spoken, caller), ulaw(caller)
    # What is turned down is no louder than the noise; of the voice, some edges at the most.
    changed = [
        at
        for at in range(40000, 40000 + len(voice) - 160, 160)
        if audio[at : at + 160] != as_it_was[at : at + 160]
    ]
    lost = [at for at in changed if rms_dbfs(as_it_was[at : at + 160]) > -40]
    assert len(lost) <= 3


def test_nothing_is_changed_while_the_agent_is_silent():
    gate, voice = EchoGate(), CALLERS[1]
    out = b"".join(gate.clean(voice[at : at + 160], 5 + at / RATE) for at in range(0, len(voice), 160))
    assert out == voice
    assert gate.removed == 0


def test_what_was_taken_back_makes_no_echo():
    gate = EchoGate()
    gate.played(AGENT[0][:RATE], 10.0)
    gate.silenced(10.0)
    frame = ulaw(hiss(160, -40, 1))
    assert gate.clean(frame, 10.5) == frame


def test_an_echo_is_turned_down_to_the_noise_of_the_line_not_below():
    spoken = agent()
    heard = echo_of(spoken, 20, 0.1, 2) + hiss(len(spoken), -52, 2)
    audio = cleaned(spoken, heard)
    levels = [rms_dbfs(audio[at : at + 160]) for at in range(RATE, len(audio) - 160, 160)]
    assert min(levels) > -56
    assert np.percentile(levels, 95) < -48


def test_an_echo_that_grows_louder_is_known_once_it_was_for_nothing():
    spoken = agent()
    half = len(spoken) // 2
    heard = np.concatenate([echo_of(spoken, 40, 0.1, 1)[:half], echo_of(spoken, 22, 0.1, 1)[half:]])
    heard += hiss(len(spoken), -60, 1)
    gate = EchoGate()
    first = starts(EnergyVad(), cleaned(spoken, heard, gate=gate))
    assert first, "it was not known"
    gate = EchoGate()
    cleaned(spoken[:half], heard[:half], gate=gate)
    gate.forgive()
    gate.forgive()
    after = cleaned(spoken[half:], heard[half:], gate=gate, begin=1000.0 + half / RATE)
    assert len(starts(EnergyVad(), after)) < len(first)


@settings(max_examples=30)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("played"), st.binary(max_size=2000), st.floats(0, 50)),
            st.tuples(st.just("clean"), st.binary(max_size=1000), st.floats(0, 50)),
            st.tuples(st.just("silenced"), st.just(b""), st.floats(0, 50)),
            st.tuples(st.just("forgive"), st.just(b""), st.just(0.0)),
        ),
        max_size=30,
    )
)
def test_any_order_of_things_gives_back_as_much_as_came(steps):
    gate = EchoGate()
    for name, audio, now in steps:
        if name == "clean":
            assert len(gate.clean(audio, now)) == len(audio)
        elif name == "played":
            gate.played(audio, now)
        elif name == "silenced":
            gate.silenced(now)
        else:
            gate.forgive()


def test_an_answer_to_who_has_just_interrupted_makes_no_echo_of_theirs():
    said, question = hiss(3 * RATE, -18, 1), hiss(2 * RATE, -18, 2)
    # The agent falls silent for the question, which goes on for longer than any echo is late.
    played = np.concatenate([said[: 2 * RATE], np.zeros(len(question) + RATE // 2), said[:RATE]])
    heard = echo_of(played, 20, 0.05, 1) + hiss(len(played), -60, 1)
    asked = slice(2 * RATE, 2 * RATE + len(question))
    heard[asked] += question
    gate, out = EchoGate(), bytearray()
    for at in range(0, len(played), 160):
        now = 1000.0 + at / RATE
        # Sent as it begins, so that the first that is heard after the pause is heard while the agent speaks.
        if played[at : at + 160].any():
            gate.played(ulaw(played[at : at + 160]), now)
        out += gate.clean(ulaw(heard[at : at + 160]), now)
    assert len(starts(EnergyVad(), bytes(out))) == 1


def test_it_is_cheap():
    gate, audio = EchoGate(lead=30.0), AGENT[0]
    for at in range(0, len(audio), 800):
        gate.played(audio[at : at + 800], at / RATE)
    frame = ulaw(hiss(160, -45, 1))
    best = float("inf")
    for begin in range(3):
        began = time.perf_counter()
        for step in range(200):
            gate.clean(frame, 1 + begin * 4 + step * 0.02)
        best = min(best, (time.perf_counter() - began) / 200)
    assert best < 100e-6, "it takes 20 microseconds on a machine that has nothing else to do"


def test_silence_stays_silence():
    gate = EchoGate()
    gate.played(AGENT[0][: 2 * RATE], 0.0)
    assert gate.clean(silence(1000), 1.0) == silence(1000)
