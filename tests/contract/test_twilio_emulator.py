"""The emulated Twilio itself: what it does for a right application, and what it refuses of a wrong one."""

import asyncio
import base64
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from twilio_rig import OURS, THEIRS, codes, emulated, response, twiml

from openclaw_voicecall.testing.emulators import twilio_twiml
from openclaw_voicecall.testing.emulators.twilio import Pickup, Transferee
from openclaw_voicecall.testing.emulators.twilio_signing import sign
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

APOLOGY = "We are sorry, an application error has occurred. Goodbye."


class ToEmulator(AsyncTwilioHttpClient):
    """The SDK's own client, with only the host of each address replaced."""

    def __init__(self, base):
        super().__init__(logger=logging.Logger("silent", level=logging.CRITICAL + 1))
        self.base = base

    async def request(self, method, url, **arguments):
        parts = urlsplit(url)
        url = f"{self.base}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        name, key = arguments.pop("auth")
        headers = {**(arguments.pop("headers", None) or {}), "Authorization": basic(name, key)}
        return await super().request(method, url, headers=headers, **arguments)


def basic(name, key):
    return "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()


@pytest.fixture
async def twilio():
    async with emulated() as emulator:
        yield emulator


@pytest.fixture
async def sdk(twilio):
    http = ToEmulator(twilio.url)
    yield Client(twilio.account_sid, twilio.auth_token, http_client=http, environment={"TWILIO_REGION": ""})
    await http.close()


async def post(twilio, path, token=None, **form):
    auth = basic(twilio.account_sid, token or twilio.auth_token)
    url = f"{twilio.url}/2010-04-01/Accounts/{twilio.account_sid}{path}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=form, headers={"Authorization": auth}) as answer,
    ):
        return answer.status, await answer.json(), answer.headers


async def create(twilio, **changes):
    form = {"To": THEIRS, "From": OURS, "Url": twilio.app.url(), **changes}
    return await post(twilio, "/Calls.json", **{name: value for name, value in form.items() if value})


def report_events(twilio):
    return [form["CallStatus"] for form in twilio.app.forms("/status")]


async def inbound(twilio, inside, person=None, **extra):
    twilio.app.answers["/voice"] = response(inside)
    call = await twilio.dial_in(THEIRS, OURS, person, **extra)
    return await call.finished()


async def test_the_official_sdk_places_follows_lists_and_ends_calls(twilio, sdk):
    twilio.app.answers["/voice"] = response('<Pause length="60"/>')
    placed = await sdk.calls.create_async(
        to=THEIRS, from_=OURS, url=twilio.app.url(), status_callback=twilio.app.url("/status"),
        status_callback_event=["initiated", "ringing", "answered", "completed"], timeout=20, time_limit=120,
    )  # fmt: skip
    assert (placed.status, placed.direction, placed.to) == ("queued", "outbound-api", THEIRS)
    call = twilio.calls[placed.sid]
    await call.until_answered()
    assert (await sdk.calls(placed.sid).fetch_async()).status == "in-progress"
    await sdk.calls(placed.sid).update_async(status="completed")
    await call.finished()
    fetched = await sdk.calls(placed.sid).fetch_async()
    assert (fetched.status, fetched.duration, call.ended_by) == ("completed", "0", "api")
    found = await sdk.calls.list_async(to=THEIRS, from_=OURS, status="completed", limit=5)
    assert [one.sid for one in found] == [placed.sid]
    assert report_events(twilio) == ["initiated", "ringing", "in-progress", "completed"]
    assert [form["SequenceNumber"] for form in twilio.app.forms("/status")] == ["0", "1", "2", "3"]
    assert not twilio.refusals


async def test_the_official_sdk_reads_the_account_and_changes_the_address_of_a_number(twilio, sdk):
    account = await sdk.api.accounts(twilio.account_sid).fetch_async()
    (number,) = await sdk.incoming_phone_numbers.list_async(phone_number=OURS)
    await sdk.incoming_phone_numbers(number.sid).update_async(voice_url=twilio.app.url("/other"))
    await (await twilio.dial_in(THEIRS, OURS)).finished()
    assert account.status == "active"
    assert (number.phone_number, number.voice_url) == (OURS, twilio.app.url())
    assert len(twilio.app.forms("/other")) == 1


