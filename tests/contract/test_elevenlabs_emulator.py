"""The stand-in for ElevenLabs: wrong requests and messages fail, right ones are heard, faults show."""

import asyncio
import base64
from contextlib import asynccontextmanager

import aiohttp
import pytest
from elevenlabs.client import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.types import VoiceSettings

from openclaw_voicecall.media.g711 import pcm_to_ulaw, ulaw_to_alaw
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = [pytest.mark.contract, pytest.mark.timeout(20)]

VOICE = "54noaetjxv80HAvkIbfQ"
KEY = {"xi-api-key": "xi-emulated"}
BODY = {"text": "Hello there.", "model_id": "eleven_flash_v2_5"}
RAW = {"output_format": "ulaw_8000"}
LIVE = RAW | {"model_id": "eleven_flash_v2_5"}
SPACE = {"text": " "}


@pytest.fixture
async def emulator():
    async with ElevenLabsEmulator() as emulator:
        yield emulator


@pytest.fixture
async def client(emulator):
    # The SDK leaves its connections open when it is not given its own HTTP client.
    import httpx

    async with httpx.AsyncClient(timeout=5) as http:
        yield AsyncElevenLabs(base_url=emulator.url, api_key="xi-emulated", httpx_client=http)


async def post(emulator, body, *, voice=VOICE, query=RAW, headers=KEY, path="/stream"):
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{emulator.url}/v1/text-to-speech/{voice}{path}", json=body, params=query) as response,
    ):
        if response.content_type == "application/json":
            return response.status, await response.json()
        return response.status, await response.read()


@asynccontextmanager
async def connected(emulator, *, path="stream-input", voice=VOICE, query=LIVE, headers=KEY):
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{emulator.url}/v1/text-to-speech/{voice}/{path}", params=query) as socket,
    ):
        yield socket


async def frames(socket):
    """All frames until the server closes."""
    async with asyncio.timeout(5):
        return [message.json() async for message in socket]


async def send(socket, *messages):
    for message in messages:
        await socket.send_json(message)


def audio(received):
    return b"".join(base64.b64decode(frame["audio"]) for frame in received if frame.get("audio"))


