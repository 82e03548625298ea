"""The configuration: can it be read, is everything in it known, and is the state directory ours?"""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openclaw_voicecall.checks.parts import Parts, configured_parts
from openclaw_voicecall.checks.report import Finding, Report, Status, failure
from openclaw_voicecall.config.secrets import secret_values
from openclaw_voicecall.plugins import Registry, load_settings
from openclaw_voicecall.store.statedir import STATE_DIR_VARIABLE, StateDir

if TYPE_CHECKING:
    from openclaw_voicecall.config.load import LoadedConfig
    from openclaw_voicecall.config.schema import VoiceCallConfig

CONFIGURATION = "configuration"
STATE = "state directory"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all further checks stand on."""

    registry: Registry
    config: "VoiceCallConfig"
    parts: Parts
    state: StateDir


def check_configuration(
    report: Report, source: str | Path | None, env: Mapping[str, str], state_dir: Path | None
) -> Setting | None:
    """Load everything; None when nothing further can be checked. Secrets are hidden from the report from here on."""
    try:
        registry, loaded = load_settings(source, env)
        report.hide(secret_values(loaded.config))
        parts = configured_parts(registry, loaded.config)
    except Exception as error:  # plugins of others may raise anything
        report.add(failure(error, hop=CONFIGURATION))
        return None
    config = loaded.config
    where = str(loaded.path) if loaded.path else "no file, defaults"
    report.add(Finding(hop=CONFIGURATION, text=f"{where}; provider {config.provider}{_led_by(parts)}"))
    for notice in loaded.notices:
        report.add(Finding(hop=CONFIGURATION, status=Status.WARNING, text=notice))
    if not config.enabled:
        report.add(
            Finding(
                hop=CONFIGURATION,
                status=Status.FAILED,
                text="calls are switched off",
                cause="enabled is false",
                fix="set enabled to true",
            )
        )
    if open_file := _open_to_others(loaded):
        report.add(open_file)
    try:
        named = env.get(STATE_DIR_VARIABLE, "")
        chosen = state_dir or (Path(named).expanduser() if named else config.store)
        state = StateDir.open(chosen, env)
    except Exception as error:  # as above; a file system may do what it likes
        report.add(failure(error, hop=STATE))
        return None
    return Setting(registry, config, parts, state)


def _led_by(parts: Parts) -> str:
    """The model that leads the calls, with its voice, for the line of the configuration."""
    leading = parts.models[0] if parts.models else parts.carrier if parts.carrier.is_remote else None
    return f"; {leading.describe()} leads the calls" if leading is not None else ""


def _open_to_others(loaded: "LoadedConfig") -> Finding | None:
    """A warning where others on this machine can read the keys."""
    if loaded.path is None or not secret_values(loaded.config):
        return None
    try:
        mode = loaded.path.stat().st_mode
    except OSError:
        return None
    if not mode & (stat.S_IRGRP | stat.S_IROTH):
        return None
    return Finding(
        hop=CONFIGURATION,
        status=Status.WARNING,
        text="others on this machine can read the file, which may hold keys",
        fix=f"chmod 600 {loaded.path}",
    )