async def test_the_synchronous_sdk_is_answered_too(twilio):
    class Http(TwilioHttpClient):
        def request(self, method, url, **arguments):
            return super().request(method, url.replace("https://api.twilio.com", twilio.url), **arguments)

    client = Client(twilio.account_sid, "wrong", http_client=Http(), environment={"TWILIO_REGION": ""})
    with pytest.raises(TwilioRestException) as caught:
        await asyncio.to_thread(client.api.accounts(twilio.account_sid).fetch)
    assert (caught.value.status, caught.value.code) == (401, 20003)


async def test_lists_are_newest_first_in_pages_and_by_time(twilio, sdk):
    sids = [(await sdk.calls.create_async(to=THEIRS, from_=OURS, twiml=response(""))).sid for _ in range(3)]
    await asyncio.gather(*(call.finished() for call in twilio.calls.values()))
    pages = await sdk.calls.list_async(page_size=2)
    now = datetime.now(UTC)
    today = await sdk.calls.list_async(start_time_after=now - timedelta(days=1))
    later = await sdk.calls.list_async(start_time_after=now + timedelta(days=2))
    assert [call.sid for call in pages] == sids[::-1]
    assert (len(today), len(later)) == (3, 0)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"To": ""}, 400, 21201),
        ({"To": "15550002222"}, 400, 21211),
        ({"To": "+1"}, 400, 21217),
        ({"From": ""}, 400, 21213),
        ({"From": "me"}, 400, 21212),
        ({"From": "+15550009999"}, 400, 21210),
        ({"To": "+8835100001111"}, 400, 21215),
        ({"Url": ""}, 400, 21205),
        ({"Url": "/voice"}, 400, 21205),
        ({"StatusCallback": "http://voice_call.example.com/"}, 400, 21609),
        ({"Timeout": "601"}, 400, 21208),
        ({"Timeout": "soon"}, 400, 21208),
        ({"TimeLimit": "0"}, 400, 20001),
        ({"Method": "PUT"}, 400, 21209),
        ({"SendDigits": "x"}, 400, 21206),
        ({"MachineDetection": "yes"}, 400, 20001),
        ({"Url": "", "Twiml": "x" * 4001}, 400, 20001),
        ({"token": "another"}, 401, 20003),
    ],
)
async def test_a_wrong_dial_is_refused_with_twilios_code(twilio, changes, status, code):
    twilio.blocked.add("+88351")
    answered, document, _ = await create(twilio, **changes)
    assert (answered, document["code"], document["status"]) == (status, code, status)
    assert document["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
    assert codes(twilio) == [code]
    assert not twilio.calls


async def test_what_twilio_passes_over_is_noted_and_the_call_is_placed(twilio):
    status, _, _ = await create(
        twilio,
        MaxDuration="3",
        StatusCallback=twilio.app.url("/status"),
        StatusCallbackEvent="ringing completed",
    )
    await (await twilio.next_call()).finished()
    assert (status, codes(twilio)) == (201, [20001, 21626])
    assert not report_events(twilio)


@pytest.mark.parametrize(
    ("form", "code"),
    [({}, 20001), ({"Status": "over"}, 20001), ({"Url": "http://a/", "Twiml": "<Response/>"}, 20001)],
)
async def test_a_wrong_update_is_refused(twilio, form, code):
    await create(twilio, Url="", Twiml=response('<Pause length="60"/>'))
    call = await twilio.next_call()
    await call.until_answered()
    _, document, _ = await post(twilio, f"/Calls/{call.sid}.json", **form)
    assert document["code"] == code
    assert not call.over


async def test_a_call_that_is_over_or_unknown_cannot_be_changed(twilio):
    await create(twilio, Url="", Twiml=response(""))
    call = await (await twilio.next_call()).finished()
    over = await post(twilio, f"/Calls/{call.sid}.json", Status="completed")
    unknown = await post(twilio, f"/Calls/CA{'0' * 32}.json", Status="completed")
    assert (over[0], over[1]["code"]) == (400, 21220)
    assert (unknown[0], unknown[1]["code"]) == (404, 20404)
    assert codes(twilio) == [20404]


async def test_every_webhook_is_signed_so_that_the_official_validator_accepts_it(twilio):
    twilio.numbers[OURS] = twilio.numbers[OURS].__class__(
        "PN1",
        OURS,
        voice_url=twilio.app.url("/voice?a=1&b=%C3%BC"),
        status_callback=twilio.app.url("/status"),
    )
    await inbound(twilio, "<Say>hi</Say>")
    validator = RequestValidator(twilio.auth_token)
    for request, form in twilio.app.requests:
        url = twilio.app.base + request.raw_path
        assert validator.validate(url, form, request.headers["X-Twilio-Signature"])
        assert not validator.validate(url, form | {"From": "+1"}, request.headers["X-Twilio-Signature"])
    assert [request.path for request, _ in twilio.app.requests] == ["/voice", "/status"]


async def test_a_webhook_by_get_has_its_fields_in_the_signed_address(twilio):
    twilio.numbers[OURS] = replace(
        twilio.numbers[OURS], voice_url=twilio.app.url("/voice?a=1"), voice_method="GET"
    )
    await inbound(twilio, "")
    ((request, form),) = twilio.app.requests
    assert (request.method, form["a"], form["To"]) == ("GET", "1", OURS)
    url = twilio.app.base + request.raw_path
    assert RequestValidator(twilio.auth_token).validate(url, {}, request.headers["X-Twilio-Signature"])


def test_signatures_are_those_of_twilios_documentation():
    params = {
        "CallSid": "CA1234567890ABCDE",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
        "Caller": "+14158675309",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert sign("12345", url, params.items()) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    validator = RequestValidator("12345")
    for ports in ("as-is", "added", "left-out"):
        for there in ("https://h.example/x", "https://h.example:8443/x"):
            assert validator.validate(there, params, sign("12345", there, params.items(), ports=ports))


async def test_a_webhook_signed_wrong_is_one_that_the_validator_refuses(twilio):
    twilio.fail_next("bad-signature")
    await inbound(twilio, "")
    ((request, form),) = twilio.app.requests
    assert not RequestValidator(twilio.auth_token).validate(
        twilio.app.url(), form, request.headers["X-Twilio-Signature"]
    )


async def test_a_webhook_has_the_fields_of_a_phone_call(twilio):
    call = await inbound(twilio, "", StirVerstat="TN-Validation-Passed-A")
    (form,) = twilio.app.forms("/voice")
    assert (form["CallSid"], form["AccountSid"]) == (call.sid, twilio.account_sid)
    assert (form["From"], form["To"], form["Direction"], form["CallStatus"]) == (
        THEIRS, OURS, "inbound", "ringing",
    )  # fmt: skip
    assert form["StirVerstat"] == "TN-Validation-Passed-A"
    assert call.webhooks[0].status == 200
    assert 0 < call.webhooks[0].latency < 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (twiml("oops", status=500), 11200),
        (twiml("", status=405), 11200),
        (twiml("<Response><Say>hi</Response>"), 12100),
        (twiml(' <?xml version="1.0"?><Response/>'), 12100),
        (twiml(""), 12100),
        (twiml("<response/>"), 12102),
        (twiml("{}", content_type="application/json"), 12300),
        (twiml(response("<Say>" + "x" * 70000 + "</Say>")), 11750),
    ],
)
async def test_an_answer_that_is_no_twiml_makes_the_carrier_apologise_and_hang_up(twilio, answer, code):
    twilio.app.answers["/voice"] = lambda form: answer
    call = await (await twilio.dial_in(THEIRS, OURS)).finished()
    assert (call.application_error, call.said_by_carrier, call.status) == (code, [APOLOGY], "completed")
    assert codes(twilio) == [code]


