"""A provider and its fallbacks, in the order they are tried."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Link(Generic[T]):
    """One opened provider, by the name the configuration gives it."""

    name: str
    provider: T


Chain = tuple[Link[T], ...]
"""The first is the configured provider; the rest take over, in order, when it fails."""


class Rotation(Generic[T]):
    """In which order a call asks the links of a chain: one that has failed on it is asked last from then on.

    Args:
        chain: The configured order.
    """

    def __init__(self, chain: Chain[T]) -> None:
        self._chain = chain

    def order(self) -> Chain[T]:
        """The links, best first."""
        return self._chain

    def failed(self, link: Link[T]) -> None:
        """This link has failed: the caller shall not wait for it again while another works."""
        self._chain = (*(each for each in self._chain if each is not link), link)
