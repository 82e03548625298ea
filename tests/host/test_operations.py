"""The methods and the tool of a host, against a control API that keeps what it was asked."""

import asyncio

import pytest

from openclaw_voicecall.errors import CallNotFound, ConfigError, LimitExceeded
from openclaw_voicecall.host.operations import Operations

pytestmark = pytest.mark.server

CALL = {"callId": "c1", "to": "+15550001111", "from": "+15550000000", "state": "initiated", "mode": "notify"}


class FakeControl:
    """Does what it is asked, and keeps it."""

    def __init__(self) -> None:
        self.asked = []
        self.answer = asyncio.Event()
        self.live = [CALL]

    async def place_call(self, order, *, key=""):
        self.asked.append(("place", order, key))
        return CALL

    async def get_call(self, call_id):
        if call_id != "c1":
            raise CallNotFound(f"no call has the id {call_id}")
        return CALL

    async def list_calls(self, *, limit=100, open_only=False):
        return self.live

    async def speak(self, call_id, message):
        self.asked.append(("speak", call_id, message))
        return CALL

    async def continue_call(self, call_id, message, *, timeout_ms=None):
        self.asked.append(("continue", call_id, message, timeout_ms))
        await self.answer.wait()
        if message == "fail":
            raise LimitExceeded("the caller said nothing")
        return {"call": CALL, "transcript": "At noon."}

    async def send_digits(self, call_id, digits):
        self.asked.append(("digits", call_id, digits))
        return CALL

    async def end_call(self, call_id, *, farewell=""):
        self.asked.append(("end", call_id, farewell))
        return CALL

    async def feed(self, *, call_id=None, after=0):
        for event in ("CallPlaced", "CallAnswered", "MediaConnected"):
            yield {"entry": {"event": event}, "call": CALL}


@pytest.fixture
def control():
    return FakeControl()


@pytest.fixture
async def host(control):
    operations = Operations(control, default_number="+15559999999")
    yield operations
    await operations.close()


async def test_initiate_calls_whom_it_is_told_to_and_keeps_who_asked(host, control):
    params = {
        "to": "+15550001111",
        "message": "hi",
        "mode": "notify",
        "requesterSessionKey": "agent:main:main",
    }
    answer = await host.method("initiate", params)
    assert answer == {**CALL, "initiated": True}
    assert control.asked == [("place", {**params}, "")]


async def test_initiate_without_a_number_calls_the_configured_one_and_start_does_not(host, control):
    await host.method("initiate", {"message": "hi"})
    assert control.asked[0][1]["to"] == "+15559999999"
    with pytest.raises(ConfigError, match="to: expected whom to call"):
        await host.method("start", {"message": "hi"})


async def test_keys_of_a_sequence_are_pressed_once_the_line_is_open(host, control):
    await host.method("start", {"to": "+15550001111", "dtmfSequence": "1w2"})
    async with asyncio.timeout(5):
        while len(control.asked) < 2:
            await asyncio.sleep(0)
    assert control.asked[1] == ("digits", "c1", "1w2")


async def test_continue_gives_the_words_of_the_caller(host, control):
    control.answer.set()
    answer = await host.method("continue", {"callId": "c1", "message": "When?", "timeoutMs": 5000})
    assert answer == {"success": True, "transcript": "At noon."}
    assert control.asked == [("continue", "c1", "When?", 5000)]


@pytest.mark.parametrize(
    ("message", "end"),
    [
        ("When?", {"status": "completed", "result": {"success": True, "transcript": "At noon."}}),
        ("fail", {"status": "failed", "error": "the caller said nothing"}),
    ],
)
async def test_an_answer_may_be_fetched_later_once(host, control, message, end):
    begun = await host.method("continue.start", {"callId": "c1", "message": message})
    asked = {"operationId": begun["operationId"]}
    assert begun["status"] == "pending"
    assert (await host.method("continue.result", asked))["status"] == "pending"
    control.answer.set()
    async with asyncio.timeout(5):
        while (answer := await host.method("continue.result", asked))["status"] == "pending":
            await asyncio.sleep(0)
    assert answer == {**asked, **end}
    with pytest.raises(CallNotFound, match="was fetched"):
        await host.method("continue.result", asked)