async def test_an_answer_that_does_not_come_in_time_is_an_application_error():
    async with emulated(answer_limit=0.1) as twilio:
        twilio.app.answers["/voice"] = lambda form: twilio.app.released.wait()
        call = await (await twilio.dial_in(THEIRS, OURS)).finished()
        twilio.app.released.set()
        assert (call.application_error, call.said_by_carrier) == (11203, [APOLOGY])


async def test_nobody_at_the_address_is_an_application_error_unless_there_is_a_fallback(twilio, free_port):
    nowhere = f"http://127.0.0.1:{free_port}/"
    await create(twilio, Url=nowhere)
    failed = await (await twilio.next_call()).finished()
    await create(twilio, Url=nowhere, FallbackUrl=twilio.app.url("/fallback"))
    saved = await (await twilio.next_call()).finished()
    (form,) = twilio.app.forms("/fallback")
    assert (failed.application_error, saved.application_error) == (11205, None)
    assert (form["ErrorCode"], form["ErrorUrl"]) == ("11205", nowhere)


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("<say>hi</say>", 12200),
        ("<Say pitch='high'>hi</Say>", 12200),
        ("<Say/>", 13520),
        ("<Say>" + "x" * 4097 + "</Say>", 13520),
        ("<Gather><Dial>+15550003333</Dial></Gather>", 12200),
        ("<Gather timeout='soon'/>", 13313),
        ("<Gather finishOnKey='x'/>", 13310),
        ("<Pause length='-1'/>", 13910),
        ("<Redirect method='PUT'>/next</Redirect>", 13710),
        ("<Play/>", 12200),
        ("<Dial/>", 12200),
        ("hello", 12200),
        ("<Connect/>", 12200),
        ("<Connect><Stream url='http://127.0.0.1/'/></Connect>", 31922),
        ("<Connect><Stream url='ws://media.example.com/'/></Connect>", 31922),
        ("<Connect><Stream url='wss:///path'/></Connect>", 31923),
        ("<Connect><Stream/></Connect>", 31923),
        ("<Connect><Stream url='wss://h/x' track='both_tracks'/></Connect>", 31941),
        ("<Connect><Stream url='wss://h/x?token=1'/></Connect>", 31920),
        ("<Connect><Stream url='wss://h/x'><Parameter name='a'/></Stream></Connect>", 12200),
        (
            f"<Connect><Stream url='wss://h/x'><Parameter name='a' value='{'x' * 499}'/></Stream></Connect>",
            12200,
        ),
    ],
)
def test_twiml_against_the_schema_is_warned_of_and_passed_over(inside, code):
    document = twilio_twiml.read(response(inside).encode())
    assert [problem.code for problem in document.warnings] == [code]


