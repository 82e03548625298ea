"""Writes `docs/config.md` from the models: `python -m openclaw_voicecall.config.docs`.

A test fails when the file is not what this writes.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from openclaw_voicecall.config import sections_speech as speech
from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.compat import STEPS
from openclaw_voicecall.config.descriptions import describe_settings
from openclaw_voicecall.config.fields import PublicUrl
from openclaw_voicecall.config.numbers import E164
from openclaw_voicecall.config.schema import VoiceCallConfig, build_config_model
from openclaw_voicecall.config.shapes import NO_EFFECT, shape_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "config.md"
"""Where the page stands in a checkout."""

_INTRODUCTION = """\
# Configuration

<!-- Written by `python -m openclaw_voicecall.config.docs`; change the models, not this file. -->

No setting is needed for a first call: the defaults use a telephone and speech engines on this machine.

## Where settings come from

What is set twice is taken from the first of:

1. the command line;
2. the environment: `VOICECALL_SERVE__PORT=4000` is `serve.port`, two underscores go one level down. Lists may be
   written with commas, groups as JSON. An empty variable counts as not set;
3. the host program, or else one file: the one named on the command line, or by `OPENCLAW_VOICECALL_CONFIG` (which
   may also hold the configuration itself as JSON), or `voicecall.json5`, `.json`, `.yaml` or `.yml` in the current
   folder, or the same in the user's configuration folder. A whole `openclaw.json` is taken too: what counts is its
   `plugins.entries.voice-call.config`;
4. the variables that OpenClaw reads, for what is missing in a section that is used: `TWILIO_ACCOUNT_SID`,
   `TWILIO_AUTH_TOKEN`, `TWILIO_FROM_NUMBER`, `TELNYX_API_KEY`, `TELNYX_CONNECTION_ID`, `TELNYX_PUBLIC_KEY`,
   `PLIVO_AUTH_ID`, `PLIVO_AUTH_TOKEN`, `OPENAI_API_KEY`, `ELEVENLABS_API_KEY`, `DEEPGRAM_API_KEY`, `XAI_API_KEY`,
   `MISTRAL_API_KEY`, `GEMINI_API_KEY`, `ANTHROPIC_API_KEY`, `NGROK_AUTHTOKEN`, `NGROK_DOMAIN`, and
   `OPENCLAW_STATE_DIR` for `store`;
5. the default.

A file is JSON5 (JSON with comments, bare keys and loose commas) or YAML. In YAML only `true` and `false` are
booleans, so `mode: off` needs no quotes, and a number with a plus in front is a phone number. A key without a value
counts as not set. Unknown keys, wrong types and syntax errors stop the start with one message that names the file,
the line, the key and what was expected.

## Secrets

Where the type is *secret*, the value may be the secret itself, `${NAME}` or `env:NAME` for a variable of the
environment, `file:/path` for a file with nothing else in it, or OpenClaw's
`{"source": "env", "provider": "default", "id": "NAME"}`. Plugins may add other kinds. `${NAME}` works for every text
setting. Secrets are shown as `**********` everywhere.

## Providers

The sections of carriers, transcribers, synthesizers, responders and turn detectors come from their plugins; this page
lists those that OpenClaw documents, which are accepted whether or not a plugin is installed. Naming a provider that no
plugin registered stops the start with the list of those that are.
"""

_OLD = """\
## Old settings

Files written for earlier releases of OpenClaw load as they are. Each old setting gives one notice; where old and new
stand side by side, the new one wins. `openclaw-voicecall config migrate` shows the file in the names of today.

| step | what it does |
|---|---|
"""


def render(model: type[VoiceCallConfig]) -> str:
    """The page for a configuration model, in Markdown."""
    describe_settings(model)
    parts = [_INTRODUCTION, "## All settings\n", *_group(model, ())]
    steps = [f"| {number} | {_first_line(step.__doc__)} |\n" for number, step in enumerate(STEPS, start=1)]
    return "\n".join([*parts, _OLD + "".join(steps)])


def _group(model: type[CamelModel], path: Sequence[str]) -> Iterator[str]:
    rows, below = [], []
    for name, info in model.model_fields.items():
        key = info.alias or name
        shape = shape_of(info.annotation)
        inner = shape.model or (shape_of(shape.values).model if shape.values is not None else None)
        if inner is None:
            rows.append(_row(key, info))
        elif NO_EFFECT in info.metadata:
            rows.append(_row(key, info))
            below.append((key, inner, False))
        elif inner.model_fields:
            below.append((key, inner, shape.model is None))
    meaning = _paragraph(model.__doc__)
    if path and (rows or meaning):
        yield f"### `{'.'.join(path)}`\n"
        yield f"{meaning}\n"
    if rows:
        yield "| key | type | default | meaning |\n|---|---|---|---|\n" + "".join(rows)
    for key, inner, free in below:
        # The voice of one number has the keys of the common voice; listing them twice helps nobody.
        if not (path and inner.__name__ == speech.TtsConfig.__name__):
            yield from _group(inner, (*path, key, "<number>") if free else (*path, key))


def _row(key: str, info: FieldInfo) -> str:
    meaning = _paragraph(info.description)
    if NO_EFFECT in info.metadata:
        meaning = f"{meaning} Accepted, without effect.".strip()
    return f"| `{key}` | {_type(info.annotation, info.metadata)} | {_default(info)} | {_cell(meaning)} |\n"


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined or isinstance(value, CamelModel):
        return "required" if info.is_required() else ""
    if isinstance(value, tuple | list | dict):
        value = list(value) if not isinstance(value, dict) else value
    return f"`{_cell(json.dumps(value, ensure_ascii=False))}`"


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    if annotation == E164 or (annotation is str and list(get_args(E164)[1:]) == list(metadata)):
        return "phone number"
    if annotation == PublicUrl:
        return "URL"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], arguments[1:])
    if origin is Literal:
        return " \\| ".join(f"`{word}`" for word in arguments)
    shape = shape_of(annotation)
    if type(None) in arguments:
        return _type(next(argument for argument in arguments if argument is not type(None)), metadata)
    if shape.items is not None:
        return f"list of {_type(shape.items)}"
    if shape.model is not None or shape.values is not None:
        return "group"
    if shape.secret:
        return "*secret*"
    return _SIMPLE.get(annotation, "any")


_SIMPLE: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
}


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split())


def _first_line(text: str | None) -> str:
    return _cell(_paragraph((text or "").partition("\n\n")[0]))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: Sequence[str]) -> int:
    """Write the page, to the path given or to its place in the checkout."""
    path = Path(arguments[0]) if arguments else PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(build_config_model()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
