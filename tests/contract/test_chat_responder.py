"""Chat responders against a strict stand-in for the vendors' API: words at once, tools, and every way to fail."""

import asyncio
import json
import logging
import sys
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from openclaw_voicecall.api.responder import EndCall, SendDtmf, TextDelta, Tool, Transfer, TurnRequest
from openclaw_voicecall.errors import (
    ConfigError,
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers import chat
from openclaw_voicecall.providers.chat.config import ChatConfig
from openclaw_voicecall.providers.chat.connection import connect
from openclaw_voicecall.providers.chat.responder import ROUNDS, ChatResponder
from openclaw_voicecall.providers.chat.vendors import VENDORS
from openclaw_voicecall.testing.emulators.chat import ChatEmulator

pytestmark = pytest.mark.contract

KEY = "sk-emulated"
TURN = TurnRequest(call_id="c1", turn=1, text="When are you open?", direction="inbound", can_transfer=True)
BY_NAME = {vendor.name: vendor for vendor in VENDORS}


def specs():
    found = []
    chat.voicecall_register_responders(found.append)
    return {spec.name: spec for spec in found}


@asynccontextmanager
async def responder(url, *, vendor="xai", model="grok-4.3", **settings):
    config = ChatConfig(base_url=f"{url}/v1", api_key=KEY, **settings)
    async with connect(BY_NAME[vendor], config) as connection:
        yield ChatResponder(connection, BY_NAME[vendor], config, model)


@asynccontextmanager
async def line(*replies, respond=None, **settings):
    """An emulator that gives these replies, and a responder at it."""
    async with (
        asyncio.timeout(20),
        ChatEmulator(replies=replies, respond=respond) as vendor,
        responder(vendor.url, **settings) as model,
    ):
        yield vendor, model


async def turn(model, request=TURN):
    """The text and the other events of a turn."""
    async with aclosing(model.respond(request)) as stream:
        events = [event async for event in stream]
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, [event for event in events if not isinstance(event, TextDelta)]


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


def look_up(result="They close at nine."):
    seen = []

    async def run(arguments):
        seen.append(arguments)
        return result

    schema = {"type": "object", "properties": {"day": {"type": "string"}}}
    return Tool(name="opening hours", description="Looks up.", parameters=schema, run=run), seen


async def test_the_reply_comes_in_pieces_as_the_model_writes_it():
    async with line("We are open until nine.") as (vendor, model):
        async with aclosing(model.respond(TURN)) as stream:
            pieces = [event.text async for event in stream]
        assert "".join(pieces) == "We are open until nine."
        assert len(pieces) > 3
        assert vendor.refusals == []
        sent = vendor.requests[0].body
        assert sent["model"] == "grok-4.3"
        assert sent["messages"][-1] == {"role": "user", "content": "When are you open?"}


async def test_settings_are_sent_and_nothing_else():
    async with line("Yes.") as (vendor, model):
        await turn(model, replace(TURN, can_end=False, can_send_digits=False, can_transfer=False))
        assert set(vendor.requests[0].body) == {"model", "messages", "stream"}
    tuned = {"temperature": 0.5, "max_completion_tokens": 200, "reasoning_effort": "low"}
    async with line("Yes.", headers={"X-Team": "voice"}, extra_body={"seed": 7}, **tuned) as (vendor, model):
        await turn(model)
        sent = vendor.requests[0]
        assert {key: sent.body[key] for key in tuned} == tuned
        assert sent.body["seed"] == 7
        assert sent.headers["x-team"] == "voice"
        assert vendor.refusals == []


async def test_reasoning_and_comments_are_never_spoken():
    reply = {
        "content": "At nine.",
        "reasoning_content": "Hm, hours.",
        "reasoning": "Let me see.",
        "comments": True,
    }
    async with line(reply) as (_, model):
        assert await turn(model) == ("At nine.", [])


async def test_thinking_and_json_in_the_text_are_taken_off():
    async with line('<think>Nine.</think>```json\n{"spoken": "At \\"nine\\"."}\n```') as (_, model):
        text, _ = await turn(model)
        assert text.strip() == 'At "nine".'


async def test_goodbye_and_the_end_of_the_call_come_in_one_request():
    async with line({"content": "Goodbye.", "tool_calls": [call("end_call", reason="done")]}) as (
        vendor,
        model,
    ):
        text, events = await turn(model)
        assert text.strip() == "Goodbye."
        assert events == [EndCall("done")]
        assert len(vendor.requests) == 1


async def test_a_model_that_only_ends_the_call_is_asked_for_a_goodbye():
    async with line({"tool_calls": [call("end_call", reason="done")]}, "Bye bye.") as (vendor, model):
        assert await turn(model) == ("Bye bye.", [EndCall("done")])
        assert vendor.refusals == []


async def test_the_call_ends_even_if_the_goodbye_fails():
    async with line({"tool_calls": [call("end_call", reason="done")]}) as (_, model):
        assert await turn(model) == ("", [EndCall("done")])


async def test_keys_are_pressed_without_another_word():
    async with line({"tool_calls": [call("send_digits", digits="1 2-#")]}) as (vendor, model):
        assert await turn(model) == ("", [SendDtmf("12#")])
        assert len(vendor.requests) == 1


async def test_a_transfer_is_announced_and_comes_last():
    reply = {"content": "I put you through.", "tool_calls": [call("transfer_call", to="+15550001234")]}
    async with line(reply) as (_, model):
        text, events = await turn(model)
        assert text.strip() == "I put you through."
        assert events == [Transfer("+15550001234")]


@pytest.mark.parametrize(
    "wrong",
    [
        call("transfer_call", to="the office"),
        call("transfer_call", to="015550001234"),
        call("transfer_call", to=["+15550001234"]),
        call("send_digits", digits="twelve"),
        call("send_digits", digits=""),
        call("send_digits", digits="1" * 100),
        call("order_pizza", size=3),
        {"name": "end_call", "arguments": "{not json"},
        {"name": "end_call", "arguments": '["done"]'},
    ],
)
async def test_wrong_arguments_are_told_to_the_model_and_do_nothing(wrong):
    async with line({"tool_calls": [wrong]}, "Let me think again.") as (vendor, model):
        assert await turn(model) == ("Let me think again.", [])
        result = vendor.requests[1].messages[-1]
        assert result["role"] == "tool"
        assert result["content"].startswith(("Not", "There is no tool"))
        assert vendor.refusals == []


async def test_what_the_call_does_not_allow_is_not_done_though_the_model_asks_for_it():
    reply = {"tool_calls": [call("transfer_call", to="+15550001234"), call("end_call", reason="x")]}
    async with line(reply, "I cannot do that.") as (vendor, model):
        request = replace(TURN, can_transfer=False, can_end=False)
        assert await turn(model, request) == ("I cannot do that.", [])
        offered = [tool["function"]["name"] for tool in vendor.requests[0].body["tools"]]
        assert offered == ["send_digits"]


async def test_a_second_farewell_does_not_hang_up_on_a_transfer():
    calls = [call("transfer_call", to="+15550001234"), call("end_call", reason="x")]
    async with line({"content": "One moment.", "tool_calls": calls}) as (_, model):
        assert (await turn(model))[1] == [Transfer("+15550001234")]


async def test_a_tool_is_run_and_its_result_is_answered_with():
    tool, seen = look_up()
    asks = {"content": "One moment.", "tool_calls": [call("opening_hours", day="Monday")]}
    async with line(asks, "We close at nine.") as (vendor, model):
        text, events = await turn(model, replace(TURN, tools=(tool,)))
        assert text == "One moment.\nWe close at nine."
        assert events == []
        assert seen == [{"day": "Monday"}]
        assert vendor.requests[1].messages[-1]["content"] == "They close at nine."
        assert vendor.refusals == []


async def test_the_filler_is_out_before_the_tool_runs():
    order = []

    async def run(arguments):
        order.append("tool")
        return "x"

    tool = Tool(name="look", description="", parameters={}, run=run)
    asks = {"content": "One moment.", "tool_calls": [call("look")]}
    async with (
        line(asks, "Yes.") as (_, model),
        aclosing(model.respond(replace(TURN, tools=(tool,)))) as stream,
    ):
        async for event in stream:
            order.append(event.text)
    assert order.index("\n") < order.index("tool")


async def test_a_model_that_never_stops_using_tools_has_to_answer():
    tool, seen = look_up()

    def again(messages, body):
        return "Enough." if body.get("tool_choice") == "none" else {"tool_calls": [call("opening_hours")]}

    async with line(respond=again) as (vendor, model):
        assert (await turn(model, replace(TURN, tools=(tool,))))[0] == "Enough."
        assert len(vendor.requests) == ROUNDS + 1
        assert len(seen) == ROUNDS


async def test_several_tools_run_at_a_time():
    both = asyncio.Barrier(2)

    async def run(arguments):
        await both.wait()
        return "done"

    tools = tuple(Tool(name=name, description="", parameters={}, run=run) for name in ("a", "b"))
    async with line({"tool_calls": [call("a"), call("b")]}, "Both done.") as (_, model):
        assert (await turn(model, replace(TURN, tools=tools)))[0] == "Both done."


async def test_the_retired_model_of_an_old_configuration_is_asked_for_by_its_name():
    async with line("Hello.", model="grok-4-1-fast-reasoning") as (vendor, model):
        await turn(model)
        assert vendor.requests[0].body["model"] == "grok-4-1-fast-reasoning"


@pytest.mark.parametrize("shape", ["openai", "xai"])
async def test_when_it_is_gone_its_replacement_answers_in_the_same_turn_and_from_then_on(caplog, shape):
    async with line("Hello.", "Hello again.", model="grok-4-1-fast-reasoning") as (vendor, model):
        vendor.fail_next("404-model", times=1, shape=shape)
        with caplog.at_level(logging.WARNING):
            assert (await turn(model))[0] == "Hello."
            assert (await turn(model))[0] == "Hello again."
        asked = [request.body["model"] for request in vendor.requests]
        assert asked == ["grok-4-1-fast-reasoning", "grok-4.3", "grok-4.3"]
        assert "reasoning_effort" not in vendor.requests[1].body
        warnings = [record.getMessage() for record in caplog.records if "is gone" in record.getMessage()]
        assert len(warnings) == 1
        assert "xai/grok-4.3" in warnings[0]


async def test_two_calls_that_find_it_gone_at_the_same_time_both_get_their_answer():
    async with line("Hello.", "Hello.", model="grok-4-1-fast-non-reasoning") as (vendor, model):
        texts = await asyncio.gather(turn(model), turn(model))
        assert [text for text, _ in texts] == ["Hello.", "Hello."]
        assert [refusal.where for refusal in vendor.refusals] == ["POST /v1/chat/completions"] * 2
        assert vendor.requests[-1].body["reasoning_effort"] == "none"


async def test_a_gone_model_without_a_replacement_is_named_with_what_to_do():
    async with line(model="gpt-4o-mini") as (vendor, model):
        vendor.models.remove("gpt-4o-mini")
        with pytest.raises(VendorRejected, match=r"gpt-4o-mini.*set responseModel to another") as caught:
            await turn(model)
        assert (caught.value.vendor, caught.value.status) == ("xai", 404)


async def test_a_replacement_that_is_gone_too_is_named():
    async with line(model="grok-4-1-fast-reasoning") as (vendor, model):
        vendor.models.clear()
        with pytest.raises(
            VendorRejected,
            match=r"grok-4\.3 does not exist there or this key may not use it; set responseModel to another$",
        ):
            await turn(model)
        assert len(vendor.refusals) == 2


async def test_a_model_that_ollama_lacks_can_be_pulled():
    async with line(vendor="ollama", model="qwen3:8b") as (vendor, model):
        with pytest.raises(VendorRejected, match="ollama pull qwen3:8b"):
            await turn(model)
        assert vendor.refusals


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("401", VendorAuthError, r"responders\.xai\.apiKey \(XAI_API_KEY\)"),
        ("429", VendorRateLimited, "Rate limit"),
        ("500", VendorUnavailable, "500"),
        ("hang", VendorTimeout, "did not answer in time"),
        ("hang-mid-stream", VendorTimeout, "did not answer in time"),
        ("rubbish", VendorUnavailable, "no JSON"),
        ("empty", VendorUnavailable, "empty reply"),
        ("cut", VendorUnavailable, "xai"),
        ("error-in-stream", VendorUnavailable, "server had an error"),
        ("html", VendorUnavailable, "text/html"),
    ],
)
async def test_every_failure_is_an_error_that_names_the_vendor(fault, kind, said):
    async with line("We are open until nine every day.", read_timeout_ms=300) as (vendor, model):
        vendor.fail_next(fault)
        with pytest.raises(kind, match=said) as caught:
            await turn(model)
        error = caught.value
        assert isinstance(error, VendorError)
        assert error.vendor == "xai"
        assert KEY not in str(error)
        if fault == "429":
            assert (error.status, error.retry_after) == (429, 1.0)
        assert len(vendor.requests) <= 1, "nothing is repeated while a caller waits"
        await vendor.until(lambda: not vendor.open_streams)


