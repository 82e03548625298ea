"""Pressed keys become a turn: collecting DTMF digits until the caller is done."""

from typing import Final

from openclaw_voicecall.core.policy import DtmfPolicy

DTMF_DIGITS: Final = frozenset("0123456789*#ABCD")


class DigitCollector:
    """The keys of one dialled turn. The caller of `press` times the pause between keys.

    Args:
        policy: Which key ends a turn, and how many keys are enough.
    """

    __slots__ = ("_digits", "_policy")

    def __init__(self, policy: DtmfPolicy) -> None:
        self._policy = policy
        self._digits = ""

    @property
    def digits(self) -> str:
        """The keys pressed so far."""
        return self._digits

    def press(self, digit: str) -> str | None:
        """Take a key, and return the digits of the turn if this key completes it.

        The terminator is not part of the digits, unless it is the only key: "press pound to go on" means itself.
        """
        if digit == self._policy.terminator:
            return self.take() or digit
        self._digits += digit
        return self.take() if len(self._digits) >= self._policy.max_digits else None

    def take(self) -> str:
        """Return the keys pressed so far and start anew."""
        digits, self._digits = self._digits, ""
        return digits
