"""What the agent says in a turn, out of the progress that the bridge tells and the text at its end."""

from typing import Any

from openclaw_voicecall.providers._pauses import SENTENCE_ENDS


class Words:
    """The words of one turn. What was heard stays heard: a text that the agent thinks better of is not said again."""

    def __init__(self) -> None:
        self.written = ""
        """All of them so far."""
        self._message = ""
        """Those of the message that is being written: the agent begins a new one after a tool."""

    def take(self, progress: Any) -> str:
        """What is new in a piece of progress: a delta, a whole message that replaces its beginning, or a tool."""
        if not isinstance(progress, dict):
            return ""
        if "tool" in progress:
            message, self._message = self._message, ""
            if message.rstrip().endswith(SENTENCE_ENDS):
                return self._said("\n")  # it is heard while the tool works
            return self._said(" ") if message and not message[-1].isspace() else ""
        text, replaced = progress.get("delta"), progress.get("replace")
        if not isinstance(text, str):
            text = _rest(self._message, replaced) if isinstance(replaced, str) else ""
        self._message += text
        return self._said(text)

    def finish(self, whole: str) -> str:
        """What is left to say, given the text of the whole turn, or of its last message."""
        left = _rest(self.written, whole) or (_rest(self._message, whole) if self._message or whole else "")
        return self._said(left if left.strip() else "")

    def _said(self, text: str) -> str:
        self.written += text
        return text


def _rest(begun: str, whole: str) -> str:
    """What follows in `whole` after `begun`, whatever the spaces between words; empty when it begins otherwise."""
    at = 0
    for char in begun:
        if char.isspace():
            continue
        while at < len(whole) and whole[at].isspace():
            at += 1
        if at >= len(whole) or whole[at] != char:
            return ""
        at += 1
    return whole[at:].lstrip() if begun[-1:].isspace() else whole[at:]