async def test_a_call_goes_on_with_what_is_left_of_a_doubtful_document(twilio):
    call = await inbound(twilio, "<Shout>hi</Shout><Say>hi</Say>")
    assert (call.said_by_carrier, call.application_error, codes(twilio)) == (["hi"], None, [12200])


async def test_the_person_hears_what_the_carrier_says(twilio):
    async def listener(phone):
        await phone.wait_until_heard("good evening", twilio.book)
        heard.append(bytes(phone.heard))

    heard = []
    twilio.voice = babble
    await inbound(twilio, "<Say>good evening</Say><Play digits='w'/>", listener)
    assert babble("good evening") in heard[0]


async def test_speech_is_gathered_after_a_pause_and_stops_the_prompt(twilio):
    async def talker(phone):
        await phone.wait_for_sound()
        await phone.say(twilio.book.add("a table", babble("a table")))

    twilio.voice = babble
    twilio.app.answers["/turn"] = lambda form: response(f"<Say>{form['SpeechResult']}</Say>")
    call = await inbound(
        twilio,
        '<Gather input="speech" speechTimeout="auto" action="/turn"><Say>' + "long " * 40 + "</Say></Gather>",
        talker,
    )
    (form,) = twilio.app.forms("/turn")
    assert (form["SpeechResult"], 0 < float(form["Confidence"]) <= 1) == ("a table", True)
    assert call.said_by_carrier[-1] == "a table"
    assert call.duration < 5