async def test_the_next_turn_after_a_failure_works():
    async with line("Hello again.") as (vendor, model):
        vendor.fail_next("500")
        with pytest.raises(VendorUnavailable):
            await turn(model)
        assert (await turn(model))[0] == "Hello again."


async def test_a_reply_that_is_left_is_cancelled_at_the_vendor():
    async with line("never ends") as (vendor, model):
        vendor.fail_next("trickle", seconds=0.01)
        async with aclosing(model.respond(TURN)) as stream:
            await anext(stream)
            assert vendor.open_streams == 1
        await vendor.until(lambda: vendor.cancelled == 1)
        assert vendor.open_streams == 0


async def test_a_cancelled_task_cancels_at_the_vendor():
    async with line() as (vendor, model):
        vendor.fail_next("hang")
        task = asyncio.create_task(turn(model))
        await vendor.until(lambda: vendor.open_streams == 1)
        task.cancel()
        await vendor.until(lambda: vendor.open_streams == 0)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_model_that_only_thinks_has_not_answered():
    async with line({"reasoning_content": "Hm hm hm", "content": None}) as (_, model):
        with pytest.raises(VendorUnavailable, match="empty reply"):
            await turn(model)


async def test_the_key_is_checked_and_the_model_looked_for():
    async with ChatEmulator() as vendor:
        check, config = specs()["xai"].check, ChatConfig(base_url=f"{vendor.url}/v1", api_key=KEY)
        assert await check(config, None, "grok-4.3") == "the key is accepted, and grok-4.3 is listed"
        assert "not among the 5 models" in await check(config, None, "grok-9")
        wrong = config.model_copy(update={"api_key": ChatConfig(api_key="sk-wrong").api_key})
        with pytest.raises(VendorAuthError, match="XAI_API_KEY") as caught:
            await check(wrong, None, "grok-4.3")
        assert "sk-wrong" not in str(caught.value)
    with pytest.raises(VendorUnavailable, match="cannot be reached"):
        await check(config, None, "grok-4.3")