class TestOverHttp:
    async def test_the_sdk_hears_raw_mu_law(self, emulator, client):
        stream = client.text_to_speech.stream(
            VOICE,
            text="Hello there.",
            model_id="eleven_turbo_v2_5",
            output_format="ulaw_8000",
            language_code="en",
            voice_settings=VoiceSettings(stability=0.5, similarity_boost=0.75, speed=1.1),
            optimize_streaming_latency=3,
        )
        heard = b"".join([chunk async for chunk in stream])

        assert heard == babble("Hello there.")
        assert await emulator.clips(heard) == "Hello there."
        (spoken,) = emulator.spoken
        assert (spoken.text, spoken.voice, spoken.model, spoken.transport) == (
            "Hello there.",
            VOICE,
            "eleven_turbo_v2_5",
            "stream",
        )
        assert emulator.bodies[0]["voice_settings"]["speed"] == 1.1
        assert not emulator.refusals

    async def test_the_sdk_hears_the_endpoint_without_stream_too(self, emulator, client):
        sound = client.text_to_speech.convert(VOICE, text="Hello there.", output_format="pcm_8000")
        heard = b"".join([chunk async for chunk in sound])

        assert pcm_to_ulaw(heard) == babble("Hello there.")
        assert emulator.spoken[0].transport == "http"

    @pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100])
    async def test_other_rates_last_as_long(self, emulator, rate):
        _, sound = await post(emulator, BODY, query={"output_format": f"pcm_{rate}"})

        assert len(sound) / 2 / rate == pytest.approx(len(babble("Hello there.")) / 8000, abs=0.001)

    async def test_a_law_is_made_as_well(self, emulator):
        assert (await post(emulator, BODY, query={"output_format": "alaw_8000"}))[1] == ulaw_to_alaw(
            babble("Hello there.")
        )

    async def test_chunks_are_uneven(self, emulator):
        async with (
            aiohttp.ClientSession(headers=KEY) as session,
            session.post(
                f"{emulator.url}/v1/text-to-speech/{VOICE}/stream", json=BODY, params=RAW
            ) as response,
        ):
            sizes, size = [], 0
            async for data, whole in response.content.iter_chunks():
                size += len(data)
                if whole:
                    sizes.append(size)
                    size = 0

        assert sizes[:4] == [701, 1, 1333, 160]

    async def test_a_clip_book_can_be_shared(self):
        clips = ClipBook()
        async with ElevenLabsEmulator(clips=clips) as emulator:
            _, sound = await post(emulator, BODY)

        assert await clips(sound) == "Hello there."

    @pytest.mark.parametrize(
        ("change", "status", "words"),
        [
            ({"modelId": "eleven_flash_v2_5"}, 422, "modelId"),
            ({"voice_settings": {"similarityBoost": 0.5}}, 422, "similarityBoost"),
            ({"voice_settings": []}, 422, "dictionary"),
            ({"voice_settings": {"stability": 2}}, 400, "invalid_voice_settings"),
            ({"voice_settings": {"speed": 1.5}}, 400, "0.7 to 1.2"),
            ({"voice_settings": {"use_speaker_boost": 3}}, 422, "use_speaker_boost"),
            ({"text": ""}, 400, "empty"),
            ({"text": " "}, 400, "empty"),
            ({"text": None}, 422, "text"),
            ({"text": "a" * 40_001}, 400, "max_character_limit_exceeded"),
            ({"model_id": "gpt-4o-mini-tts"}, 400, "model_id"),
            ({"language_code": "english"}, 422, "ISO 639-1"),
            ({"model_id": "eleven_multilingual_v2", "language_code": "en"}, 400, "language_code"),
            ({"apply_text_normalization": "on"}, 400, "cannot be turned on"),
            ({"apply_text_normalization": True}, 422, "apply_text_normalization"),
            ({"seed": -1}, 422, "seed"),
            ({"previous_request_ids": ["a", "b", "c", "d"]}, 422, "at most 3"),
        ],
    )
    async def test_a_wrong_body_is_refused(self, emulator, change, status, words):
        got, answer = await post(emulator, BODY | change)

        assert got == status
        assert words in str(answer["detail"])
        assert len(emulator.refusals) == 1
        assert not emulator.spoken

    @pytest.mark.parametrize(
        ("query", "status", "words"),
        [
            ({}, 400, "emulator_raw_only"),
            ({"output_format": "mp3_44100_128"}, 400, "emulator_raw_only"),
            ({"output_format": "mulaw_8000"}, 422, "ulaw_8000"),
            (RAW | {"outputFormat": "ulaw_8000"}, 422, "outputFormat"),
            (RAW | {"optimize_streaming_latency": "9"}, 422, "from 0 to 4"),
        ],
    )
    async def test_a_wrong_query_is_refused(self, emulator, query, status, words):
        got, answer = await post(emulator, BODY, query=query)

        assert got == status
        assert words in str(answer["detail"])

    async def test_no_text_and_no_json_are_refused(self, emulator):
        assert (await post(emulator, {"model_id": "eleven_flash_v2_5"}))[0] == 422
        assert (await post(emulator, ["Hello there."]))[0] == 422

    async def test_a_voice_that_is_not_there_is_404(self, emulator, client):
        with pytest.raises(ApiError) as caught:
            [
                chunk
                async for chunk in client.text_to_speech.stream(
                    "nobody", text="Hi.", output_format="ulaw_8000"
                )
            ]

        assert caught.value.status_code == 404
        assert caught.value.body["detail"]["status"] == "voice_not_found"

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, "needs_authorization"),
            ({"xi-api-key": "xi-secret-one"}, "invalid_api_key"),
            ({"Authorization": "Bearer xi-emulated"}, "needs_authorization"),
        ],
    )
    async def test_a_wrong_key_is_refused_and_never_repeated(self, emulator, headers, status):
        got, answer = await post(emulator, BODY, headers=headers)

        assert (got, answer["detail"]["status"]) == (401, status)
        assert "xi-secret-one" not in str(answer) + str(emulator.refusals)

    @pytest.mark.parametrize(
        ("fault", "status", "words"),
        [
            ("401", 401, "invalid_api_key"),
            ("quota", 401, "quota_exceeded"),
            ("429", 429, "too_many_concurrent_requests"),
            ("500", 500, "internal_server_error"),
        ],
    )
    async def test_a_vendor_that_refuses_is_no_fault_of_the_client(self, emulator, fault, status, words):
        emulator.fail_next(fault)

        got, answer = await post(emulator, BODY)

        assert (got, answer["detail"]["status"]) == (status, words)
        assert not emulator.refusals
        assert (await post(emulator, BODY))[0] == 200

    async def test_empty_is_200_without_a_byte(self, emulator):
        emulator.fail_next("empty")

        assert await post(emulator, BODY) == (200, b"")

    async def test_slow_sends_its_first_byte_late(self, emulator):
        emulator.fail_next("slow", seconds=0.2)
        loop = asyncio.get_running_loop()
        began = loop.time()

        await post(emulator, BODY)

        assert loop.time() - began >= 0.2

    async def test_cut_breaks_off_in_the_middle_of_the_sentence(self, emulator):
        emulator.fail_next("cut")

        with pytest.raises(aiohttp.ClientPayloadError):
            await post(emulator, BODY)

    async def test_hang_never_answers_and_a_client_that_gives_up_is_counted(self, emulator):
        emulator.fail_next("hang")

        asking = asyncio.create_task(post(emulator, BODY))
        await emulator.until(lambda: emulator.open_streams == 1)
        assert not asking.done()
        asking.cancel()

        await emulator.until(lambda: emulator.cancelled == 1)
        assert emulator.open_streams == 0


