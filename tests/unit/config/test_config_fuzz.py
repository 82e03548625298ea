"""Whatever stands in a configuration, loading it ends with a configuration or with a ConfigError."""

import json
import math

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openclaw_voicecall.config.compat import migrate
from openclaw_voicecall.config.load import load_config
from openclaw_voicecall.config.read import Text, parse
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.config.secrets import redacted
from openclaw_voicecall.config.shapes import keys_of, shape_of
from openclaw_voicecall.errors import ConfigError

pytestmark = pytest.mark.unit

MODEL = build_config_model()
OLD_KEYS = [
    "from",
    "openaiApiKey",
    "sttModel",
    "sttProvider",
    "stt",
    "model",
    "voice",
    "voiceId",
    "edge",
    "cli",
]


def known_keys(model, seen=None):
    found = set() if seen is None else seen
    for info in model.model_fields.values():
        shape = shape_of(info.annotation)
        inner = shape.model or (shape_of(shape.values).model if shape.values is not None else None)
        if inner is not None:
            found.update(keys_of(inner))
            known_keys(inner, found)
    return found | set(keys_of(model))


KEYS = sorted(known_keys(MODEL) | set(OLD_KEYS) | {"__proto__", "plugins", "entries", "voice-call", "config"})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "openai",
            "elevenlabs",
            "local",
            "mock",
            "+15550001234",
            "${X}",
            "env:X",
            "file:/x",
            "file:\0",
            "\ud800",
            "funnel",
        ]
    ),
)
KEY = st.one_of(st.sampled_from(KEYS), st.sampled_from(KEYS), st.text(max_size=5))
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=5),
    max_leaves=25,
)
MAPPINGS = st.dictionaries(KEY, TREES, max_size=6)
FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def loads_or_is_refused(raw, **options):
    try:
        loaded = load_config(raw, model=MODEL, env=options.pop("env", {"X": "secret"}), **options)
    except ConfigError as error:
        message = str(error)
    else:
        message = str(redacted(loaded.config))
        loaded.config.call_policy("inbound", "conversation")
    assert message.replace("\n", "").isprintable()


def one_key_at_a_time():
    """Every known path, with a value that mostly does not belong there."""

    def paths(model, path=()):
        for name, info in model.model_fields.items():
            here = (*path, info.alias or name)
            yield here
            shape = shape_of(info.annotation)
            inner = shape.model or (shape_of(shape.values).model if shape.values is not None else None)
            if inner is not None:
                yield from paths(inner, (*here, "+15550001234") if shape.model is None else here)

    return st.sampled_from(list(paths(MODEL)))


@FEW
@given(MAPPINGS)
@example({"streaming": {"providers": 5, "openaiApiKey": []}})
@example({"provider": ["twilio"], "tts": {"provider": {}}, "responseModel": "/"})
def test_any_tree_loads_or_is_refused(raw):
    loads_or_is_refused(raw)


@FEW
@given(one_key_at_a_time(), TREES)
def test_any_value_at_any_known_place_loads_or_is_refused(path, value):
    for key in reversed(path):
        value = {key: value}
    loads_or_is_refused(value)


@FEW
@given(
    st.dictionaries(KEY.filter(bool), TREES, max_size=3), st.dictionaries(KEY, SCALARS.map(str), max_size=5)
)
def test_any_command_line_and_environment_load_or_are_refused(overrides, variables):
    env = {f"VOICECALL_{key}".upper(): value for key, value in variables.items()}
    loads_or_is_refused({}, env=env, overrides=overrides)


@FEW
@given(MAPPINGS)
def test_migrating_any_tree_twice_finds_nothing_more(raw):
    once, _ = migrate(raw)
    assert migrate(once)[0] == once


def finite(value):
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return 0.5 if isinstance(value, float) and not math.isfinite(value) else value


@FEW
@given(MAPPINGS, st.sampled_from([None, 2]))
def test_any_json_is_read_back_with_a_line_for_every_key(raw, indent):
    raw = finite(raw)
    text = json.dumps(raw, indent=indent)
    data, lines = parse(Text("config", text, yaml=False))
    assert data == raw
    assert len([path for path in lines if len(path) == 1]) <= len(raw)
    assert all(0 < line <= text.count("\n") + 1 for line in lines.values())


@FEW
@given(MAPPINGS.filter(bool))
def test_any_yaml_that_yaml_writes_is_read_or_refused(raw):
    text = yaml.safe_dump(finite(raw), allow_unicode=False)
    try:
        data, _ = parse(Text("config", text, yaml=True))
    except ConfigError:
        return
    assert data.keys() == raw.keys()


@FEW
@given(st.text(max_size=60) | st.text(alphabet="{}[]:,\"'/*\\ab1+-.&!?|>#\n\t ", max_size=60), st.booleans())
def test_any_text_is_read_or_refused(text, is_yaml):
    try:
        data, _ = parse(Text("config", text, yaml=is_yaml))
    except ConfigError as error:
        data, message = {}, str(error)
    else:
        message = ""
    assert isinstance(data, dict)
    assert message.replace("\n", "").isprintable()
