"""Settings that OpenClaw once spelled otherwise, read under the names of today.

Each step is a pure function from a tree to a changed tree, with one notice for each old thing it found. Where old and
new stand side by side the new one wins, and the notice says so. Nothing here validates: a value of the wrong type
moves along and is complained about where it arrives, under the name its owner wrote.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from openclaw_voicecall.config.problems import KeyPath, dotted, fold
from openclaw_voicecall.config.tree import MISSING, Tree, look_up, with_value, without


@dataclass(frozen=True, slots=True)
class Change:
    """A tree after some steps."""

    raw: Tree
    notices: tuple[str, ...] = ()
    moved: Mapping[KeyPath, KeyPath] = field(default_factory=dict)
    """New folded path to the path as it was written."""

    def noting(self, notice: str) -> "Change":
        """The same with one more notice."""
        return replace(self, notices=(*self.notices, notice))

    def setting(self, path: Sequence[str], value: Any) -> "Change":
        """The same with a value set, unless something other than a group stands in the way."""
        return replace(self, raw=with_value(self.raw, path, value))

    def dropping(self, path: Sequence[str]) -> "Change":
        """The same without a key."""
        return replace(self, raw=without(self.raw, path))


Step = Callable[[Change], Change]


def migrate(raw: Tree) -> tuple[Tree, tuple[str, ...]]:
    """Replace old settings by those of today.

    Args:
        raw: A tree in camelCase; it is not changed.

    Returns:
        The new tree, and one sentence for each old thing that was found.
    """
    change = migrate_traced(raw)
    return change.raw, change.notices


def migrate_traced(raw: Tree) -> Change:
    """Do the same as `migrate`, and remember what was written where, for messages about it."""
    change = Change(raw)
    for step in STEPS:
        change = step(change)
    return change


def step_01_mock_is_local(change: Change) -> Change:
    """`provider`: `log` became `mock`, and both are our `local`."""
    old = look_up(change.raw, ("provider",))
    if old not in ("log", "mock"):
        return change
    return change.setting(("provider",), "local").noting(f'provider "{old}" is now "local".')


def step_02_from_number(change: Change) -> Change:
    """`twilio.from` became `fromNumber`."""
    return _move(change, ("twilio", "from"), ("fromNumber",))


def step_03_stt_provider(change: Change) -> Change:
    """`streaming.sttProvider` became `streaming.provider`, and `openai-realtime` became `openai`."""
    change = _move(change, ("streaming", "sttProvider"), _STREAMING_PROVIDER)
    name = look_up(change.raw, _STREAMING_PROVIDER)
    if isinstance(name, str) and name in _TRANSCRIBER_ALIASES:
        new = _TRANSCRIBER_ALIASES[name]
        return change.setting(_STREAMING_PROVIDER, new).noting(f'streaming.provider "{name}" is now "{new}".')
    return change


def step_04_streaming_openai(change: Change) -> Change:
    """OpenAI's settings directly under `streaming` went below `streaming.providers.openai`."""
    before = change.raw
    for old, new in _OLD_OPENAI.items():
        change = _move(change, ("streaming", old), ("streaming", "providers", "openai", new))
    if change.raw is before or look_up(change.raw, _STREAMING_PROVIDER) is not MISSING:
        return change
    return _infer(change, "streaming", "openai")


def step_05_stt_section(change: Change) -> Change:
    """`stt` of early 2026 became a transcriber's settings."""
    change = _move(change, ("stt", "provider"), _STREAMING_PROVIDER)
    provider = look_up(change.raw, _STREAMING_PROVIDER)
    name = provider if isinstance(provider, str) and provider else "openai"
    change = _move(change, ("stt", "model"), ("streaming", "providers", name, "model"))
    return change.dropping(("stt",)) if look_up(change.raw, ("stt",)) == {} else change


def step_06_tts_sections(change: Change) -> Change:
    """`tts.<vendor>` went below `tts.providers`, where `voice` is `speakerVoice` and `voiceId` `speakerVoiceId`."""
    for tts in _tts_paths(change.raw):
        for vendor in _OLD_TTS_SECTIONS:
            change = _move_tts_section(change, (*tts, vendor), (*tts, "providers", vendor))
        for vendor, renames in _TTS_RENAMES.items():
            for old, new in renames.items():
                section = (*tts, "providers", vendor)
                change = _move(change, (*section, old), (*section, new))
    return change


def step_07_edge_speech(change: Change) -> Change:
    """Edge makes no telephone audio; OpenClaw ignores it for calls, and so does this."""
    for tts in _tts_paths(change.raw):
        path = (*tts, "provider")
        name = look_up(change.raw, path)
        if name in ("edge", "microsoft"):
            change = change.dropping(path)
            change = change.noting(f'{dotted(path)} "{name}" makes no telephone audio and is ignored.')
    return change