class TestLookUps:
    async def test_the_sdk_can_check_an_account_a_voice_and_the_models(self, emulator, client):
        assert (await client.user.subscription.get()).tier == "creator"
        assert (await client.voices.get(VOICE)).voice_id == VOICE
        assert "eleven_flash_v2_5" in [model.model_id for model in await client.models.list()]
        assert not emulator.refusals

    async def test_a_voice_that_is_not_there_is_404(self, client):
        with pytest.raises(ApiError) as caught:
            await client.voices.get("nobody")

        assert caught.value.body["detail"]["status"] == "voice_not_found"

    async def test_a_key_may_speak_without_being_allowed_to_look_things_up(self, emulator, client):
        emulator.fail_next("permissions", times=0)

        with pytest.raises(ApiError) as caught:
            await client.user.subscription.get()

        assert (caught.value.status_code, caught.value.body["detail"]["status"]) == (
            401,
            "missing_permissions",
        )
        assert (await post(emulator, BODY))[0] == 200


class TestStreamInput:
    async def test_a_right_client_hears_its_words_and_the_end(self, emulator):
        async with connected(emulator) as socket:
            await send(socket, SPACE, {"text": "Hello "}, {"text": "there. "}, {"text": ""})
            received = await frames(socket)

        assert audio(received) == babble("Hello there.")
        assert received[-1] == {
            "audio": None,
            "isFinal": True,
            "alignment": None,
            "normalizedAlignment": None,
        }
        assert socket.close_code == 1000
        assert [(spoken.text, spoken.transport) for spoken in emulator.spoken] == [
            ("Hello there.", "stream-input")
        ]
        assert not emulator.refusals

    async def test_text_waits_until_it_is_flushed(self, emulator):
        async with connected(emulator) as socket:
            await send(
                socket, SPACE | {"generation_config": {"chunk_length_schedule": [50]}}, {"text": "Yes. "}
            )
            with pytest.raises(TimeoutError):
                await socket.receive(timeout=0.1)
            await send(socket, {"text": "No. ", "flush": True})
            first = (await socket.receive(timeout=5)).json()

        assert first["audio"]
        assert [spoken.text for spoken in emulator.spoken] == ["Yes. No."]

    async def test_enough_text_is_said_at_once(self, emulator):
        async with connected(emulator) as socket:
            await send(
                socket, SPACE | {"generation_config": {"chunk_length_schedule": [50]}}, {"text": "Well, " * 9}
            )
            assert (await socket.receive(timeout=5)).json()["audio"]

    async def test_auto_mode_says_every_text_at_once(self, emulator):
        async with connected(emulator, query=LIVE | {"auto_mode": "true"}) as socket:
            await send(socket, SPACE, {"text": "Yes. "}, {"text": "No. "}, {"text": ""})
            await frames(socket)

        assert [spoken.text for spoken in emulator.spoken] == ["Yes.", "No."]

    async def test_characters_are_aligned_within_their_chunk(self, emulator):
        async with connected(emulator, query=LIVE | {"sync_alignment": "true"}) as socket:
            await send(socket, SPACE, {"text": "Hello there. "}, {"text": ""})
            received = await frames(socket)

        times = [frame["alignment"] for frame in received if frame["alignment"]]
        assert "".join("".join(part["chars"]) for part in times) == "Hello there."
        assert times[0]["charStartTimesMs"][:2] == [0, 60]
        assert all(0 <= part["charStartTimesMs"][0] < 60 for part in times)

    async def test_the_key_may_come_in_the_first_message(self, emulator):
        async with connected(emulator, headers={}) as socket:
            await send(socket, SPACE | {"xi-api-key": "xi-emulated"}, {"text": "Yes. "}, {"text": ""})
            assert audio(await frames(socket))

    @pytest.mark.parametrize(
        ("messages", "error"),
        [
            ([{"text": "Hello "}], "invalid_input_message"),
            ([{"text": ""}], "invalid_input_message"),
            ([{"voice_settings": {"stability": 0.5}}], "invalid_input_message"),
            (["Hello"], "invalid_input_message"),
            ([SPACE | {"voiceSettings": {}}], "invalid_input_message"),
            ([SPACE | {"voice_settings": {"similarityBoost": 1}}], "invalid_input_message"),
            ([SPACE | {"generation_config": {"chunk_length_schedule": [10]}}], "invalid_input_message"),
            ([SPACE | {"generation_config": []}], "invalid_input_message"),
            ([SPACE, {"text": "Hello ", "context_id": "c1"}], "invalid_input_message"),
            ([SPACE, {"text": 5}], "invalid_input_message"),
            ([SPACE, {"flush": True}], "invalid_input_message"),
            ([SPACE, {"text": "Hello ", "voice_settings": {"speed": 1.1}}], "invalid_input_message"),
        ],
    )
    async def test_a_wrong_message_ends_the_connection_with_1008(self, emulator, messages, error):
        async with connected(emulator) as socket:
            await send(socket, *messages)
            received = await frames(socket)

        assert (received[-1]["error"], received[-1]["code"], socket.close_code) == (error, 1008, 1008)
        assert len(emulator.refusals) == 1

    @pytest.mark.parametrize("data", ["{text: ' '}", b'{"text": " "}'])
    async def test_what_is_no_json_text_ends_the_connection_with_1008(self, emulator, data):
        async with connected(emulator) as socket:
            await (socket.send_bytes(data) if isinstance(data, bytes) else socket.send_str(data))
            received = await frames(socket)

        assert received[-1]["error"] == "invalid_input_message"
        assert "make sure it is a json" in received[-1]["message"]

    @pytest.mark.parametrize("first", [SPACE, SPACE | {"xi-api-key": "xi-secret-one"}])
    async def test_no_key_in_header_and_message_ends_the_connection(self, emulator, first):
        async with connected(emulator, headers={}) as socket:
            await send(socket, first)
            received = await frames(socket)

        assert (received[-1]["error"], socket.close_code) == ("invalid_api_key", 1008)
        assert "xi-secret-one" not in str(received) + str(emulator.refusals)

    async def test_a_voice_that_is_not_there_is_told_on_the_socket(self, emulator):
        async with connected(emulator, voice="nobody") as socket:
            received = await frames(socket)

        assert (received[-1]["error"], socket.close_code) == ("voice_id_does_not_exist", 1008)
        assert len(emulator.refusals) == 1

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"model_id": "eleven_v3"}, 403),
            ({"model_id": "gpt-4o-mini-tts"}, 403),
            ({"output_format": "mp3_44100_128"}, 403),
            ({"inactivity_timeout": "200"}, 403),
            ({"outputFormat": "ulaw_8000"}, 403),
        ],
    )
    async def test_a_wrong_handshake_is_refused(self, emulator, change, status):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with connected(emulator, query=LIVE | change):
                pass

        assert caught.value.status == status
        assert len(emulator.refusals) == 1

    async def test_a_wrong_key_is_refused_at_the_handshake(self, emulator):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            async with connected(emulator, headers={"xi-api-key": "xi-secret-one"}):
                pass

        assert "xi-secret-one" not in str(emulator.refusals)

    async def test_silence_ends_the_connection(self, emulator):
        async with connected(emulator, query=LIVE | {"inactivity_timeout": "1"}) as socket:
            await send(socket, SPACE, {"text": "Hello "})
            received = await frames(socket)

        assert (received[-1]["error"], socket.close_code) == ("input_timeout_exceeded", 1008)
        assert "timeout of 1 seconds" in received[-1]["message"]
        assert not emulator.spoken

    async def test_after_the_end_nothing_more_is_taken(self, emulator):
        emulator.chunk_delay = 0.05
        async with connected(emulator) as socket:
            await send(socket, SPACE, {"text": "Yes. "}, {"text": ""}, {"text": "No. "})
            await frames(socket)

        assert [spoken.text for spoken in emulator.spoken] == ["Yes."]
        assert [refusal.why for refusal in emulator.refusals] == ["a message after the end"]


