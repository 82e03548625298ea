"""The configuration file as `setup` changes it."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from openclaw_voicecall.calls.engines import DEFAULT_MODEL, PIPELINE, trunk_of
from openclaw_voicecall.config.load import CONFIG_VARIABLE, FILE_NAMES, load_config, read_config
from openclaw_voicecall.config.read import parse, read_file
from openclaw_voicecall.config.schema import VoiceCallConfig
from openclaw_voicecall.config.secrets import redacted
from openclaw_voicecall.config.shapes import Shape, canonical
from openclaw_voicecall.config.tree import Tree, look_up, tidy, with_value, without
from openclaw_voicecall.errors import ConfigError
from openclaw_voicecall.plugins import Registry

_KEYS = {
    "account_sid": ("accountSid", False),
    "auth_token": ("authToken", True),
    "api_key": ("apiKey", True),
    "project_id": ("projectId", False),
    "webhook_secret": ("webhookSecret", True),
}
"""What accounts need, by field: its name in the file, and whether it is a secret."""


def named_new_file(source: str | None) -> Path | None:
    """The file that an option or the environment names and that is not there yet."""
    named = source or os.environ.get(CONFIG_VARIABLE, "").strip()
    if not named or named.startswith("{"):
        return None
    path = Path(named).expanduser().absolute()
    return None if path.exists() else path


class SettingsFile:
    """A file of settings, its changes, and where it was kept as it was.

    Args:
        path: Where it is, or will be.
        tree: What it says, in camelCase; references to secrets stay references.
        registry: The plugins, which know the settings.
    """

    def __init__(self, path: Path, tree: Tree, registry: Registry) -> None:
        self.path = path
        self.backup: Path | None = None
        self._before = tree
        self._tree = tree
        self._registry = registry

    @classmethod
    def find(cls, source: str | None, registry: Registry) -> "SettingsFile":
        """The file that the other commands would read, or a new one.

        Raises:
            ConfigError: It cannot be read, or is not one that this program may rewrite.
        """
        if (new := named_new_file(source)) is not None:
            return cls(new, {}, registry)
        raw = read_config(source, os.environ)
        if raw.path is None and os.environ.get(CONFIG_VARIABLE, "").strip():
            raise ConfigError(
                f"${CONFIG_VARIABLE} holds the configuration: change it there, or name a --config file"
            )
        if raw.path is None:
            folder = Path(platformdirs.user_config_dir("openclaw-voicecall", appauthor=False))
            return cls(folder / FILE_NAMES[1], {}, registry)
        whole, _ = parse(read_file(raw.path))
        if isinstance(look_up(whole, ("plugins", "entries")), dict):
            raise ConfigError(
                f"{raw.path} is OpenClaw's own file: change it there, under plugins.entries.voice-call.config"
            )
        problems: list[Any] = []
        tree = canonical(tidy(raw.data, problems), Shape(model=registry.config_model()), (), problems)
        return cls(raw.path.absolute(), tree, registry)

    def in_force(self, key: str) -> str:
        """The text that a setting has with environment, old spellings and defaults; empty for none."""
        value = look_up(redacted(self._config()), key.split("."))
        return value if isinstance(value, str) else ""

    def set(self, key: str, value: str) -> None:
        """Change a setting; empty text takes it away."""
        path = key.split(".")
        self._tree = with_value(self._tree, path, value) if value else without(self._tree, path)

    @property
    def vendor_talks(self) -> bool:
        """Whether the chosen carrier's vendor keeps the audio of calls and talks on them."""
        chosen = self._registry.carriers.get(self._config().provider)
        return chosen is not None and chosen.capabilities.media == "remote"

    @property
    def leading_model(self) -> str:
        """Name of the speech-to-speech model that leads the calls; empty where none does."""
        chosen = self._config().realtime
        return (chosen.provider or DEFAULT_MODEL) if chosen.enabled else ""

    def lead_with(self, model: str) -> None:
        """Have a speech-to-speech model lead the calls; empty for transcriber, responder and synthesizer."""
        if model == self.leading_model:
            return
        if not model:
            self._tree = without(self._tree, ("realtime", "enabled"))
            return
        self._tree = with_value(self._tree, ("realtime", "enabled"), True)
        self._tree = with_value(self._tree, ("realtime", "provider"), model)
        if look_up(self._tree, ("streaming", "enabled")) is True:  # the two exclude each other
            self._tree = without(self._tree, ("streaming", "enabled"))

    def complete_public_url(self) -> None:
        """Give a `publicUrl` without a path the path of the webhooks: that is where carriers have to go."""
        url = look_up(self._tree, ("publicUrl",))
        config = self._config()
        if isinstance(url, str) and config.public_url and not urlsplit(config.public_url).path.strip("/"):
            self.set("publicUrl", url.rstrip("/") + config.serve.path)

    def missing_keys(self) -> list[tuple[str, bool]]:
        """Settings that the chosen accounts need and neither file nor environment has; and whether each is secret."""
        config = self._config()
        carrier = config.carrier_settings(config.provider)
        wanted = [("", config.provider, carrier)]
        if self.vendor_talks and (name := trunk_of(carrier)):
            wanted.append(("", name, config.carrier_settings(name)))
        elif name := self.leading_model:
            wanted.append(("realtime.providers.", name, config.realtime_settings(name)))
        if not (self.vendor_talks or self.leading_model) or PIPELINE in config.realtime.fallbacks:
            name = config.streaming.provider
            wanted.append(("streaming.providers.", name, config.transcriber_settings(name)))
            name = config.tts.provider
            wanted.append(("tts.providers.", name, config.synthesizer_settings(name)))
        if name := (config.response_model or "").partition("/")[0]:
            wanted.append(("responders.", name, config.responder_settings(name)))
        return [
            (f"{prefix}{name}.{key}", secret)
            for prefix, name, settings in wanted
            for field, (key, secret) in _KEYS.items()
            if field in type(settings).model_fields and getattr(settings, field) is None
        ]

    def write(self) -> bool:
        """Write the file, if it is new or changed, so that only its owner can read it; keep it as it was.

        Returns:
            Whether anything was written.

        Raises:
            ConfigError: The settings are wrong, or the file cannot be written. Nothing is changed then.
        """
        self._config()
        if self.path.exists() and self._tree == self._before:
            return False
        text = json.dumps(self._tree or {"provider": "local"}, ensure_ascii=False, indent=2) + "\n"
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.exists():
                self.backup = self._keep(self.path.read_bytes())
            descriptor, draft = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(draft).replace(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from error
        return True

    def _keep(self, content: bytes) -> Path:
        """Write what was there beside it, under a name that nothing has yet."""
        number = 1
        while True:
            kept = self.path.with_name(f"{self.path.name}.bak{number if number > 1 else ''}")
            try:
                descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                number += 1
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            return kept

    def _config(self) -> VoiceCallConfig:
        """The settings as they would be in force. Raises `ConfigError` when they are wrong."""
        resolve = self._registry.manager.hook.voicecall_resolve_secret
        return load_config(
            self._tree,
            model=self._registry.config_model(),
            env=os.environ,
            resolve=lambda reference: resolve(reference=reference),
        ).config