async def test_speak_dtmf_and_end_reach_the_call(host, control):
    await host.method("speak", {"callId": "c1", "message": "One moment."})
    await host.method("dtmf", {"callId": "c1", "digits": "42"})
    await host.method("end", {"callId": "c1"})
    assert control.asked == [("speak", "c1", "One moment."), ("digits", "c1", "42"), ("end", "c1", "")]


async def test_status_finds_a_call_or_lists_the_live_ones(host):
    assert await host.method("status", {"callId": "c1"}) == {"found": True, "call": CALL}
    assert await host.method("status", {"callId": "c2"}) == {"found": False}
    assert await host.method("status", {}) == {"calls": [CALL]}


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("speak", {"message": "hi"}, "callId: expected text"),
        ("speak", {"callId": "c1", "message": 5}, "message: expected text, got 5"),
        ("initiate", {"to": "+15550001111"}, "message: expected text"),
        ("continue", {"callId": "c1", "message": "x", "timeoutMs": "5"}, "timeoutMs: expected"),
        ("fly", {}, "there is no voicecall.fly"),
    ],
)
async def test_wrong_arguments_are_named(host, control, name, params, message):
    with pytest.raises(ConfigError, match=message):
        await host.method(name, params)
    assert control.asked == []


async def test_the_tool_knows_which_session_asks(host, control):
    context = {"sessionKey": "agent:main:telegram:7", "agentId": "main"}
    await host.tool({"action": "initiate_call", "to": "+15550001111", "message": "hi", "_ctx": context})
    assert control.asked[0][1]["requesterSessionKey"] == "agent:main:telegram:7"


async def test_the_tool_names_its_actions(host):
    with pytest.raises(ConfigError, match="expected one of initiate_call, continue_call"):
        await host.tool({"action": "dance"})


ON_THE_PHONE = {"sessionKey": "agent:main:voice:+15550001111"}


@pytest.fixture
def talking(control):
    control.live = [{**CALL, "metadata": {"sessionKey": ON_THE_PHONE["sessionKey"]}}]


@pytest.mark.usefixtures("talking")
async def test_who_is_on_the_line_cannot_have_others_called(host, control):
    with pytest.raises(ConfigError, match="during a call"):
        await host.tool(
            {"action": "initiate_call", "to": "+19005550000", "message": "hi", "_ctx": ON_THE_PHONE}
        )
    with pytest.raises(ConfigError, match="its own call"):
        await host.tool({"action": "end_call", "callId": "c2", "_ctx": ON_THE_PHONE})
    assert control.asked == []


@pytest.mark.usefixtures("talking")
async def test_who_is_on_the_line_may_have_their_own_call_ended(host, control):
    await host.tool({"action": "end_call", "callId": "c1", "_ctx": ON_THE_PHONE})
    assert control.asked == [("end", "c1", "")]


@pytest.mark.usefixtures("talking")
async def test_the_owner_on_the_line_may_have_others_called(control):
    host = Operations(control, is_owner=lambda number: number == "+15550001111")
    await host.tool({"action": "initiate_call", "to": "+15552220000", "message": "hi", "_ctx": ON_THE_PHONE})
    assert control.asked[0][0] == "place"


@pytest.mark.usefixtures("talking")
async def test_another_agent_that_writes_a_turn_of_the_call_may_do_no_more(host, control):
    fallback = {"sessionKey": "agent:desk:voice:+15550001111"}
    with pytest.raises(ConfigError, match="during a call"):
        await host.tool({"action": "initiate_call", "to": "+15552220000", "message": "hi", "_ctx": fallback})
    assert control.asked == []


async def test_a_stranger_whose_call_shares_its_memory_with_the_owners_is_no_owner(control):
    shared = {"metadata": {"sessionKey": "agent:main:main"}}
    control.live = [{**CALL, **shared}, {**CALL, **shared, "callId": "c9", "to": "+15553330000"}]
    host = Operations(control, is_owner=lambda number: number == CALL["to"])
    asked = {"_ctx": {"sessionKey": "agent:main:main"}}
    with pytest.raises(ConfigError, match="during a call"):
        await host.tool({"action": "initiate_call", "to": "+15552220000", "message": "hi", **asked})
    await host.tool({"action": "end_call", "callId": "c9", **asked})
    assert control.asked == [("end", "c9", "")]