class TestMultiStreamInput:
    @pytest.fixture
    async def socket(self, emulator):
        async with connected(emulator, path="multi-stream-input") as socket:
            yield socket

    async def test_contexts_are_told_apart(self, emulator, socket):
        for name, text in (("c1", "Yes. "), ("c2", "No. ")):
            await send(socket, SPACE | {"context_id": name}, {"text": text, "context_id": name})
            await send(
                socket, {"context_id": name, "flush": True}, {"context_id": name, "close_context": True}
            )
        await send(socket, {"close_socket": True})
        received = await frames(socket)

        for name, text in (("c1", "Yes."), ("c2", "No.")):
            mine = [frame for frame in received if frame["contextId"] == name]
            assert audio(mine) == babble(text)
            assert mine[-1]["isFinal"] is True
        assert socket.close_code == 1000
        assert {(spoken.text, spoken.context) for spoken in emulator.spoken} == {
            ("Yes.", "c1"),
            ("No.", "c2"),
        }
        assert not emulator.refusals

    async def test_what_was_not_flushed_is_dropped_when_a_context_is_closed(self, emulator, socket):
        await send(socket, SPACE | {"context_id": "c1"}, {"text": "Never mind. ", "context_id": "c1"})
        await send(socket, {"context_id": "c1", "close_context": True})

        assert (await socket.receive(timeout=5)).json() == {
            "audio": None,
            "isFinal": True,
            "alignment": None,
            "normalizedAlignment": None,
            "contextId": "c1",
        }
        assert not emulator.spoken

    async def test_empty_text_keeps_a_context_alive_and_closing_twice_does_no_harm(self, emulator, socket):
        await send(socket, SPACE | {"context_id": "c1"}, {"text": "", "context_id": "c1"})
        await send(socket, {"text": "Yes. ", "context_id": "c1", "flush": True})
        await send(socket, *[{"context_id": "c1", "close_context": True}] * 2, {"close_socket": True})

        assert audio(await frames(socket)) == babble("Yes.")
        assert not emulator.refusals

    async def test_a_context_must_begin_with_a_single_space(self, emulator, socket):
        await send(socket, {"text": "Hello ", "context_id": "c1"})
        received = await frames(socket)

        assert (received[-1]["error"], socket.close_code) == ("invalid_input_message", 1008)
        assert "single space" in emulator.refusals[0].why

    @pytest.mark.parametrize(
        "message",
        [
            {"text": " ", "contextId": "c2"},
            {"text": "Late. ", "context_id": "closed"},
            {"context_id": "never", "flush": True},
            {"context_id": "c1"},
            {"text": "Hello ", "context_id": "c1", "voice_settings": {"speed": 1.1}},
        ],
    )
    async def test_a_wrong_message_ends_the_connection_with_1008(self, emulator, socket, message):
        await send(socket, SPACE | {"context_id": "c1"}, message)

        assert (await frames(socket))[-1]["error"] == "invalid_input_message"
        assert socket.close_code == 1008
        assert len(emulator.refusals) == 1

    async def test_a_sixth_context_is_one_too_many(self, emulator, socket):
        await send(socket, *(SPACE | {"context_id": f"c{number}"} for number in range(6)))
        received = await frames(socket)

        assert (received[-1]["error"], socket.close_code) == ("max_active_conversations", 1008)
        assert len(emulator.refusals) == 1

    async def test_a_silent_context_ends_and_the_connection_after_it(self, emulator):
        query = LIVE | {"inactivity_timeout": "1"}
        async with connected(emulator, path="multi-stream-input", query=query) as socket:
            await send(socket, SPACE | {"context_id": "c1"})
            received = await frames(socket)

        assert received[0]["contextId"] == "c1"
        assert received[0]["isFinal"] is True
        assert received[-1]["error"] == "input_timeout_exceeded"