async def test_opening_registers_all_vendors_and_answers(monkeypatch):
    assert {"xai", "openai", "openrouter", "groq", "ollama", "google", "custom"} <= set(specs())
    monkeypatch.setenv("XAI_API_KEY", KEY)
    async with ChatEmulator(replies=["Hello."]) as vendor, asyncio.timeout(20):
        spec, config = specs()["xai"], ChatConfig(base_url=f"{vendor.url}/v1")
        async with (
            spec.open(config, None, "grok-4.3") as first,
            spec.open(config, None, "grok-4.5") as second,
        ):
            assert first._connection is second._connection, "one connection for all models of an account"
            assert (await turn(first))[0] == "Hello."
        assert first._connection.is_closed


async def test_a_vendor_that_is_down_does_not_stop_the_start():
    async with ChatEmulator() as vendor:
        url = vendor.url
    config = ChatConfig(base_url=f"{url}/v1", api_key=KEY)
    async with specs()["xai"].open(config, None, "grok-4.3") as model:
        with pytest.raises(VendorUnavailable, match="cannot be reached"):
            await turn(model)


async def test_ids_of_an_openai_account_go_to_openai_only(monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    async with line("Yes.") as (vendor, model):
        await turn(model)
        assert "openai-organization" not in vendor.requests[0].headers


@pytest.mark.parametrize(
    ("model", "key", "said"), [("", KEY, "xai/grok-4.3"), ("grok-4.3", None, "XAI_API_KEY")]
)
async def test_a_missing_model_or_key_stops_the_start_and_says_what_to_set(monkeypatch, model, key, said):
    monkeypatch.delenv("XAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=said):
        async with specs()["xai"].open(ChatConfig(api_key=key), None, model):
            pass


async def test_no_sdk_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    async with line("Yes.") as (_, model):
        assert (await turn(model))[0] == "Yes."


def test_the_notice_about_a_retired_model_names_its_replacement():
    assert "grok-4.3" in specs()["xai"].notices(ChatConfig(), "grok-4-1-fast-reasoning")[0]
    assert specs()["xai"].notices(ChatConfig(), "grok-4.3") == ()


def chunk(**delta):
    finish = delta.pop("finish", None)
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


@asynccontextmanager
async def serving(app, vendor):
    """A responder of this vendor at a server of the test's own."""
    async with asyncio.timeout(20), TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        async with responder(url, vendor=vendor) as model:
            yield model


@asynccontextmanager
async def odd_vendor(*events, status=200, body=None, vendor="custom"):
    """A server that sends these events, or this answer, whatever it is asked."""
    asked = []

    async def answer(request):
        asked.append(await request.json())
        if body is not None:
            return web.json_response(body, status=status)
        lines = "".join(
            f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events
        )
        return web.Response(text=lines, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with serving(app, vendor) as model:
        yield asked, model


@pytest.mark.parametrize(
    "oddity",
    [
        {"choices": None},
        {"choices": []},
        {"choices": [{"index": 0, "delta": None}]},
        {"usage": {"total_tokens": 3}},
        {"choices": [{"index": 0, "delta": {"content": None, "tool_calls": None}}]},
        [1, 2],
        "42",
    ],
)
async def test_chunks_in_odd_shapes_are_passed_over(oddity):
    async with odd_vendor(oddity, chunk(content="Yes."), oddity, chunk(finish="stop"), "[DONE]") as (
        _,
        model,
    ):
        assert (await turn(model))[0] == "Yes."


async def test_content_in_parts_is_read_without_the_thinking():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "Yes."},
    ]
    async with odd_vendor(chunk(content=parts), chunk(finish="stop"), "[DONE]") as (_, model):
        assert (await turn(model))[0] == "Yes."


async def test_a_stream_that_ends_in_the_middle_of_a_sentence_is_no_complete_reply():
    async with odd_vendor(chunk(content="We are open un")) as (_, model):
        with pytest.raises(VendorUnavailable, match="middle of a sentence"):
            await turn(model)
    async with odd_vendor(chunk(content="We are open.")) as (_, model):
        assert (await turn(model))[0] == "We are open."


@pytest.mark.parametrize(
    ("finish", "said"), [("length", "maxCompletionTokens"), ("content_filter", "filter")]
)
async def test_why_there_are_no_words_is_said(finish, said):
    async with odd_vendor(chunk(finish=finish), "[DONE]") as (_, model):
        with pytest.raises(VendorRejected, match=said):
            await turn(model)


async def test_parallel_calls_that_are_all_numbered_zero_are_told_apart_and_sent_back_whole():
    first = {"index": 0, "id": "a", "function": {"name": "send_digits", "arguments": '{"digits": "1"}'}}
    second = {"index": 0, "id": "b", "function": {"name": "send_digits", "arguments": '{"digits": "2"}'}}
    signed = {**first, "extra_content": {"google": {"thought_signature": "sig"}}}
    events = chunk(tool_calls=[signed]), chunk(tool_calls=[second]), chunk(finish="tool_calls"), "[DONE]"
    async with odd_vendor(*events, vendor="google") as (asked, model):
        assert (await turn(model))[1] == [SendDtmf("1"), SendDtmf("2")]
    wrong = {**signed, "function": {"name": "send_digits", "arguments": '{"digits": "x"}'}}
    async with odd_vendor(chunk(content="Hm.", tool_calls=[wrong], finish="tool_calls"), vendor="google") as (
        asked,
        model,
    ):
        await turn(model)
    assert asked[1]["messages"][-2]["tool_calls"][0]["extra_content"] == signed["extra_content"]


@pytest.mark.parametrize(
    ("vendor", "status", "body", "kind", "said"),
    [
        ("xai", 400, {"code": "invalid argument", "error": "Incorrect API key provided: sk-emulated."},
         VendorAuthError, r"XAI_API_KEY"),
        ("google", 400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}],
         VendorAuthError, "GEMINI_API_KEY"),
        ("deepseek", 402, {"error": {"message": "Insufficient Balance"}}, VendorRejected, "no credit left"),
        ("openai", 429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
         VendorRateLimited, "no credit left"),
        ("groq", 400, {"error": {"message": "The model has been decommissioned", "code": "model_decommissioned"}},
         VendorRejected, "set responseModel"),
        ("custom", 404, {"detail": "Not Found"}, VendorRejected, r"responders\.custom\.baseUrl"),
        ("custom", 400, "<html>no</html>", VendorRejected, "HTML page"),
        ("custom", 200, {"error": "x"}, VendorUnavailable, "application/json"),
    ],
)  # fmt: skip
async def test_the_vendors_own_words_are_understood(vendor, status, body, kind, said):
    async with odd_vendor(status=status, body=body, vendor=vendor) as (_, model):
        with pytest.raises(kind, match=said) as caught:
            await turn(model)
        assert KEY not in str(caught.value)


async def test_an_error_in_the_stream_keeps_its_status():
    error = {"error": {"code": 429, "message": "upstream is busy"}}
    async with odd_vendor(chunk(content="We "), error, vendor="openrouter") as (_, model):
        with pytest.raises(VendorRateLimited, match="upstream is busy"):
            await turn(model)


async def test_a_connection_that_the_vendor_has_closed_meanwhile_is_made_anew():
    times = []

    async def answer(request):
        times.append(1)
        if len(times) == 1:
            request.transport.abort()
        return web.Response(
            text=f"data: {json.dumps(chunk(content='Yes.', finish='stop'))}\n\ndata: [DONE]\n\n",
            content_type="text/event-stream",
        )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with serving(app, "custom") as model:
        assert (await turn(model))[0] == "Yes."
    assert len(times) == 2
