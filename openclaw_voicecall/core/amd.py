"""AMD: whether the far party is an answering machine, and whether a beep is the one to talk after."""

import re
from typing import Final

PAUSE: Final = 1.0
"""Seconds of silence that end a stretch of talk. Announcements are read without them; people wait for an answer."""
LONG_TALK: Final = 3.0
"""Seconds of unbroken talk before a beep that only a machine makes. People who answer say a word or two."""
BEEP_PATIENCE: Final = 12.0
"""Seconds after an announcement in which its beep may still come. Without one it was a person after all."""
WORDS_LATE: Final = 4.0
"""Seconds after a beep in which the words of its announcement may still come: a transcriber waits for a pause."""

_ANNOUNCEMENT: Final = re.compile(
    r"""leav(?:e|ing)\s+(?:\w+\s+){0,4}(?:message|voice\s?mail)
    | (?:after|at|following)\s+the\s+(?:tone|beep|signal)
    | (?:not\s+|un)available | voice\s?mail | mail\s?box
    | record\s+(?:your|a)\s+message
    | (?:can(?:no|'|’)t|unable\s+to)\s+(?:\w+\s+){0,2}(?:to\s+the\s+phone|(?:take|answer)\s+(?:your|the|this)\s+call)
    | nach\s+dem\s+(?:signal|piep|ton) | hinterlassen\s+sie
    | despu[eé]s\s+(?:del\s+tono|de\s+la\s+se[nñ]al) | deje\s+(?:su|un)\s+mensaje
    | apr[eè]s\s+le\s+(?:bip|signal) | laisse[rz]\s+(?:un|votre)\s+message
    """,
    re.IGNORECASE | re.VERBOSE,
)


class MachineDetector:
    """Weighs what is known about the far party of one call.

    Args:
        window: Seconds after the answer in which a machine may show itself. Zero switches the detector off.
    """

    __slots__ = (
        "_announced",
        "_announced_until",
        "_answered_at",
        "_beeped_at",
        "_evidence_at",
        "_run_from",
        "_stopped_at",
        "_talked_first",
        "_verdict",
        "_window",
    )

    def __init__(self, window: float) -> None:
        self._window = window
        self._answered_at: float | None = None
        self._run_from: float | None = None
        self._stopped_at: float | None = None
        self._announced = False
        self._announced_until: float | None = None
        self._evidence_at = 0.0
        self._beeped_at: float | None = None
        self._talked_first = False
        self._verdict = ""

    def answered(self, now: float) -> None:
        """The far party answered; its time starts."""
        self._answered_at = now

    def speech_started(self, now: float) -> None:
        """The far party's voice began."""
        if self._run_from is None or (self._stopped_at is not None and now - self._stopped_at > PAUSE):
            self._run_from = now
        self._stopped_at = None

    def speech_stopped(self, at: float) -> None:
        """The far party's voice ended, at this moment."""
        if self._run_from is None:
            return
        self._stopped_at = at
        if self._announced and self._announced_until is None:
            self._announced_until = at

    def heard(self, text: str, now: float) -> None:
        """Words of the far party's open turn: those of an announcement are evidence."""
        if self._in_window(now) and _ANNOUNCEMENT.search(text):
            self._announced = True
            self._evidence_at = now
            if self._is_talking():
                self._announced_until = None
            else:
                self._announced_until = now if self._stopped_at is None else self._stopped_at

    def verdict(self, verdict: str, now: float) -> None:
        """What the carrier's own detection says: human, machine, fax or unknown."""
        self._verdict = verdict
        self._evidence_at = now

    def is_machine_talk(self, now: float) -> bool:
        """Whether what is said now is said by a machine that has announced its beep: nobody is there to answer."""
        if not self._announced:
            return False
        return self._announced_until is None or now - self._announced_until <= BEEP_PATIENCE

    def has_announced(self) -> bool:
        """Whether the far party has spoken like a machine."""
        return self._announced or self._verdict == "machine"

    def beep_expected_until(self, now: float) -> float | None:
        """Until when a beep is worth waiting for, or None if the far party is no machine or the time has passed."""
        if not self._in_window(now) or not self.has_announced():
            return None
        since = now if self._is_talking() else max(self._evidence_at, self._stopped_at or 0.0)
        return since + BEEP_PATIENCE if since + BEEP_PATIENCE > now else None

    def beeped(self, now: float) -> None:
        """There was a beep that opens no recording, as far as is known."""
        self._beeped_at = now
        self._talked_first = self._run_from is not None

    def was_message_beep(self, now: float) -> bool:
        """Whether that beep has opened a recording after all: what was said before it is known only now."""
        if self._beeped_at is None or now - self._beeped_at > WORDS_LATE:
            return False
        return self._talked_first and self._in_window(now) and self.has_announced()

    def is_message_beep(self, now: float) -> bool:
        """Whether a beep at this moment opens a recording."""
        return self._in_window(now) and (self.has_announced() or self._has_talked_long(now))

    def _is_talking(self) -> bool:
        return self._run_from is not None and self._stopped_at is None

    def _has_talked_long(self, now: float) -> bool:
        if self._run_from is None or self._verdict == "human":
            return False
        end = now if self._stopped_at is None else self._stopped_at
        return end - self._run_from > LONG_TALK and now - end <= PAUSE

    def _in_window(self, now: float) -> bool:
        return self._window > 0 and self._answered_at is not None and now - self._answered_at <= self._window