class TestSocketFaults:
    @pytest.mark.parametrize(("fault", "status"), [("401", 401), ("429", 429)])
    async def test_some_faults_refuse_the_handshake(self, emulator, fault, status):
        emulator.fail_next(fault)

        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with connected(emulator):
                pass

        assert caught.value.status == status
        assert not emulator.refusals

    @pytest.mark.parametrize(
        ("fault", "error"), [("quota", "quota_exceeded"), ("500", "internal_server_error")]
    )
    async def test_some_faults_come_as_an_error_and_the_end(self, emulator, fault, error):
        emulator.fail_next(fault)
        async with connected(emulator) as socket:
            await send(socket, SPACE, {"text": "Hello there. "}, {"text": ""})
            received = await frames(socket)

        assert (received[-1]["error"], socket.close_code) == (error, 1008)
        assert not audio(received)
        assert not emulator.refusals

    async def test_empty_ends_in_good_order_without_audio(self, emulator):
        emulator.fail_next("empty")
        async with connected(emulator) as socket:
            await send(socket, SPACE, {"text": "Hello there. "}, {"text": ""})
            received = await frames(socket)

        assert [frame["isFinal"] for frame in received] == [True]
        assert socket.close_code == 1000

    @pytest.mark.parametrize(("fault", "code"), [("cut", 1006), ("close", 1011)])
    async def test_half_a_sentence_comes_before_the_break(self, emulator, fault, code):
        emulator.fail_next(fault)
        async with connected(emulator) as socket:
            await send(socket, SPACE, {"text": "Hello there. "}, {"text": ""})
            received = await frames(socket)

        assert audio(received) == babble("Hello there.")[: len(babble("Hello there.")) // 2]
        assert not any(frame["isFinal"] for frame in received)
        assert socket.close_code == code

    async def test_hang_says_nothing_and_a_client_that_gives_up_is_counted(self, emulator):
        emulator.fail_next("hang")
        async with connected(emulator) as socket:
            await send(socket, SPACE, {"text": "Hello there. "}, {"text": ""})
            with pytest.raises(TimeoutError):
                await socket.receive(timeout=0.2)

        await emulator.until(lambda: not emulator.sockets)
        assert emulator.cancelled == 1

    async def test_slow_says_it_late(self, emulator):
        emulator.fail_next("slow", seconds=0.2)
        loop = asyncio.get_running_loop()
        async with connected(emulator) as socket:
            began = loop.time()
            await send(socket, SPACE, {"text": "Hello there. ", "flush": True})
            await socket.receive(timeout=5)

        assert loop.time() - began >= 0.2

    async def test_open_sockets_are_closed_when_the_emulator_stops(self):
        async with ElevenLabsEmulator() as emulator, connected(emulator) as socket:
            await send(socket, SPACE)
            await emulator.stop()
            await frames(socket)

        assert socket.close_code == 1001
