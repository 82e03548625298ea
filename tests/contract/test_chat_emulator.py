"""The stand-in for chat completions: wrong requests fail as they do at the vendor, right ones stream, faults show."""

import asyncio
import json

import aiohttp
import openai
import pytest

from openclaw_voicecall.testing.emulators.chat import ChatEmulator

pytestmark = [pytest.mark.contract, pytest.mark.timeout(20)]

HELLO = [{"role": "user", "content": "Hello?"}]
BODY = {"model": "grok-4-1-fast-reasoning", "messages": HELLO}
CALL = {"id": "call_1", "type": "function", "function": {"name": "hang_up", "arguments": "{}"}}
ASKED = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
TOOL = {
    "type": "function",
    "function": {"name": "hang_up", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
async def emulator():
    async with ChatEmulator() as emulator:
        yield emulator


@pytest.fixture
async def client(emulator):
    async with openai.AsyncOpenAI(
        base_url=f"{emulator.url}/v1", api_key="sk-emulated", max_retries=0, timeout=10
    ) as client:
        yield client


async def post(emulator, body, *, key="sk-emulated", kind="application/json"):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    data = body if isinstance(body, bytes) else json.dumps(body)
    async with (
        aiohttp.ClientSession(headers=headers | {"Content-Type": kind}) as session,
        session.post(f"{emulator.url}/v1/chat/completions", data=data) as response,
    ):
        return response.status, await response.text()


async def read(client, **changes):
    """The chunks of a streamed completion."""
    async with await client.chat.completions.create(**(BODY | {"stream": True} | changes)) as stream:
        return [chunk async for chunk in stream]


async def follow(client, into):
    """Put the words of a streamed completion into a list as they come."""
    async with await client.chat.completions.create(**(BODY | {"stream": True})) as stream:
        async for chunk in stream:
            into.append(chunk.choices[0].delta.content or "")


def text(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_the_sdk_reads_a_streamed_reply_token_by_token(emulator, client):
    emulator.replies.append("Good morning, how can I help?")

    chunks = await read(client)

    assert text(chunks) == "Good morning, how can I help?"
    assert len(chunks) > 6
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]
    assert not emulator.refusals
    assert emulator.open_streams == emulator.cancelled == 0


async def test_a_whole_reply_has_its_message_and_its_usage(emulator, client):
    emulator.replies.append("Yes.")

    completion = await client.chat.completions.create(**BODY)

    assert completion.choices[0].message.content == "Yes."
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens > 0


async def test_the_usage_comes_in_a_last_chunk_without_choices(client):
    chunks = await read(client, stream_options={"include_usage": True})

    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_thoughts_come_before_the_words_and_in_other_fields(emulator, client):
    emulator.replies.append({"reasoning_content": "He greets me.", "content": "Hello!"})
    emulator.replies.append({"reasoning": "Again.", "content": "Hello again!"})

    first, second = await read(client), await read(client)

    thoughts = [(chunk.choices[0].delta.model_extra or {}) for chunk in first]
    assert "".join(extra.get("reasoning_content") or "" for extra in thoughts) == "He greets me."
    assert text(first) == "Hello!"
    thoughts = [(chunk.choices[0].delta.model_extra or {}) for chunk in second]
    assert "".join(extra.get("reasoning") or "" for extra in thoughts) == "Again."
    assert text(second) == "Hello again!"


async def test_the_arguments_of_a_tool_call_come_in_pieces(emulator, client):
    emulator.replies.append(
        {"tool_calls": [{"name": "hang_up", "arguments": {"reason": "the caller said goodbye"}}]}
    )

    chunks = await read(client, tools=[TOOL])

    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert (calls[0].function.name, calls[0].function.arguments, calls[0].type) == ("hang_up", "", "function")
    assert all(call.index == 0 for call in calls)
    assert all(call.id is None and call.function.name is None for call in calls[1:])
    assert len(calls) > 4
    assert json.loads("".join(call.function.arguments for call in calls)) == {
        "reason": "the caller said goodbye"
    }
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("reply", ['{"spoken": "It is late."}', '```json\n{"spoken": "It is late."}\n```\n'])
async def test_a_contract_in_json_is_split_anywhere_and_arrives_whole(emulator, client, reply):
    emulator.replies.append(reply)

    chunks = await read(client)

    assert text(chunks) == reply
    assert len(chunks) > 8


async def test_comment_lines_stand_between_the_events_and_the_sdk_skips_them(emulator, client):
    emulator.replies.extend([{"content": "Hello there.", "comments": True}] * 2)

    _, raw = await post(emulator, BODY | {"stream": True})

    assert raw.startswith(": OPENROUTER PROCESSING\n\n")
    assert raw.count(": OPENROUTER PROCESSING") > 2
    assert raw.endswith("data: [DONE]\n\n")
    assert text(await read(client)) == "Hello there."


async def test_a_reply_longer_than_allowed_is_cut_with_the_reason_length(emulator, client):
    emulator.replies.append("one two three four")

    chunks = await read(client, max_completion_tokens=2)

    assert text(chunks) == "one two"
    assert chunks[-1].choices[0].finish_reason == "length"


async def test_replies_can_be_made_from_what_was_said():
    def respond(messages, body):
        return f"{body['model']} heard {messages[-1]['content']}"

    async with ChatEmulator(models=["tiny"], respond=respond) as emulator:
        _, answer = await post(emulator, BODY | {"model": "tiny"})

    assert json.loads(answer)["choices"][0]["message"]["content"] == "tiny heard Hello?"


async def test_requests_are_noted_without_the_key(emulator, client):
    await read(client)

    (request,) = emulator.requests
    assert request.messages == HELLO
    assert request.body["stream"] is True
    assert "x-stainless-lang" in request.headers
    assert "sk-emulated" not in repr(request)


async def test_a_request_too_many_is_refused():
    async with ChatEmulator(replies=["Once."]) as emulator:
        assert (await post(emulator, BODY))[0] == 200
        status, _ = await post(emulator, BODY)

    assert status == 500
    assert [refusal.why for refusal in emulator.refusals] == ["there is no reply left for this request"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": None}, "Invalid type for 'model'"),
        ({"messages": []}, "empty array"),
        ({"messages": "Hello?"}, "expected an array of objects"),
        ({"messages": ["Hello?"]}, "expected an object"),
        ({"messages": [{"content": "Hello?"}]}, "Missing required parameter: 'messages[0].role'"),
        ({"messages": [{"role": "caller", "content": "Hello?"}]}, "Invalid value: 'caller'"),
        ({"messages": [{"role": "user", "content": None}]}, "expected a string, got null"),
        ({"messages": [{"role": "user", "content": 5}]}, "Invalid type for 'messages[0].content'"),
        ({"messages": [{"role": "user", "content": "a", "at": 5}]}, "Unknown parameter: 'messages[0].at'"),
        (
            {"messages": [*HELLO, {"role": "tool", "tool_call_id": "call_1", "content": "ok"}]},
            "must be a response to",
        ),
        ({"messages": [*ASKED, {"role": "tool", "content": "ok"}]}, "Missing parameter 'tool_call_id'"),
        (
            {"messages": [*ASKED, {"role": "tool", "tool_call_id": "call_2", "content": "ok"}]},
            "must be a response to",
        ),
        ({"messages": ASKED}, "did not have response messages: call_1"),
        ({"messages": [*ASKED, *HELLO]}, "did not have response messages: call_1"),
        (
            {"messages": [*HELLO, {"role": "assistant", "tool_calls": [{"id": "call_1"}]}]},
            "id, type and function",
        ),
        ({"messages": [*HELLO, {"role": "assistant", "content": "a", "tool_calls": []}]}, "tool_calls"),
        ({"voice": "marin"}, "Unrecognized request argument supplied: voice"),
        ({"input": "a", "instructions": "b"}, "Unrecognized request arguments supplied: input, instructions"),
        ({"tools": None}, "got null instead"),
        ({"tools": []}, "empty array"),
        (
            {"tools": [{"type": "function", "name": "hang_up"}]},
            "Missing required parameter: 'tools[0].function'",
        ),
        ({"tools": [{"type": "web_search"}]}, "'function'"),
        ({"tools": [{"type": "function", "function": {"name": "hang up"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a", "args": {}}}]}, "tools[0].function.args"),
        ({"tool_choice": "auto"}, "only allowed when 'tools' are specified"),
        ({"stream_options": {"include_usage": True}}, "only allowed when 'stream' is enabled"),
        ({"stream": "yes"}, "expected a boolean, but got a string"),
        ({"max_completion_tokens": 0}, "integer below minimum"),
        ({"max_completion_tokens": True}, "expected an integer"),
        ({"model": "gpt-5-mini", "max_tokens": 100}, "Use 'max_completion_tokens' instead"),
        ({"model": "gpt-5-mini", "temperature": 0.3}, "Only the default (1) value is supported"),
        ({"model": "gpt-4o-mini", "reasoning_effort": "low"}, "supplied: reasoning_effort"),
        ({"reasoning_effort": "huge"}, "Invalid value: 'huge'"),
        ({"temperature": 3}, "from 0 to 2"),
        ({"n": 2}, "one choice only"),
    ],
)
async def test_a_wrong_request_is_refused_in_openais_words(emulator, change, words):
    status, answer = await post(emulator, BODY | change)

    error = json.loads(answer)["error"]
    assert status == 400
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}
    assert len(emulator.refusals) == 1
    assert not emulator.requests


@pytest.mark.parametrize(
    ("name", "words"), [("model", "model parameter"), ("messages", "parameter: 'messages'")]
)
async def test_a_missing_field_is_named(emulator, name, words):
    status, answer = await post(emulator, {key: value for key, value in BODY.items() if key != name})

    assert status == 400
    assert words in answer


async def test_a_right_conversation_with_tools_is_taken(emulator, client):
    result = {"role": "tool", "tool_call_id": "call_1", "content": "done"}

    await read(
        client, messages=[{"role": "developer", "content": "Be brief."}, *ASKED, result, *HELLO], tools=[TOOL]
    )

    assert not emulator.refusals


async def test_what_is_no_json_is_refused(emulator):
    for raw in (b'{"model":', b"[]"):
        status, answer = await post(emulator, raw, kind="application/json")
        assert status == 400
        assert "could not parse the JSON body" in answer

    status, answer = await post(emulator, b"model=grok", kind="application/x-www-form-urlencoded")

    assert status == 415
    assert "expected application/json" in answer


@pytest.mark.parametrize("key", ["sk-secret-one", ""])
async def test_a_wrong_key_is_refused_and_never_repeated(emulator, key):
    status, answer = await post(emulator, BODY, key=key)

    assert status == 401
    assert "sk-secret-one" not in answer + str(emulator.refusals)


async def test_a_model_that_is_not_there_is_404(emulator, client):
    with pytest.raises(openai.NotFoundError) as caught:
        await read(client, model="grok-1")

    assert caught.value.code == "model_not_found"
    assert len(emulator.refusals) == 1


async def test_the_models_can_be_looked_up(emulator, client):
    assert [model.id async for model in client.models.list()] == emulator.models
    assert (await client.models.retrieve("gpt-5-mini")).id == "gpt-5-mini"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("grok-1")


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("401", openai.AuthenticationError, "invalid_api_key"),
        ("404-model", openai.NotFoundError, "model_not_found"),
        ("429", openai.RateLimitError, "rate_limit_exceeded"),
        ("500", openai.InternalServerError, None),
    ],
)
async def test_a_vendor_that_refuses_is_no_fault_of_the_client(emulator, client, fault, kind, code):
    emulator.fail_next(fault)

    with pytest.raises(kind) as caught:
        await read(client)

    assert caught.value.code == code
    assert not emulator.refusals
    assert text(await read(client)) == "You said: Hello?"


async def test_xai_says_in_its_own_shape_that_a_model_is_gone(emulator, client):
    emulator.fail_next("404-model", shape="xai")

    with pytest.raises(openai.NotFoundError) as caught:
        await read(client)

    assert "grok-4-1-fast-reasoning does not exist" in caught.value.response.json()["error"]


async def test_429_says_when_to_come_back(emulator, client):
    emulator.fail_next("429", retry_after=7)

    with pytest.raises(openai.RateLimitError) as caught:
        await read(client)

    assert caught.value.response.headers["retry-after"] == "7"


async def test_hang_never_sends_a_byte(emulator, client):
    emulator.fail_next("hang")

    with pytest.raises(openai.APITimeoutError):
        await read(client.with_options(timeout=0.4))

    await emulator.until(lambda: emulator.cancelled == 1)
    assert emulator.open_streams == 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("hang-mid-stream", openai.APITimeoutError),
        ("cut", openai.APIConnectionError),
        ("error-in-stream", openai.APIError),
        ("rubbish", json.JSONDecodeError),
    ],
)
async def test_half_a_reply_is_followed_by_what_went_wrong(emulator, client, fault, kind):
    emulator.replies.append("Good morning, how can I help?")
    emulator.fail_next(fault)
    words = []

    with pytest.raises(kind):
        await follow(client.with_options(timeout=0.5), words)

    assert "".join(words) == "Good morning, how"
    await emulator.until(lambda: emulator.open_streams == 0)


async def test_empty_ends_in_good_order_without_a_word(emulator, client):
    emulator.fail_next("empty")

    chunks = await read(client)

    assert text(chunks) == ""
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_html_is_200_and_no_stream_at_all(emulator):
    emulator.fail_next("html")

    status, answer = await post(emulator, BODY | {"stream": True})

    assert status == 200
    assert answer.startswith("<!doctype html>")


async def test_slow_sends_a_token_at_a_time(emulator, client):
    emulator.replies.append("one two three")
    emulator.fail_next("slow", seconds=0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()

    assert text(await read(client)) == "one two three"

    assert loop.time() - began >= 0.15


async def test_a_trickle_outlives_every_timeout_between_bytes(emulator, client):
    emulator.fail_next("trickle", seconds=0.02)
    words = []

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await follow(client.with_options(timeout=0.4), words)

    assert words.count(" and") > 3
    await emulator.until(lambda: emulator.cancelled == 1)


async def test_a_client_that_leaves_a_stream_open_shows(emulator, client):
    emulator.token_delay = 5.0

    stream = await client.chat.completions.create(**BODY, stream=True)
    async for _ in stream:
        break

    assert (emulator.open_streams, emulator.cancelled) == (1, 0)
    await stream.close()
    await emulator.until(lambda: emulator.open_streams == 0)
    assert emulator.cancelled == 1


@pytest.mark.parametrize(
    "fault", ["cut", "trickle", "rubbish", "error-in-stream", "empty", "hang-mid-stream"]
)
async def test_faults_hold_for_whole_replies_too(emulator, client, fault):
    emulator.fail_next(fault)

    try:
        async with asyncio.timeout(0.3):
            completion = await client.chat.completions.create(**BODY)
            heard = completion.choices[0].message.content
    except (openai.OpenAIError, TimeoutError, json.JSONDecodeError):
        heard = ""

    assert heard == ""
    await emulator.until(lambda: emulator.open_streams == 0)
