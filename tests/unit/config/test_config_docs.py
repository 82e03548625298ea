import json
import subprocess
import sys

import pytest

from openclaw_voicecall.config import docs
from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.descriptions import describe_settings
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.config.shapes import shape_of

pytestmark = pytest.mark.static

MODEL = build_config_model()


def settings(model, path=()):
    for name, info in model.model_fields.items():
        here = (*path, info.alias or name)
        shape = shape_of(info.annotation)
        inner = shape.model or (shape_of(shape.values).model if shape.values is not None else None)
        yield here, info, inner
        if inner is not None:
            yield from settings(inner, here)


def test_the_page_is_what_the_models_say():
    assert docs.PAGE.read_text(encoding="utf-8") == docs.render(MODEL), (
        "run: python -m openclaw_voicecall.config.docs"
    )


def test_every_setting_says_what_it_means():
    describe_settings(MODEL)
    for path, info, inner in settings(MODEL):
        documented = info.description or (inner is not None and (inner.__doc__ or path[-1] == "providers"))
        assert documented, ".".join(path)


def test_every_setting_is_on_the_page():
    page = docs.render(MODEL)
    for path, _, inner in settings(MODEL):
        if inner is None:
            assert f"| `{path[-1]}` |" in page, ".".join(path)
        elif inner is not CamelModel and inner.__doc__ and path[:1] != ("numbers",):
            assert f"### `{'.'.join(path)}`" in page, ".".join(path)


def test_the_generator_writes_where_it_is_told(tmp_path):
    page = tmp_path / "docs" / "config.md"
    subprocess.run([sys.executable, "-m", "openclaw_voicecall.config.docs", str(page)], check=True)
    assert page.read_text(encoding="utf-8") == docs.render(MODEL)


def test_importing_the_base_of_the_plugin_contract_loads_no_parser_and_no_phone_tables():
    code = (
        "import sys, json, openclaw_voicecall.config.base, openclaw_voicecall.config.numbers;"
        "print(json.dumps([m for m in ('yaml', 'json5', 'phonenumbers', 'aiohttp') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == []
