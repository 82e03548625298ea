"""The crowd at the door again, for as long as many people call."""

import pytest
from figures import keep
from strangers_flood import flood

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


async def test_many_calls_in_the_midst_of_a_crowd():
    seen = await flood(
        silent=500, slow=50, half_open=200, wrong_tokens=500, forged=10_000, reports=5000, calls=40
    )
    keep("strangers", **seen.figures())
    assert max(call.webhook for call in seen.calls) < 2
    assert max(call.stream for call in seen.calls) < 2
    assert seen.grown < 16 * 2**20
    assert seen.percentile(99) < 0.5
    assert max(seen.answers) < 2
    assert set(seen.forged) == {401}
    assert seen.talker["endReason"] == "caller-hung-up"
    assert "Traceback" not in seen.log