def step_08_tailscale(change: Change) -> Change:
    """`tailscale` became `tunnel`."""
    old = look_up(change.raw, ("tailscale",))
    mode = old.get("mode", "off") if isinstance(old, dict) else None
    if not isinstance(mode, str) or mode not in _TUNNELS:
        return change
    tunnel = look_up(change.raw, ("tunnel", "provider"))
    if mode != "off" and tunnel not in (MISSING, "none", _TUNNELS[mode]):
        for key in ("mode", "path", "port"):
            change = change.dropping(("tailscale", key))
        return change.noting("tailscale is ignored: tunnel.provider is set too and wins.")
    change = change.dropping(("tailscale", "mode"))
    if mode != "off":
        change = change.setting(("tunnel", "provider"), _TUNNELS[mode])
    for key in ("path", "port"):
        if mode == "off":
            change = change.dropping(("tailscale", key))
        else:
            change, _ = _shift(change, ("tailscale", key), ("tunnel", key))
    change = change.dropping(("tailscale",)) if look_up(change.raw, ("tailscale",)) == {} else change
    return change.noting("tailscale is now tunnel.")


def step_09_only_provider(change: Change) -> Change:
    """Who configures one vendor and names none means that one: OpenClaw takes the first it can use."""
    for section in ("streaming", "tts"):
        providers = look_up(change.raw, (section, "providers"))
        if look_up(change.raw, (section, "provider")) is not MISSING or not isinstance(providers, dict):
            continue
        if len(providers) == 1 and look_up(change.raw, (section, "enabled")) is not False:
            change = _infer(change, section, next(iter(providers)))
    return change


STEPS: tuple[Step, ...] = (
    step_01_mock_is_local,
    step_02_from_number,
    step_03_stt_provider,
    step_04_streaming_openai,
    step_05_stt_section,
    step_06_tts_sections,
    step_07_edge_speech,
    step_08_tailscale,
    step_09_only_provider,
)
"""In the order in which OpenClaw changed them; later steps see what earlier ones made."""

_STREAMING_PROVIDER = ("streaming", "provider")
_TRANSCRIBER_ALIASES = {
    f"{name}-realtime": name for name in ("openai", "deepgram", "elevenlabs", "mistral", "xai")
}
_OLD_OPENAI = {
    "openaiApiKey": "apiKey",
    "sttModel": "model",
    "silenceDurationMs": "silenceDurationMs",
    "vadThreshold": "vadThreshold",
}
_OLD_TTS_SECTIONS = ("elevenlabs", "openai", "edge", "cli")
_TTS_RENAMES = {"elevenlabs": {"voiceId": "speakerVoiceId"}, "openai": {"voice": "speakerVoice"}}
_TUNNELS = {"off": "none", "serve": "tailscale-serve", "funnel": "tailscale-funnel"}


def _infer(change: Change, section: str, name: str) -> Change:
    change = change.setting((section, "provider"), name)
    return change.noting(f"{section}.provider is not set; {name} is used, because its settings are there.")


def _tts_paths(raw: Tree) -> list[tuple[str, ...]]:
    numbers = look_up(raw, ("numbers",))
    own = [("numbers", number, "tts") for number in numbers] if isinstance(numbers, dict) else []
    return [("tts",), *own]


def _shift(change: Change, old: tuple[str, ...], new: tuple[str, ...]) -> tuple[Change, str]:
    """Move one value without a notice; says whether it `moved`, is `ignored`, or neither."""
    value = look_up(change.raw, old)
    if value is MISSING:
        return change, "absent"
    standing = look_up(change.raw, new)
    if standing is not MISSING and standing != value:
        return change.dropping(old), "ignored"
    raw = with_value(change.raw, new, value)
    if look_up(raw, new) is MISSING:
        return change, "blocked"
    moved = {**change.moved, fold(new): change.moved.get(fold(old), old)}
    return replace(change, raw=without(raw, old), moved=moved), "moved"


def _move(change: Change, old: tuple[str, ...], new: tuple[str, ...]) -> Change:
    change, outcome = _shift(change, old, new)
    if outcome == "moved":
        return change.noting(f"{dotted(old)} is now {dotted(new)}.")
    return _ignoring(change, old, new) if outcome == "ignored" else change


def _ignoring(change: Change, old: tuple[str, ...], new: tuple[str, ...]) -> Change:
    return change.noting(f"{dotted(old)} is ignored: {dotted(new)} is set too and wins.")


def _move_tts_section(change: Change, old: tuple[str, ...], new: tuple[str, ...]) -> Change:
    section = look_up(change.raw, old)
    if not isinstance(section, dict):
        return change
    renames = _TTS_RENAMES.get(old[-1], {})
    outcomes: dict[str, str] = {}
    for key in section:
        source, target = (*old, str(key)), (*new, str(renames.get(key, key)))
        change, outcomes[key] = _shift(change, source, target)
        if outcomes[key] == "ignored":
            change = _ignoring(change, source, target)
    if not section:
        change = change.dropping(old)
    elif "moved" not in outcomes.values():
        return change
    renamed = [f"{key} is {renames[key]}" for key in section if key in renames and outcomes[key] == "moved"]
    extra = f", where {' and '.join(renamed)}" if renamed else ""
    return change.noting(f"{dotted(old)} is now {dotted(new)}{extra}.")
