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
