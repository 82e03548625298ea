import os

import pytest

from openclaw_voicecall.config.read import LARGEST_FILE, Text, parse, read_file
from openclaw_voicecall.errors import ConfigError

pytestmark = pytest.mark.unit


def parsed(content, *, yaml=False):
    return parse(Text("config", content, yaml))


def refused(content, *, yaml=False):
    with pytest.raises(ConfigError) as caught:
        parsed(content, yaml=yaml)
    return str(caught.value)


JSON5 = """// a phone
{
  provider: 'twilio', /* comment
  over lines */ serve: {port: 0x10},
  "numbers": {"+15550001234": {}},
  allowFrom: [
    "+15550001235",
    "+15550001236", // {not: "a key"}
  ],
}
"""


def test_json5_gives_values_and_the_line_of_every_key():
    data, lines = parsed(JSON5)
    assert data == {
        "provider": "twilio",
        "serve": {"port": 16},
        "numbers": {"+15550001234": {}},
        "allowFrom": ["+15550001235", "+15550001236"],
    }
    assert lines == {
        ("provider",): 3,
        ("serve",): 4,
        ("serve", "port"): 4,
        ("numbers",): 5,
        ("numbers", "+15550001234"): 5,
        ("allowfrom",): 6,
        ("allowfrom", 0): 7,
        ("allowfrom", 1): 8,
    }


YAML = """# a phone
fromNumber: +15550001234
interruptions:
  mode: off
  minWords: 2
recording: {enabled: true}
allowFrom:
  - +15550001235
playout: {leadMs: 0x3e8}
greeting: 2026-01-31
ratio: 0.5
nothing: ~
"""


def test_yaml_has_no_surprises():
    data, lines = parsed(YAML, yaml=True)
    assert data == {
        "fromNumber": "+15550001234",
        "interruptions": {"mode": "off", "minWords": 2},
        "recording": {"enabled": True},
        "allowFrom": ["+15550001235"],
        "playout": {"leadMs": 1000},
        "greeting": "2026-01-31",
        "ratio": 0.5,
        "nothing": None,
    }
    assert lines["interruptions", "mode"] == 4
    assert lines["allowfrom", 0] == 8


@pytest.mark.parametrize("yaml", [False, True])
@pytest.mark.parametrize("content", ["", "  \n\t\n"])
def test_an_empty_file_is_an_empty_configuration(content, yaml):
    assert parsed(content, yaml=yaml) == ({}, {})


def test_a_yaml_file_of_comments_is_an_empty_configuration():
    assert parsed("# nothing yet\n", yaml=True) == ({}, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{a: 1,\n b:}", 'config, line 2, column 4: not JSON5: unexpected "}"'),
        ('{"a": 1', "config, line 1, column 8: not JSON5: unexpected end of input"),
        ("[1]", "config: expected a group of settings at the top, found something else"),
        ('{"a": 1,\n "b": 2,\n "a": 3}', "config, line 3: a is written twice, first on line 1"),
        ("{a: {b: 1,\n 'b': 2}}", "config, line 2: a.b is written twice, first on line 1"),
    ],
)
def test_mistakes_in_json5_are_shown_with_their_line(content, message):
    assert refused(content) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1", "config, line 1, column 6: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "config, line 4: b.c is written twice, first on line 3"),
        ("- 1", "config: expected a group of settings at the top, found something else"),
        ("? [a]\n: 1", "config, line 1: expected a name as key, found a group or list"),
        (
            "a: !!python/object:os.system x",
            "config, line 1: the tag tag:yaml.org,2002:python/object:os.system is not taken here",
        ),
        ("a: !!binary aGk=", "config, line 1: the tag tag:yaml.org,2002:binary is not taken here"),
        ("a: !!int many", "config, line 1: not a int"),
        ("a: 1\n---\nb: 2", "config, line 2, column 1: not YAML: but found another document"),
    ],
)
def test_mistakes_in_yaml_are_shown_with_their_line(content, message):
    assert refused(content, yaml=True) == message


@pytest.mark.parametrize("depth", [40, 500, 100_000])
def test_deep_nesting_is_refused_and_not_a_crash(depth):
    assert "nested more than 32 levels deep" in refused("[" * depth + "]" * depth)
    assert "nested more than 32 levels deep" in refused('{"a":' * depth + "1" + "}" * depth)


def test_deep_nesting_in_yaml_is_refused_and_not_a_crash():
    assert "nested more than 32 levels deep" in refused("a: " + "[" * 3000 + "]" * 3000, yaml=True)


def test_a_yaml_file_that_multiplies_itself_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "multiplies itself by aliases" in refused("\n".join(lines), yaml=True)


def test_a_yaml_alias_to_its_own_parent_is_refused():
    assert "nested more than 32 levels" in refused("a: &a [*a]", yaml=True)


def test_plain_aliases_work():
    data, _ = parsed("a: &words [x, y]\nb: *words", yaml=True)
    assert data["b"] == ["x", "y"]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.json5: the configuration cannot be read: No such file"):
        read_file(tmp_path / "nowhere.json5")


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="expected a file"):
        read_file(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="expected a file"):
        read_file(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path = tmp_path / "voicecall.json5"
    path.write_text("{}")
    path.chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        read_file(path)


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    path = tmp_path / "voicecall.json5"
    path.write_bytes(b"{\n a: '\xff'}")
    with pytest.raises(ConfigError, match="line 2: not text in UTF-8"):
        read_file(path)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "voicecall.json"
    path.write_bytes(b'\xef\xbb\xbf{"enabled": true}')
    assert parse(read_file(path))[0] == {"enabled": True}


def test_a_file_that_is_too_large_is_refused(tmp_path):
    path = tmp_path / "voicecall.json5"
    path.write_bytes(b" " * (LARGEST_FILE + 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_file(path)
