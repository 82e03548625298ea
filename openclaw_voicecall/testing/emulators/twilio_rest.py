"""Twilio's REST API, version 2010-04-01, as far as calls and their numbers go."""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web
from multidict import MultiDict, MultiMapping

from openclaw_voicecall.testing.emulators.twilio_calls import Call
from openclaw_voicecall.testing.emulators.twilio_orders import (
    CREATE_FIELDS,
    UPDATE_FIELDS,
    ApiError,
    Orders,
    check_parties,
    read_events,
    read_orders,
    read_time_limit,
    web_address,
)
from openclaw_voicecall.testing.emulators.twilio_reports import date
from openclaw_voicecall.testing.emulators.twilio_webhooks import Fetch

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator

Handler = Callable[[web.Request], Awaitable[web.Response]]

VERSION = "/2010-04-01"
NOT_IN_PROGRESS = "Call is not in-progress. Cannot redirect."
FILTERS = frozenset(
    {"To", "From", "Status", "ParentCallSid", "Page", "PageSize", "PageToken"}
    | {time + compared for time in ("StartTime", "EndTime") for compared in ("", "<", ">")}
)
NUMBER_FIELDS = {
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceFallbackMethod": "voice_fallback_method",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
    "FriendlyName": "friendly_name",
}


@dataclass(frozen=True, slots=True)
class Number:
    """A phone number of the account."""

    sid: str
    phone_number: str
    voice_url: str = ""
    voice_method: str = "POST"
    voice_fallback_url: str = ""
    voice_fallback_method: str = "POST"
    status_callback: str = ""
    status_callback_method: str = "POST"
    friendly_name: str = ""

    def orders(self) -> Orders:
        """What is done with calls to it."""
        return Orders(
            url=self.voice_url,
            method=self.voice_method,
            fallback_url=self.voice_fallback_url,
            fallback_method=self.voice_fallback_method,
            status_callback=self.status_callback,
            status_callback_method=self.status_callback_method,
        )


