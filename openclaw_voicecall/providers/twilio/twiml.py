"""TwiML: what Twilio is told to do with a call. Pure functions from words to XML."""

import re
from xml.etree.ElementTree import Element, SubElement, tostring

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
    news_url: str,
    caller_id: str = "",
    ring_timeout: int = 30,
    limit: int = 0,
) -> str:
    """Connect the far party with another number.

    Args:
        number: E.164.
        over_url: Asked how to go on once the other number did not answer, or has hung up.
        news_url: Told when the other number answers.
        caller_id: What the other number sees; empty for the far party's own number.
        ring_timeout: Seconds.
        limit: Seconds that they may talk; 0 for Twilio's own limit.
    """
    attributes = {"action": over_url, "method": "POST", "timeout": str(ring_timeout)}
    if caller_id:
        attributes["callerId"] = caller_id
    if limit:
        attributes["timeLimit"] = str(limit)
    response = _response()
    dial = SubElement(response, "Dial", attributes)
    news = {"statusCallback": news_url, "statusCallbackEvent": "answered", "statusCallbackMethod": "POST"}
    SubElement(dial, "Number", news).text = number
    return _text(response)


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