@pytest.mark.parametrize(
    ("attributes", "pressed", "digits", "key"),
    [
        ("numDigits='2'", "123", "12", ""),
        ("", "12#", "12", "#"),
        ("finishOnKey='*' timeout='1'", "1#", "1#", ""),
    ],
)
async def test_digits_are_gathered(twilio, attributes, pressed, digits, key):
    async def presser(phone):
        await phone.wait(0.1)
        await phone.press(pressed)

    await inbound(twilio, f"<Gather action='/turn' {attributes}/>", presser)
    (form,) = twilio.app.forms("/turn")
    assert (form["Digits"], form["FinishedOnKey"]) == (digits, key)


async def test_nothing_gathered_goes_on_with_the_next_verb_or_asks_if_told_to(twilio):
    passed = await inbound(
        twilio, "<Gather input='speech' timeout='1' action='/turn'/><Say>still there?</Say>"
    )
    asked = await inbound(
        twilio, "<Gather input='speech' timeout='1' action='/turn' actionOnEmptyResult='true'/><Say>no</Say>"
    )
    assert (passed.said_by_carrier, asked.said_by_carrier) == (["still there?"], [])
    assert [form["SpeechResult"] for form in twilio.app.forms("/turn")] == [""]


async def test_a_redirect_is_followed_and_a_call_is_not_answered_before_something_happens(twilio):
    twilio.app.answers["/next"] = response("<Say>hi</Say><Redirect>/last</Redirect>")
    call = await inbound(twilio, "<Pause length='1'/><Redirect method='POST'>/next</Redirect>")
    statuses = [form["CallStatus"] for _, form in twilio.app.requests]
    assert statuses == ["ringing", "ringing", "in-progress"]
    assert call.status == "completed"


@pytest.mark.parametrize(("reason", "status"), [("busy", "busy"), ("rejected", "failed")])
async def test_a_rejected_call_is_never_answered(twilio, reason, status):
    call = await inbound(twilio, f"<Reject reason='{reason}'/>")
    assert (call.status, call.answered, call.duration) == (status, False, 0)


@pytest.mark.parametrize(
    ("party", "status", "bridged"),
    [
        (Transferee(talks_for=0.1), "completed", "true"),
        (Transferee("busy"), "busy", "false"),
        (Transferee(after=9.0), "no-answer", "false"),
    ],
)
async def test_a_transfer_tells_the_action_how_it_went(twilio, party, status, bridged):
    twilio.transferees["+15550003333"] = party
    twilio.app.answers["/dialled"] = response("<Say>bye</Say>")
    call = await inbound(twilio, "<Dial action='/dialled' timeout='1'><Number>+15550003333</Number></Dial>")
    (form,) = twilio.app.forms("/dialled")
    assert (form["DialCallStatus"], form["DialBridged"]) == (status, bridged)
    assert (call.transferred_to, call.said_by_carrier) == ("+15550003333", ["bye"])


async def test_a_transferred_person_hears_ringing_and_then_the_other(twilio):
    async def caller(phone):
        await phone.wait_until_heard("hello here is Bob", twilio.book)
        phone.hang_up()

    says = twilio.book.add("hello here is Bob", babble("hello here is Bob"))
    twilio.transferees["+15550003333"] = Transferee(after=0.3, says=says)
    call = await inbound(twilio, "<Dial>+15550003333</Dial>", caller)
    assert babble("ring ring ring")[:800] in bytes(call.phone.heard)
    assert call.ended_by == "person"


async def test_digits_are_played(twilio):
    call = await inbound(twilio, "<Play digits='w1#'/>")
    assert (call.played_digits, call.duration) == ("w1#", 1)


