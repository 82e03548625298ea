"""Reads phone scripts from YAML and refuses everything it does not know, with file and line.

The file is read as YAML nodes and not as Python values, because only nodes know their line, and because `yes`, `on`
and `1_000` must mean what they say here and not what YAML 1.1 makes of them.
"""

import difflib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from openclaw_voicecall.errors import ScriptError
from openclaw_voicecall.providers.local.phone import script as parts

BUILT_IN = Path(__file__).parent / "scripts"
MAX_BYTES = 256 * 1024
MAX_DEPTH = 5
"""Levels of `repeat`."""
MAX_NESTING = 30
"""Levels of YAML."""

_ANSWERS = {
    "yes": "yes",
    "true": "yes",
    "never": "never",
    "busy": "busy",
    "reject": "reject",
    "voicemail": "voicemail",
}
_STEPS = (
    "wait", "say", "play", "interrupt", "silence", "press", "noise", "tone", "drop", "hang_up", "repeat",
)  # fmt: skip
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_DEFAULT_FROM = "+15550001234"
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")


def built_in_scripts() -> tuple[str, ...]:
    """Names of the scripts that come with the package."""
    return tuple(sorted(path.stem for path in BUILT_IN.glob("*.yaml")))


def load_script(source: str) -> parts.Script:
    """Read a script: a built-in one by its name, or a YAML file by its path.

    Raises:
        ScriptError: There is no such script, or something in it is wrong; the text begins with file and line.
    """
    path = BUILT_IN / f"{source}.yaml" if source in built_in_scripts() else Path(source)
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise ScriptError(f"{path}: a script of {len(data)} bytes is too large")
        text = data.decode()
    except OSError as error:
        known = ", ".join(built_in_scripts())
        raise ScriptError(f"{source}: {error.strerror or error}; built-in scripts are {known}") from error
    except UnicodeDecodeError as error:
        raise ScriptError(f"{path}: not UTF-8 text") from error
    return read_script(text, path)


def read_script(text: str, path: Path) -> parts.Script:
    """Read a script from its text. `path` is named in errors, and files to play are relative to it.

    Raises:
        ScriptError: As `load_script`.
    """
    try:
        _refuse_knots(text, path)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ScriptError(f"{path}:{_line(mark)}: {error.problem or 'not YAML'}") from error
    except yaml.YAMLError as error:
        raise ScriptError(f"{path}:1: not YAML: {error}") from error
    return _ScriptReader(path).script(root)


