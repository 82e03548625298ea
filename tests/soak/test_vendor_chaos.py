"""Two hundred calls in which a vendor is cut, stalls or lies at a random moment.

`CHAOS_SEED=1007` repeats one, `CHAOS_SEED=1000-1019` some; `CHAOS_VERBOSE=1` shows the timeline of each.
"""

import asyncio

import pytest
from figures import keep
from vendor_chaos import chosen_seeds, figures, hold_all, require_promises

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

SEEDS = range(1000, 1200)


def test_nobody_sits_in_silence_in_two_hundred_calls() -> None:
    runs = asyncio.run(hold_all(chosen_seeds(SEEDS), lanes=8))
    keep("vendor_chaos", **figures(runs))
    require_promises(runs)