@pytest.mark.parametrize("outcome", ["busy", "no-answer", "failed"])
async def test_a_call_that_nobody_takes_is_reported_and_asks_for_nothing(twilio, outcome):
    twilio.pickup = Pickup(outcome)
    await create(twilio, StatusCallback=twilio.app.url("/status"))
    call = await (await twilio.next_call()).finished()
    (form,) = twilio.app.forms("/status")
    assert (form["CallStatus"], form["CallDuration"], call.status) == (outcome, "0", outcome)
    assert not twilio.app.forms("/voice")


async def test_a_phone_rings_no_longer_than_the_timeout(twilio):
    twilio.pickup = Pickup(after=60)
    await create(twilio, Timeout="1")
    assert (await (await twilio.next_call()).finished()).status == "no-answer"


async def test_a_ringing_call_can_be_cancelled(twilio):
    twilio.pickup = Pickup(after=60)
    await create(twilio)
    call = await twilio.next_call()
    assert (await post(twilio, f"/Calls/{call.sid}.json", Status="canceled"))[0] == 200
    assert (await call.finished()).status == "canceled"


async def test_a_person_answers_a_placed_call(twilio):
    async def person(phone):
        assert phone.number == THEIRS
        await phone.wait_for_agent(quiet=0.05)
        phone.hang_up()

    twilio.person = person
    twilio.app.answers["/voice"] = response("<Say>hi</Say><Pause length='60'/>")
    await create(twilio)
    call = await (await twilio.next_call()).finished()
    assert (call.ended_by, call.status, call.person_done) == ("person", "completed", True)


async def test_a_script_that_the_end_of_the_call_cut_short_is_known_as_such(twilio):
    async def person(phone):
        await phone.wait(60)

    call = await inbound(twilio, "<Say>hi</Say>", person)
    assert (call.ended_by, call.person_done) == ("twiml", False)


async def test_what_a_persons_script_fails_with_is_raised(twilio):
    async def person(phone):
        raise AssertionError("not what I expected")

    with pytest.raises(AssertionError, match="not what I expected"):
        await inbound(
            twilio, "<Pause length='60'/><Say>x</Say><Pause length='60'/>".replace("60", "1"), person
        )


async def test_the_time_limit_ends_a_call_at_the_carrier(twilio):
    begun = time.monotonic()
    await create(twilio, TimeLimit="1", Url="", Twiml=response("<Say>hi</Say><Pause length='60'/>"))
    call = await (await twilio.next_call()).finished()
    assert (call.ended_by, call.time_limit, call.duration) == ("time-limit", 1, 1)
    assert time.monotonic() - begun < 5


async def test_the_time_limit_of_a_running_call_can_be_set(twilio):
    twilio.app.answers["/voice"] = response("<Say>hi</Say><Pause length='60'/>")
    call = await twilio.dial_in(THEIRS, OURS)
    await call.until_answered()
    await post(twilio, f"/Calls/{call.sid}.json", TimeLimit="1")
    assert (await call.finished()).ended_by == "time-limit"


async def test_a_running_call_is_sent_to_other_twiml(twilio):
    twilio.app.answers["/voice"] = response("<Say>hi</Say><Pause length='60'/>")
    call = await twilio.dial_in(THEIRS, OURS)
    await call.until_answered()
    await post(twilio, f"/Calls/{call.sid}.json", Twiml=response("<Say>something else</Say>"))
    await call.finished()
    assert call.said_by_carrier[-1] == "something else"


