"""What a carrier does with calls to a number of ours, and how that is changed."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberSettings:
    """A phone number of the account, as the carrier has it."""

    number: str
    """E.164."""
    voice_url: str = ""
    """Whom the carrier asks when it is called; empty for nobody."""
    method: str = "POST"
    """How it asks."""
    status_callback: str = ""
    """Whom it tells how a call to it ended."""
    handled_by: str = ""
    """What takes its calls before `voice_url` is asked, such as `the SIP trunk TK...`; empty for nothing."""
    takes_calls: bool = True
    """Whether it can be called at all."""


class NumberDesk(Protocol):
    """The numbers of one account."""

    async def read(self, number: str) -> NumberSettings | None:
        """The settings of a number, E.164; None when it is not the account's. Raises `VendorError`."""
        ...

    async def set_voice_url(self, number: str, url: str) -> None:
        """Have the carrier POST to `url` when the number is called, and let nothing else take its calls.

        Raises:
            VendorRejected: It is not a number of the account.
            VendorError: The carrier did not take the change.
        """
        ...