def _refuse_knots(text: str, path: Path) -> None:
    """Aliases could make a small file endless, and deep nesting would use up the stack of the reader."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ScriptError(
                f"{path}:{_line(event.start_mark)}: a script has no aliases; write the steps out"
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_NESTING:
            raise ScriptError(f"{path}:{_line(event.start_mark)}: nested too deep")


def _line(mark: Any) -> int:
    """The line of a mark, counted from 1; the stubs of PyYAML disagree about what kinds of marks there are."""
    return mark.line + 1 if mark is not None else 1


class _Fields:
    """One mapping of the file: gives each key once, and in the end refuses those that nobody asked for."""

    def __init__(self, reader: "_ScriptReader", node: yaml.Node, what: str, known: tuple[str, ...]) -> None:
        if not isinstance(node, yaml.MappingNode):
            raise reader.error(node, f"{what} must be written as `key: value`")
        self.node = node
        self._reader = reader
        self._values: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            if name in self._values:
                raise reader.error(key, f"{name} is written twice")
            if name not in known:
                raise reader.error(key, f"{what} has no key {name!r}{_suggest(name, known)}")
            self._values[name] = value

    def get(self, name: str) -> yaml.Node | None:
        return self._values.get(name)

    def need(self, name: str) -> yaml.Node:
        node = self._values.get(name)
        if node is None:
            raise self._reader.error(self.node, f"{name} is missing")
        return node

    def number(self, name: str, default: float, low: float = 0.0, high: float = parts.LONGEST) -> float:
        node = self.get(name)
        return default if node is None else self._reader.number(node, name, low, high)

    def flag(self, name: str) -> bool:
        node = self.get(name)
        if node is None:
            return False
        word = self._reader.text(node, name).lower()
        if word not in ("yes", "no", "true", "false"):
            raise self._reader.error(node, f"{name} must be yes or no")
        return word in ("yes", "true")


class _ScriptReader:
    """Turns the nodes of one file into a `Script`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def error(self, node: yaml.Node | None, problem: str) -> ScriptError:
        line = _line(node.start_mark if node is not None else None)
        return ScriptError(f"{self._path}:{line}: {problem}")

    def script(self, root: yaml.Node | None) -> parts.Script:
        if root is None:
            raise self.error(None, "the script is empty")
        known = ("name", "from", "ring", "answer", "noise", "linger", "steps", "greeting", "beep", "silence")
        fields = _Fields(self, root, "a script", known)
        answer = self._answer(fields.get("answer"))
        noise = fields.get("noise")
        return parts.Script(
            name=self.text(fields.need("name"), "name"),
            from_number=self._from_number(fields.get("from")),
            ring=fields.number("ring", 1.0),
            answer=answer,
            noise=None if noise is None else self._level(noise),
            linger=fields.number("linger", 30.0),
            steps=self._voicemail(fields) if answer == "voicemail" else self._conversation(fields, answer),
        )

    def _answer(self, node: yaml.Node | None) -> str:
        word = "yes" if node is None else self.text(node, "answer")
        if word.lower() not in _ANSWERS:
            raise self.error(node, f"answer cannot be {word!r}{_suggest(word, tuple(_ANSWERS))}")
        return _ANSWERS[word.lower()]

    def _from_number(self, node: yaml.Node | None) -> str:
        number = _DEFAULT_FROM if node is None else self.text(node, "from")
        if not _E164.fullmatch(number):
            raise self.error(node, f"from must be a number such as +15550001234, not {number!r}")
        return number

    def _conversation(self, fields: _Fields, answer: str) -> tuple[parts.Step, ...]:
        for key in ("greeting", "beep", "silence"):
            if (node := fields.get(key)) is not None:
                raise self.error(node, f"{key} needs `answer: voicemail`")
        node = fields.get("steps")
        if node is None:
            return ()
        if answer != "yes":
            raise self.error(node, f"steps are never reached with `answer: {answer}`")
        return self._steps(node, 1)

    def _voicemail(self, fields: _Fields) -> tuple[parts.Step, ...]:
        """An answering machine, written out as steps: greeting, pause, beep, record until it is silent."""
        if (node := fields.get("steps")) is not None:
            raise self.error(node, "`answer: voicemail` has its own steps: greeting, beep, silence")
        greeting = fields.need("greeting")
        lines = (
            self._items(greeting, "greeting")
            if isinstance(greeting, yaml.SequenceNode)
            else iter((greeting,))
        )
        beep = fields.get("beep")
        silence = fields.number("silence", 3.0, 0.1)
        return (
            parts.Silence(seconds=0.5),
            *(parts.Say(text=self.text(line, "greeting")) for line in lines),
            parts.Silence(seconds=0.5),
            parts.Tone(hz=1000.0, seconds=0.5) if beep is None else self._tone(beep),
            parts.WaitForAgent(timeout=10.0, pause=silence),
            parts.HangUp(),
        )

    def _steps(self, node: yaml.Node, depth: int) -> tuple[parts.Step, ...]:
        if depth > MAX_DEPTH:
            raise self.error(node, f"steps are nested more than {MAX_DEPTH} deep")
        return tuple(self._step(item, depth) for item in self._items(node, "steps"))

    def _step(self, node: yaml.Node, depth: int) -> parts.Step:
        if isinstance(node, yaml.ScalarNode):
            if node.value == "hang_up":
                return parts.HangUp()
            raise self.error(node, f"unknown step {node.value!r}{_suggest(str(node.value), _STEPS)}")
        options = ("timeout", "pause", "audible")
        fields = _Fields(self, node, "a step", _STEPS + options)
        verbs = [verb for verb in _STEPS if fields.get(verb) is not None]
        if len(verbs) != 1:
            raise self.error(
                node, f"a step does one thing, not {' and '.join(verbs) or 'none'}; begin it with a dash"
            )
        verb = verbs[0]
        allowed = {"wait": ("timeout", "pause"), "press": ("audible",)}.get(verb, ())
        for option in options:
            if (value := fields.get(option)) is not None and option not in allowed:
                raise self.error(value, f"{verb} has no option {option!r}")
        return self._do(verb, fields.need(verb), fields, depth)

    def _do(self, verb: str, value: yaml.Node, fields: _Fields, depth: int) -> parts.Step:
        match verb:
            case "wait":
                return self._wait(value, fields)
            case "say":
                return parts.Say(text=self.text(value, verb))
            case "play":
                return self._play(value)
            case "interrupt":
                return self._interrupt(value)
            case "silence":
                return parts.Silence(seconds=self.number(value, verb, 0.0, parts.LONGEST))
            case "press":
                return self._press(value, fields.flag("audible"))
            case "noise":
                return parts.Noise(dbfs=self._level(value))
            case "tone":
                return self._tone(value)
            case "drop":
                return self._drop(value)
            case "repeat":
                inner = _Fields(self, value, "repeat", ("times", "steps"))
                times = self._whole(inner.need("times"), "times", 1, 1000)
                return parts.Repeat(times=times, steps=self._steps(inner.need("steps"), depth + 1))
        raise self.error(value, "hang_up takes no value: write `- hang_up`")

    def _wait(self, value: yaml.Node, fields: _Fields) -> parts.WaitForAgent:
        word = self.text(value, "wait")
        if word != "agent":
            raise self.error(
                value, f"wait can only be for agent, not {word!r}; to wait for a time, use silence"
            )
        return parts.WaitForAgent(
            timeout=fields.number("timeout", 15.0), pause=fields.number("pause", 1.0, 0.1, 60.0)
        )

    def _play(self, value: yaml.Node) -> parts.Play:
        path = self._path.parent / self.text(value, "play")
        if path.suffix not in (".wav", ".ulaw"):
            raise self.error(value, f"play takes .wav and .ulaw files, not {path.name!r}")
        if not path.is_file():
            raise self.error(value, f"there is no file {path}")
        return parts.Play(path=path)

    def _interrupt(self, value: yaml.Node) -> parts.Interrupt:
        fields = _Fields(self, value, "interrupt", ("after_ms", "say", "play", "timeout"))
        say, play = fields.get("say"), fields.get("play")
        if (say is None) == (play is None):
            raise self.error(value, "interrupt needs either say or play")
        words = parts.Say(text=self.text(say, "say")) if say is not None else self._play(fields.need("play"))
        after = self.number(fields.need("after_ms"), "after_ms", 0, 60000) / 1000
        return parts.Interrupt(after=after, words=words, timeout=fields.number("timeout", 15.0))

    def _press(self, value: yaml.Node, audible: bool) -> parts.Press:
        digits = self.text(value, "press")
        if not re.fullmatch(r"[0-9*#A-Dw]{1,64}", digits):
            raise self.error(
                value, f"press takes keys 0-9 * # A-D and w for a pause, in quotes, not {digits!r}"
            )
        return parts.Press(digits=digits, audible=audible)

    def _tone(self, value: yaml.Node) -> parts.Tone:
        fields = _Fields(self, value, "tone", ("hz", "ms", "dbfs"))
        return parts.Tone(
            hz=self.number(fields.need("hz"), "hz", 50, 3900),
            seconds=self.number(fields.need("ms"), "ms", 10, 60000) / 1000,
            dbfs=fields.number("dbfs", -12.0, -60.0, -3.0),
        )

    def _drop(self, value: yaml.Node) -> parts.Drop:
        if isinstance(value, yaml.ScalarNode):
            if value.value != "hang":
                raise self.error(value, "drop takes `hang` or `{for: seconds}`")
            return parts.Drop(seconds=2.0, cut=True)
        fields = _Fields(self, value, "drop", ("for",))
        return parts.Drop(seconds=self.number(fields.need("for"), "for", 0.0, 600.0))

    def _items(self, node: yaml.Node, what: str) -> Iterator[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(node, f"{what} must be a list: one `- ...` on each line")
        return iter(node.value)

    def text(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or not str(node.value).strip():
            raise self.error(node, f"{what} must be text")
        return str(node.value)

    def number(self, node: yaml.Node, what: str, low: float, high: float) -> float:
        word = self.text(node, what)
        value = float(word) if _NUMBER.fullmatch(word) else math.nan
        if not low <= value <= high:
            raise self.error(node, f"{what} must be a number from {low:g} to {high:g}, not {word!r}")
        return value

    def _whole(self, node: yaml.Node, what: str, low: int, high: int) -> int:
        value = self.number(node, what, low, high)
        if value != int(value):
            raise self.error(node, f"{what} must be a whole number")
        return int(value)

    def _level(self, node: yaml.Node) -> float | None:
        return (
            None
            if self.text(node, "noise").lower() in ("off", "no")
            else self.number(node, "noise", -90, -10)
        )


def _suggest(word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
