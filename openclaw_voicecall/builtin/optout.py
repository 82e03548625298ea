"""People who do not want to be called are not, whatever the carrier and whoever asks for it."""

import asyncio

from openclaw_voicecall.api.policy import Admission, CallOffer
from openclaw_voicecall.store.optout import OptOutList


class OptOutPolicy:
    """Refuses to dial numbers on the list. A list that cannot be read counts as no: the error refuses the call."""

    name = "optout"
    order = 30

    def __init__(self, listed: OptOutList) -> None:
        self._list = listed

    async def admit(self, offer: CallOffer) -> Admission | None:
        """No for people on the list. Raises `StoreError`."""
        if offer.direction != "outbound" or not await asyncio.to_thread(self._list.holds, offer.to_number):
            return None
        return Admission(
            allowed=False,
            reason=f"opt-out list: {offer.to_number} does not want to be called; "
            "`openclaw-voicecall optout remove` takes it off the list",
        )
