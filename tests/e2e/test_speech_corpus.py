"""Recorded human prompts through the whole path, and sounds that are no speech at all."""

import csv
from pathlib import Path

import pytest
from whole_calls import HeldCall, place_all

from openclaw_voicecall.media import tones
from openclaw_voicecall.testing.service import RunningService
from openclaw_voicecall.testing.wer import word_errors

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.timeout(240)]

CORPUS = Path(__file__).parents[1] / "data" / "speech-asterisk"
LINES = 9
"""Calls at the same time; each phone plays its share of the prompts."""
NODDING = '''
from contextlib import asynccontextmanager

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.responder import TextDelta
from openclaw_voicecall.api.spec import ResponderSpec


class Nodding:
    """Says as little as a responder may."""

    async def respond(self, request):
        yield TextDelta("Okay.")


@asynccontextmanager
async def open_nodding(config, runtime, model):
    yield Nodding()


@hookimpl
def voicecall_register_responders(register):
    register(ResponderSpec(name="nodding", open=open_nodding))
'''


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "nodding_plugin.py").write_text(NODDING)
    config = {
        "responseModel": "nodding",
        "plugins": {"modules": ["nodding_plugin"]},
        "maxConcurrentCalls": 20,
        "maxDurationSeconds": 240,
    }
    with RunningService(folder / "s", port=0, config=config, env={"PYTHONPATH": str(folder)}) as running:
        yield running


def prompts() -> list[tuple[Path, str]]:
    with (CORPUS / "transcripts.tsv").open() as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    return [(CORPUS / Path(row["file"]).name, row["text"]) for row in rows]


def shares() -> list[list[tuple[Path, str]]]:
    return [prompts()[first::LINES] for first in range(LINES)]


@pytest.fixture(scope="module")
def calls(service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, HeldCall]:
    """All calls of this module, held at the same time: they take as long as the longest."""
    folder = tmp_path_factory.mktemp("lines")
    ringback = folder / "ringback.ulaw"
    ringback.write_bytes(tones.ringback(30_000))
    keys = "0123456789*#" * 2
    scripts = {
        "silence": "  - silence: 30\n",
        "ringback": f"  - play: {ringback}\n",
        "keys": f'  - press: "{keys}"\n    audible: yes\n  - silence: 10\n' * 2,
        "noise": "  - noise: -40\n  - silence: 30\n",
    }
    for number, share in enumerate(shares()):
        scripts[str(number)] = "".join(
            f"  - play: {path}\n  - wait: agent\n    timeout: 6\n" for path, _ in share
        )
    orders = {}
    for name, steps in scripts.items():
        script = folder / f"{name}.yaml"
        script.write_text(f"name: {name}\nring: 0.1\nsteps:\n{steps}  - hang_up\n")
        orders[name] = {"script": script}
    return place_all(service, folder, orders)


def test_recorded_people_are_understood_through_the_whole_path(calls):
    pairs = [
        (" ".join(text for _, text in share), calls[str(number)].words_of("caller"))
        for number, share in enumerate(shares())
    ]
    errors = word_errors(pairs)
    print(f"word error rate {errors.rate:.1%} ({errors.errors} of {errors.words} words)")
    assert errors.words > 600, "the whole corpus was played"
    assert errors.rate <= 0.08, f"{errors.errors} of {errors.words} words wrong"


@pytest.mark.parametrize("name", ["silence", "ringback", "keys", "noise"])
def test_no_words_are_invented_where_nobody_speaks(calls, name):
    call = calls[name]
    assert call.witness.report["duration"] > 20
    lines = [line["text"] for line in call.record["transcript"] if line["speaker"] == "caller"]
    assert [text for text in lines if not text.startswith("[keys")] == []
