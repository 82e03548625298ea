"""TwiML: what Twilio is told to do with a call. Pure functions from words to XML."""

import re
from collections.abc import Mapping
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, tostring

from openclaw_voicecall.errors import ConfigError

LANGUAGES = {
    "da": "da-DK",
    "de": "de-DE",
    "en": "en-US",
    "es": "es-ES",
    "fi": "fi-FI",
    "fr": "fr-FR",
    "it": "it-IT",
    "ja": "ja-JP",
    "ko": "ko-KR",
    "nl": "nl-NL",
    "pl": "pl-PL",
    "pt": "pt-PT",
    "sv": "sv-SE",
}
"""Twilio takes languages with their country only."""
MAX_SAY = 4096
"""Characters that Twilio says in one go."""
MAX_SIP_URI = 254
"""Characters of a SIP address without its headers."""
MAX_SIP_HEADERS = 1023
"""Characters of all headers as they stand in the address."""
TAKE_PROMPT = "Press any key to take the call."

_SIP_URI = re.compile(
    r"sips?:[A-Za-z0-9_.+!~*'()-]+@[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?"
    r"(?:;[A-Za-z0-9-]+=[A-Za-z0-9.-]+)*"
)
_SIP_HEADER = re.compile(r"[Xx]-[A-Za-z0-9-]{1,64}")
_SIP_VALUE = re.compile(r"[\x20-\x7e]+")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may hold, escaped or not; with one of them Twilio refuses the whole answer."""


def nothing() -> str:
    """No order: the answer to a report. As an answer to a question it ends the call."""
    return _text(_response())


def stream(url: str, fallback_text: str, over_url: str, *, first_text: str = "") -> str:
    """Give the call's audio to us over a WebSocket, after Twilio has said `first_text`, if that is not empty.

    Should the stream not come about, or end while the call goes on, Twilio says `fallback_text` and asks `over_url`.
    """
    response = _response()
    _say(response, first_text, {})
    SubElement(SubElement(response, "Connect"), "Stream", {"url": url})
    _say(response, fallback_text, {})
    _redirect(response, over_url)
    return _text(response)


def hang_up(text: str = "") -> str:
    """Say something, unless it is empty, and end the call."""
    return _ending(_response(), text)


def reject(*, busy: bool) -> str:
    """Refuse a call that is not answered yet, at no cost: with the busy tone, or as a number not in service."""
    response = _response()
    SubElement(response, "Reject", {"reason": "busy" if busy else "rejected"})
    return _text(response)


def wait(url: str, seconds: int = 1) -> str:
    """Keep the call silent for whole seconds, then ask `url` what to do."""
    response = _response()
    SubElement(response, "Pause", {"length": str(seconds)})
    _redirect(response, url)
    return _text(response)


def say(text: str, *, then_url: str, language: str = "", digits: str = "") -> str:
    """Press keys, say something, and ask `then_url` how to go on. Each of the two may be empty."""
    response = _response()
    _press(response, digits)
    _say(response, text, _language(language))
    _redirect(response, then_url)
    return _text(response)


def say_and_gather(
    text: str,
    *,
    action_url: str,
    retry_url: str,
    language: str = "",
    timeout: int = 5,
    hints: str = "",
    barge_in: bool = True,
    digits: str = "",
) -> str:
    """Say something and listen: one turn of a conversation without a media stream.

    Args:
        text: Said first, while Twilio listens already; empty to listen only.
        action_url: Gets the caller's words, and is asked as well when there were none.
        retry_url: Asked should Twilio go past the question all the same.
        language: Language of both sides, such as `en-US`; empty for Twilio's own choice.
        timeout: Seconds until the caller must have begun to speak.
        hints: Words to expect, parted by commas.
        barge_in: Whether speech of the caller stops `text`.
        digits: Keys to press before.
    """
    spoken = _language(language)
    response = _response()
    _press(response, digits)
    gather = SubElement(
        response,
        "Gather",
        {
            "input": "speech dtmf",
            "action": action_url,
            "method": "POST",
            "timeout": str(timeout),
            "speechTimeout": "auto",
            "actionOnEmptyResult": "true",
            "bargeIn": "true" if barge_in else "false",
            **spoken,
            **({"hints": hints} if hints else {}),
        },
    )
    _say(gather, text, spoken)
    _redirect(response, retry_url)
    return _text(response)


def transfer(
    number: str,
    *,
    over_url: str,
    news_url: str = "",
    whisper_url: str = "",
    caller_id: str = "",
    ring_timeout: int = 30,
    limit: int = 0,
) -> str:
    """Connect the far party with another number.

    Args:
        number: E.164.
        over_url: Asked how to go on once the other number did not answer, or has hung up.
        news_url: Told when the other number answers; empty to tell nobody.
        whisper_url: Asked what whoever answers there hears before the two are connected; empty to connect at once. The
            far party hears ringing until then.
        caller_id: What the other number sees; empty for the far party's own number.
        ring_timeout: Seconds.
        limit: Seconds that they may talk; 0 for Twilio's own limit.
    """
    attributes = {"action": over_url, "method": "POST", "timeout": str(ring_timeout)}
    if caller_id:
        attributes["callerId"] = caller_id
    if limit:
        attributes["timeLimit"] = str(limit)
    number_attributes: dict[str, str] = {}
    if whisper_url:
        attributes["answerOnBridge"] = "true"
        number_attributes |= {"url": whisper_url, "method": "POST"}
    if news_url:
        number_attributes |= {
            "statusCallback": news_url,
            "statusCallbackEvent": "answered",
            "statusCallbackMethod": "POST",
        }
    response = _response()
    dial = SubElement(response, "Dial", attributes)
    SubElement(dial, "Number", number_attributes).text = number
    return _text(response)


def whisper(text: str, *, take_url: str, timeout: int = 10) -> str:
    """Tell whoever answers a transfer what it is about, and let them take it by any key.

    It is carried out on their half of the call. Without a key that half is hung up. With one `take_url` is asked; an
    answer without orders connects the two.

    Args:
        text: What it is about; may be empty.
        take_url: Told of the key.
        timeout: Seconds to press it in, from the last word on.
    """
    response = _response()
    # No key ends the input, so that any of them counts.
    attributes = {"input": "dtmf", "action": take_url, "method": "POST", "numDigits": "1", "finishOnKey": ""}
    gather = SubElement(response, "Gather", {**attributes, "timeout": str(timeout)})
    _say(gather, text[:MAX_SAY], {})
    _say(gather, TAKE_PROMPT, {})
    return _ending(response, "")


def bridge(
    uri: str,
    headers: Mapping[str, str],
    *,
    over_url: str,
    refer_url: str,
    first_text: str = "",
    caller_id: str = "",
    ring_timeout: int = 30,
) -> str:
    """Connect the call with a SIP address, after Twilio has said `first_text`, if that is not empty.

    A call that Twilio has not answered yet goes on ringing until the SIP side takes it: nobody pays for a call that
    comes to nothing, and it can still be refused. There are no words for a failure: after a `<Dial>` with an action
    Twilio carries out what that answers, and nothing else.

    Args:
        uri: Such as `sip:user@host;transport=tls`.
        headers: Headers of our own on the INVITE. Twilio passes on names that begin with `X-`.
        over_url: Asked how to go on once the SIP side did not answer, or has hung up.
        refer_url: Asked when the SIP side wants the call transferred. Without such an address Twilio refuses that and
            complains with error 13802.
        first_text: Words before.
        caller_id: Who calls, as the SIP side sees it; empty for the far party's own number.
        ring_timeout: Seconds.

    Raises:
        ConfigError: Twilio would not take the address or a header.
    """
    attributes = {"action": over_url, "method": "POST", "timeout": str(ring_timeout)}
    attributes |= {"answerOnBridge": "true", "referUrl": refer_url, "referMethod": "POST"}
    if caller_id:
        attributes["callerId"] = caller_id
    response = _response()
    _say(response, first_text, {})
    SubElement(SubElement(response, "Dial", attributes), "Sip").text = sip_address(uri, headers)
    return _text(response)


def sip_address(uri: str, headers: Mapping[str, str]) -> str:
    """A SIP address with headers, as Twilio's `<Sip>` takes it.

    Raises:
        ConfigError: Twilio would not take the address or a header; the message has no value of a header.
    """
    if not _SIP_URI.fullmatch(uri) or len(uri) > MAX_SIP_URI:
        raise ConfigError(f"{uri[:80]!r} is not a SIP address that Twilio takes: sip:user@host;transport=tls")
    for name, value in headers.items():
        if not _SIP_HEADER.fullmatch(name):
            raise ConfigError(f"Twilio sends no SIP header {name[:80]!r}: its name has to begin with X-")
        if not _SIP_VALUE.fullmatch(value):
            raise ConfigError(f"the value of the SIP header {name} is empty or has other than plain letters")
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in headers.items())
    if len(query) > MAX_SIP_HEADERS:
        raise ConfigError(f"the SIP headers are longer than the {MAX_SIP_HEADERS} characters Twilio takes")
    return f"{uri}?{query}" if query else uri


def _response() -> Element:
    return Element("Response")


def _language(tag: str) -> dict[str, str]:
    return {"language": LANGUAGES.get(tag, tag)} if tag else {}


def _press(response: Element, digits: str) -> None:
    if digits:
        SubElement(response, "Play", {"digits": digits})


def _redirect(response: Element, url: str) -> None:
    SubElement(response, "Redirect", {"method": "POST"}).text = url


def _say(parent: Element, text: str, attributes: dict[str, str]) -> None:
    words = _NOT_IN_XML.sub("", text).strip()
    if words:
        SubElement(parent, "Say", attributes).text = words


def _ending(response: Element, text: str) -> str:
    _say(response, text, {})
    SubElement(response, "Hangup")
    return _text(response)


def _text(response: Element) -> str:
    return '<?xml version="1.0" encoding="UTF-8"?>' + tostring(response, encoding="unicode")