class RestApi:
    """The routes of one account.

    Args:
        account: The account.
    """

    def __init__(self, account: "TwilioEmulator") -> None:
        self._account = account

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        root = f"{VERSION}/Accounts/{{account}}"
        for method, path, handler in (
            ("GET", ".json", self._show_account),
            ("POST", "/Calls.json", self._create_call),
            ("GET", "/Calls.json", self._list_calls),
            ("POST", "/Calls/{sid}.json", self._update_call),
            ("GET", "/Calls/{sid}.json", self._show_call),
            ("POST", "/IncomingPhoneNumbers.json", self._buy_number),
            ("GET", "/IncomingPhoneNumbers.json", self._list_numbers),
            ("POST", "/IncomingPhoneNumbers/{sid}.json", self._update_number),
            ("GET", "/IncomingPhoneNumbers/{sid}.json", self._show_number),
        ):
            router.add_route(method, root + path, self._guarded(handler))
        router.add_route("*", f"{VERSION}/{{tail:.*}}", self._guarded(self._unknown))

    def _guarded(self, handler: Handler) -> Handler:
        """A handler that asks for the credentials, refuses as Twilio does, and fails where a fault says so."""

        async def handle(request: web.Request) -> web.Response:
            faults = {"rest-401": (401, 20003), "rest-429": (429, 20429), "rest-500": (500, 20500)}
            if fault := self._account.take_fault(*faults):
                status, code = faults[fault.name]
                return _refusal(ApiError(status, code, WORDS[code]))
            try:
                self._authenticate(request)
                response = await handler(request)
            except ApiError as error:
                if error.blame:
                    self._account.refuse(f"{request.method} {request.path}", str(error))
                return _refusal(error)
            if request.method == "POST" and (
                fault := self._account.take_fault("rest-timeout", "rest-lost-reply")
            ):
                if fault.name == "rest-timeout":
                    await asyncio.Event().wait()
                if request.transport is not None:
                    request.transport.abort()
            return response

        return handle

    def _authenticate(self, request: web.Request) -> None:
        account, scheme = self._account, request.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(scheme[2], validate=True)
        except (binascii.Error, ValueError):
            given = b""
        wanted = f"{account.account_sid}:{account.auth_token}".encode()
        right = scheme[0].lower() == "basic" and hmac.compare_digest(given, wanted)
        if not right or request.match_info.get("account", account.account_sid) != account.account_sid:
            raise ApiError(401, 20003, "Authenticate")

    async def _unknown(self, request: web.Request) -> web.Response:
        raise _not_found(request)

    async def _show_account(self, request: web.Request) -> web.Response:
        sid = self._account.account_sid
        return web.json_response(
            {
                "sid": sid,
                "owner_account_sid": sid,
                "friendly_name": "Emulated account",
                "status": "active",
                "type": "Full",
                "date_created": date(0.0),
                "date_updated": date(0.0),
                "uri": f"{VERSION}/Accounts/{sid}.json",
                "subresource_uris": {"calls": f"{VERSION}/Accounts/{sid}/Calls.json"},
            }
        )

    async def _create_call(self, request: web.Request) -> web.Response:
        account, form = self._account, await self._form(request, CREATE_FIELDS)
        from_number, to_number = check_parties(form, account.callers, account.blocked)
        orders = read_orders(form)
        if read_events(form) is None:
            account.refuse(
                f"POST {request.path}", "21626: Invalid StatusCallbackEvent; there will be no reports"
            )
        return web.json_response(account.place(from_number, to_number, orders).shown(), status=201)

    async def _show_call(self, request: web.Request) -> web.Response:
        return web.json_response(self._call(request).shown())

    async def _update_call(self, request: web.Request) -> web.Response:
        form, call = await self._form(request, UPDATE_FIELDS), self._call(request)
        status, url, twiml = form.get("Status", ""), web_address(form, "Url", 21205), form.get("Twiml", "")
        limit = read_time_limit(form)
        if status not in ("", "completed", "canceled") or (url and twiml):
            raise ApiError(
                400, 20001, "Status is completed or canceled, and of Url and Twiml there is only one."
            )
        if not (status or url or twiml or limit):
            raise ApiError(400, 20001, "Nothing is to be changed.")
        if call.over or (not call.answered and (url or twiml)):
            # The other side may hang up at any time, and then nobody is to blame.
            raise ApiError(400, 21220, NOT_IN_PROGRESS, blame=not call.over)
        if status == "canceled" and call.answered:
            raise ApiError(400, 21220, "Call is in-progress. Cannot cancel.")
        if limit:
            call.limit(limit)
        if reports := web_address(form, "StatusCallback", 21609):
            call.orders = replace(call.orders, status_callback=reports, events=frozenset({"completed"}))
        if status:
            call.end("completed" if call.answered else "canceled", by="api")
        elif url or twiml:
            call.redirect(Fetch(url, form.get("Method", "POST")) if url else twiml)
        return web.json_response(call.shown())

    async def _list_calls(self, request: web.Request) -> web.Response:
        for name in set(request.query) - FILTERS:
            self._account.refuse(f"GET {request.path}", f"20001: unknown filter {name}")
        found = [
            call.shown() for call in reversed(self._account.calls.values()) if _fits(call, request.query)
        ]
        return web.json_response(_page(request, "calls", found))

    async def _list_numbers(self, request: web.Request) -> web.Response:
        wanted = request.query.get("PhoneNumber", "")
        found = [
            self._shown(number)
            for number in self._account.numbers.values()
            if number.phone_number.startswith(wanted)
        ]
        return web.json_response(_page(request, "incoming_phone_numbers", found))

    async def _show_number(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._number(request)))

    async def _buy_number(self, request: web.Request) -> web.Response:
        form = await self._form(request, {"PhoneNumber", *NUMBER_FIELDS})
        wanted = form.get("PhoneNumber", "")
        if not wanted or wanted in self._account.numbers:
            raise ApiError(400, 21421 if not wanted else 21422, "PhoneNumber is not available.")
        number = _changed(Number(self._account.new_sid("PN"), wanted), form)
        self._account.numbers[wanted] = number
        return web.json_response(self._shown(number), status=201)

    async def _update_number(self, request: web.Request) -> web.Response:
        form = await self._form(request, NUMBER_FIELDS.keys())
        number = _changed(self._number(request), form)
        self._account.numbers[number.phone_number] = number
        return web.json_response(self._shown(number))

    async def _form(self, request: web.Request, known: Any) -> MultiMapping[str]:
        if request.content_type != "application/x-www-form-urlencoded":
            raise ApiError(400, 20001, "The body is not a form.")
        form = MultiDict((name, str(value)) for name, value in (await request.post()).items())
        for name in sorted(set(form) - set(known)):
            # Twilio passes over what it does not know, and the application waits for an effect in vain.
            self._account.refuse(f"{request.method} {request.path}", f"20001: unknown parameter {name}")
        return form

    def _call(self, request: web.Request) -> Call:
        call = self._account.calls.get(request.match_info["sid"])
        if call is None:
            raise _not_found(request)
        return call

    def _number(self, request: web.Request) -> Number:
        for number in self._account.numbers.values():
            if number.sid == request.match_info["sid"]:
                return number
        raise _not_found(request)

    def _shown(self, number: Number) -> dict[str, Any]:
        sid = self._account.account_sid
        return {
            "sid": number.sid,
            "account_sid": sid,
            "api_version": "2010-04-01",
            "phone_number": number.phone_number,
            "capabilities": {"voice": True, "sms": False, "mms": False, "fax": False},
            **{name: getattr(number, name) for name in NUMBER_FIELDS.values()},
            "uri": f"{VERSION}/Accounts/{sid}/IncomingPhoneNumbers/{number.sid}.json",
        }


