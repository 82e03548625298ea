"""A provider and its fallbacks, in the order they are tried."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from openclaw_voicecall.errors import VoiceCallError, quiet
from openclaw_voicecall.session.breaker import Breaker, State

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Link(Generic[T]):
    """One opened provider, by the name the configuration gives it."""

    name: str
    provider: T
    breaker: Breaker | None = None
    """Shared by all calls that use the provider."""


Chain = tuple[Link[T], ...]
"""The first is the configured provider; the rest take over, in order, when it fails."""


class Rotation(Generic[T]):
    """In which order a call asks the links of a chain.

    One that has failed on the call is asked last from then on, and so is one that has failed on too many calls of the
    process.

    Args:
        chain: The configured order.
        note: Takes a journal word of the shell and its data: `breaker`, when a link's breaker opens or closes.
    """

    def __init__(self, chain: Chain[T], note: Callable[[str, dict[str, Any]], None]) -> None:
        self._chain = chain
        self._note = note

    def order(self) -> Chain[T]:
        """The links, best first."""
        distrusted = [link for link in self._chain if is_open(link)]
        if not distrusted or len(self._chain) == 1:
            return self._chain
        first = self._chain[0]
        if first.breaker is not None and first.breaker.take_probe():
            distrusted.remove(first)
        return (*(link for link in self._chain if link not in distrusted), *distrusted)

    def first(self) -> Link[T] | None:
        """The link that is asked first, None while it is distrusted. Unlike `order`, this takes no probe."""
        return self._chain[0] if self._chain and not is_open(self._chain[0]) else None

    def failed(self, link: Link[T]) -> None:
        """This link has failed: the caller shall not wait for it again while another works."""
        self._chain = (*(each for each in self._chain if each is not link), link)
        if link.breaker is not None and link.breaker.failed():
            self._tell(link.breaker)

    def worked(self, link: Link[T]) -> None:
        """This link did what it was asked for."""
        if link.breaker is not None and link.breaker.worked():
            self._tell(link.breaker)

    def _tell(self, breaker: Breaker) -> None:
        self._note("breaker", {"hop": breaker.hop, "provider": breaker.name, "state": str(breaker.state)})


def why_failed(error: Exception) -> str:
    """What is written down of a provider's error."""
    expected = isinstance(error, VoiceCallError | OSError) and str(error)
    return quiet(str(error) if expected else f"{type(error).__name__} {error}".strip())


def is_open(link: Link[T]) -> bool:
    """Whether a link is asked last, because it has failed on too many calls."""
    return link.breaker is not None and link.breaker.state is not State.CLOSED