async def test_a_transfer_that_is_broken_off_still_asks_its_action(twilio):
    call = await twilio.dial_in(THEIRS, OURS)
    twilio.app.answers["/voice"] = response("<Dial action='/dialled'>+15550003333</Dial>")
    await call.until_answered()
    await post(twilio, f"/Calls/{call.sid}.json", Twiml=response("<Say>back</Say>"))
    await call.finished()
    assert call.said_by_carrier == ["back"]
    assert len(twilio.app.forms("/dialled")) == 1


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_machine_detection_tells_who_answered(twilio, asynchronous):
    twilio.pickup = Pickup(answered_by="machine_start", amd_after=0.01)
    twilio.app.answers["/voice"] = response("<Say>hi</Say>")
    await create(
        twilio,
        MachineDetection="Enable",
        AsyncAmd="true" if asynchronous else "",
        AsyncAmdStatusCallback=twilio.app.url("/machine") if asynchronous else "",
    )
    call = await (await twilio.next_call()).finished()
    (form,) = twilio.app.forms("/machine" if asynchronous else "/voice")
    assert (form["AnsweredBy"], call.answered_by) == ("machine_start", "machine_start")
    assert form["MachineDetectionDuration"].isdecimal()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("rest-401", 401, 20003), ("rest-429", 429, 20429), ("rest-500", 500, 20500)],
)
async def test_the_rest_api_fails_when_told_to(twilio, fault, status, code):
    twilio.fail_next(fault)
    answered, document, headers = await create(twilio)
    assert (answered, document["code"]) == (status, code)
    assert ("Retry-After" in headers) == (status == 429)
    assert not twilio.calls
    assert not twilio.refusals


async def test_a_reply_may_be_lost_though_the_call_is_placed(twilio):
    twilio.fail_next("rest-lost-reply")
    with pytest.raises(aiohttp.ClientConnectionError):
        await create(twilio)
    twilio.fail_next("rest-timeout")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await create(twilio)
    assert len(twilio.calls) == 2


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("callbacks-duplicated", ["initiated", "initiated", "ringing", "in-progress", "completed"]),
        ("callbacks-reordered", ["ringing", "initiated", "in-progress", "completed"]),
        ("callbacks-lost", ["ringing", "in-progress", "completed"]),
        ("callbacks-late", ["ringing", "in-progress", "completed", "initiated"]),
    ],
)
async def test_reports_come_twice_late_out_of_order_or_never_when_told_to(twilio, fault, statuses):
    twilio.fail_next(fault, seconds=0.2)
    twilio.app.answers["/voice"] = response("")
    events = "&".join(
        f"StatusCallbackEvent={event}" for event in ("initiated", "ringing", "answered", "completed")
    )
    auth = basic(twilio.account_sid, twilio.auth_token)
    body = f"To=%2B15550002222&From=%2B15550001111&Url={twilio.app.url()}&StatusCallback={twilio.app.url('/status')}"
    headers = {"Authorization": auth, "Content-Type": "application/x-www-form-urlencoded"}
    url = f"{twilio.url}/2010-04-01/Accounts/{twilio.account_sid}/Calls.json"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=f"{body}&{events}", headers=headers),
    ):
        pass
    await (await twilio.next_call()).finished()
    assert report_events(twilio) == statuses


async def test_twiml_may_be_asked_for_twice_and_the_second_answer_counts(twilio):
    twilio.fail_next("twiml-fetched-twice")
    answers = iter([response("<Say>first</Say>"), response("<Say>second</Say>")])
    twilio.app.answers["/voice"] = lambda form: next(answers)
    call = await (await twilio.dial_in(THEIRS, OURS)).finished()
    tokens = {request.headers["I-Twilio-Idempotency-Token"] for request, _ in twilio.app.requests}
    assert (call.said_by_carrier, len(tokens)) == (["second"], 1)


async def test_only_the_accounts_own_numbers_can_be_called(twilio):
    with pytest.raises(ValueError, match="no number of the account"):
        await twilio.dial_in(THEIRS, "+15550004444")


async def test_calls_are_ended_when_the_emulator_stops():
    async with emulated() as twilio:
        twilio.app.answers["/voice"] = response("<Say>hi</Say><Pause length='60'/>")
        call = await twilio.dial_in(THEIRS, OURS)
        await call.until_answered()
    assert (call.status, call.ended_by) == ("completed", "emulator")
