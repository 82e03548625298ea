"""The caller, as Gemini lets us know of them: words in pieces, and somebody who speaks over the model. Pure."""

from openclaw_voicecall.api.realtime import CallerSaid, RealtimeEvent
from openclaw_voicecall.api.speech import SpeechEdge


class Caller:
    """Makes items and edges of what comes.

    Args:
        events: Gets them.
    """

    def __init__(self, events: list[RealtimeEvent]) -> None:
        self._events = events
        self._heard: str | None = None
        """What was said in an item that is not final."""
        self._items = 0
        self._speaking = False

    def words(self, text: str, interim: str, *, over_model: bool) -> None:
        """Words have come: `text` to stay, `interim` to be replaced. Words over the model are no interruption yet."""
        if self._heard is None and not (text + interim).strip():
            return
        if not over_model:
            self.speaks()
        self._heard = self._open_item() + text
        self._events.append(CallerSaid(f"caller_{self._items}", (self._heard + interim).strip(), False))

    def speaks(self) -> None:
        """Whoever begins to speak is owed a final, and be it one without words."""
        if not self._speaking:
            self._speaking = True
            self._events.append(SpeechEdge(True))
            self._open_item()

    def pauses(self) -> None:
        """The caller is silent; words may still come."""
        if self._speaking:
            self._speaking = False
            self._events.append(SpeechEdge(False))

    def finish(self) -> None:
        """What was said is final: a transcript may come late, but not after the turn that answers it."""
        self.pauses()
        if self._heard is not None:
            self._events.append(CallerSaid(f"caller_{self._items}", self._heard.strip(), True))
            self._heard = None

    def _open_item(self) -> str:
        if self._heard is None:
            self._items += 1
            self._heard = ""
        return self._heard
