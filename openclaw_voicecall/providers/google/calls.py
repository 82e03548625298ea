"""Functions that Gemini has called, until their results go back. Pure.

Results of calls that came together go back together. A call may be called off while it runs: because the caller spoke
over the turn, and then nobody waits for it any more; or because a text of ours did, and then its result is still
wanted (google-genai SDK, types.py, LiveServerToolCallCancellation).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Results:
    """All results of calls that came together.

    Attributes:
        outputs: Id of the call, name of the function and its output.
        asked: Name of the reply that follows.
        answer: Whether anybody wants it to.
    """

    outputs: tuple[tuple[str, str, str], ...]
    asked: str
    answer: bool


@dataclass(slots=True)
class Calls:
    """The calls of one session."""

    _names: dict[str, str] = field(default_factory=dict)
    """Functions of the calls that are under way or done, by call."""
    _outputs: dict[str, str] = field(default_factory=dict)
    _wanted: dict[str, str] = field(default_factory=dict)
    """The same of those that were called off, and whose results are still wanted."""
    _asked: str = ""
    _answer: bool = False

    @property
    def are_under_way(self) -> bool:
        """Whether Gemini waits for results."""
        return bool(self._names)

    def add(self, names: Mapping[str, str]) -> None:
        """Functions were called, by the ids of the calls."""
        self._names.update(names)

    def give(self, call: str, output: str, *, asked: str, answer: bool) -> bool:
        """Note a result; False where Gemini does not wait for it."""
        if call not in self._names or call in self._outputs:
            return False
        self._outputs[call] = output
        self._asked, self._answer = asked or self._asked, self._answer or answer
        return True

    def call_off(self, call: str, *, wanted: bool) -> None:
        """Gemini does not wait for a call any more; `wanted` says whether its result is to be told all the same."""
        name = self._names.pop(call, None)
        self._outputs.pop(call, None)
        if name is not None and wanted:
            self._wanted[call] = name

    def take_wanted(self, call: str) -> str:
        """The function of a call that was called off and whose result is wanted, once; empty for any other."""
        return self._wanted.pop(call, "")

    def take_results(self) -> Results | None:
        """All results, once they are all there. Without any output if all was called off."""
        if len(self._outputs) < len(self._names) or not (self._names or self._asked):
            return None
        outputs = tuple((call, self._names[call], output) for call, output in self._outputs.items())
        results = Results(outputs, self._asked, self._answer)
        self._names, self._outputs, self._asked, self._answer = {}, {}, "", False
        return results