WORDS = {20003: "Authenticate", 20429: "Too Many Requests", 20500: "An internal server error has occurred"}


def _refusal(error: ApiError) -> web.Response:
    headers = {"Twilio-Request-Id": "RQ" + "0" * 32}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    elif error.status == 429:
        headers["Retry-After"] = "1"
    return web.json_response(error.document, status=error.status, headers=headers)


def _not_found(request: web.Request) -> ApiError:
    return ApiError(404, 20404, f"The requested resource {request.path} was not found")


def _changed(number: Number, form: MultiMapping[str]) -> Number:
    for name in ("VoiceUrl", "VoiceFallbackUrl", "StatusCallback"):
        web_address(form, name, 21402)
    return replace(number, **{field: form[name] for name, field in NUMBER_FIELDS.items() if name in form})


def _fits(call: Call, query: MultiMapping[str]) -> bool:
    """Whether a call is asked for. Calls that did not start yet count by when they were made."""
    same = {"To": call.to_number, "From": call.from_number, "Status": call.status, "ParentCallSid": ""}
    if any(name in query and query[name] != value for name, value in same.items()):
        return False
    for name, moment in (("StartTime", call.started or call.created), ("EndTime", call.ended)):
        for compared in ("", "<", ">"):
            asked = query.get(name + compared)
            if asked and (
                moment is None or not _in_time(datetime.fromtimestamp(moment, UTC), asked, compared)
            ):
                return False
    return True


def _in_time(moment: datetime, asked: str, compared: str) -> bool:
    """Whether a moment lies on, until (`<`) or from (`>`) the time asked for: a day, or a second."""
    try:
        begin = datetime.fromisoformat(asked)
    except ValueError:
        raise ApiError(400, 20001, f"Invalid time: {asked[:50]}") from None
    begin = begin.replace(tzinfo=begin.tzinfo or UTC)
    end = begin + (timedelta(days=1) if len(asked) <= 10 else timedelta(seconds=1))
    if compared == "<":
        return moment < end
    return moment >= begin and (compared == ">" or moment < end)


def _page(request: web.Request, name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    try:
        size, page = int(request.query.get("PageSize", "50")), int(request.query.get("Page", "0"))
    except ValueError:
        raise ApiError(400, 20001, "Page and PageSize are numbers") from None
    if not 1 <= size <= 1000:
        raise ApiError(400, 20007, "Page size is 1 to 1000")

    def uri(number: int) -> str:
        return f"{request.path}?{urlencode({**request.query, 'Page': number, 'PageSize': size})}"

    last = (page + 1) * size >= len(found)
    return {
        name: found[page * size : (page + 1) * size],
        "page": page,
        "page_size": size,
        "start": page * size,
        "end": min(len(found), (page + 1) * size) - 1,
        "uri": uri(page),
        "first_page_uri": uri(0),
        "next_page_uri": None if last else uri(page + 1),
        "previous_page_uri": uri(page - 1) if page else None,
    }
