"""TwiML as Twilio reads it: what makes a document unusable, and what is merely logged and passed over.

A document that is no XML or no `<Response>` is an error: the caller hears that the application failed. One that does
not fit the schema is a warning (12200): unknown verbs and attributes are skipped, wrong values get their defaults, and
the call goes on with the rest. Attributes are those of Twilio's SDK (`twilio.twiml.voice_response`); codes are those
of Twilio's error dictionary.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

MAX_BYTES = 64 * 1024
"""Larger documents are refused with 11750."""
MAX_SAY = 4096
"""Characters that one `<Say>` may have."""
MAX_SIP_URI = 255
"""Characters that a SIP address stays below, without its headers."""
MAX_SIP_HEADERS = 1024
"""Characters that the headers in a SIP address stay below."""
MAX_PARAMETER = 500
"""Characters of name and value together that one `<Parameter>` may have."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that Twilio writes into its debugger."""

    code: int
    text: str


class TwimlError(Exception):
    """The document cannot be used at all.

    Args:
        code: Twilio's error code.
        text: What is wrong.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.problem = Problem(code, text)


@dataclass(frozen=True, slots=True)
class Verb:
    """An instruction with what it understands; anything else is left out."""

    name: str
    attributes: Mapping[str, str]
    text: str = ""
    children: tuple["Verb", ...] = ()

    def __str__(self) -> str:
        shown = "".join(f' {name}="{value}"' for name, value in self.attributes.items())
        return f"<{self.name}{shown}>"


@dataclass(frozen=True, slots=True)
class Document:
    """What is to be done, in order, and what Twilio would warn of."""

    verbs: tuple[Verb, ...]
    warnings: tuple[Problem, ...] = ()


def read(body: bytes, content_type: str = "text/xml") -> Document:
    """Read an answer of the application.

    Args:
        body: The document.
        content_type: Its media type. Text is spoken as it stands, as Twilio does it.

    Raises:
        TwimlError: It cannot be used.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/plain":
        words = body.decode(errors="replace").strip()
        problem = Problem(12300, "text/plain is read out to the caller; TwiML is text/xml")
        return Document((Verb("Say", {}, words),), (problem,))
    if kind not in ("text/xml", "application/xml", "text/html"):
        raise TwimlError(12300, f"Invalid Content-Type: {kind or 'none'}")
    if len(body) > MAX_BYTES:
        raise TwimlError(11750, "TwiML response body too large")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 the emulator reads its own side's documents only
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise TwimlError(12100, f"Document parse failure: {error}") from None
    if root.tag != "Response":
        raise TwimlError(12102, "The root element must be Response")
    warnings: list[Problem] = []
    for name in root.attrib:
        warnings.append(Problem(12200, f"Attribute '{name}' is not allowed to appear in element 'Response'"))
    return Document(_children(root, "Response", warnings), tuple(warnings))


@dataclass(frozen=True, slots=True)
class SipAddress:
    """A SIP address as `<Sip>` has it."""

    user: str
    host: str
    params: Mapping[str, str]
    headers: tuple[tuple[str, str], ...]
    """Headers that Twilio puts on the INVITE."""


_URL = re.compile(r"\S+")
_COUNT = re.compile(r"[1-9][0-9]{0,4}")
_SECONDS = re.compile(r"[0-9]{1,6}")
_FLAG = re.compile("true|false")
_METHOD = re.compile("GET|POST")
_TEXT = re.compile(r"[\s\S]*")
_EVENTS = re.compile("(?:(?:initiated|ringing|answered|completed)(?: |$))+")

_CALLBACK = {"statusCallback": _URL, "statusCallbackMethod": _METHOD}
_WHISPER = {
    "url": _URL,
    "method": _METHOD,
    "statusCallbackEvent": _EVENTS,
    "machineDetection": re.compile("Enable|DetectMessageEnd"),
    "amdStatusCallback": _URL,
    "amdStatusCallbackMethod": _METHOD,
    **_CALLBACK,
    **dict.fromkeys(
        (
            "machineDetectionTimeout",
            "machineDetectionSpeechThreshold",
            "machineDetectionSpeechEndThreshold",
            "machineDetectionSilenceTimeout",
        ),
        _COUNT,
    ),
}
_STREAM = {
    "url": _TEXT,
    "name": _TEXT,
    "connectorName": _TEXT,
    "track": re.compile("inbound_track|outbound_track|both_tracks"),
    "audioFormat": _TEXT,
    "sampleRate": _COUNT,
    **_CALLBACK,
}

ATTRIBUTES: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "Say": {"voice": _TEXT, "language": _TEXT, "loop": _SECONDS},
    "Play": {"loop": _SECONDS, "digits": re.compile("[0-9wWA-D*#]+")},
    "Pause": {"length": _SECONDS},
    "Hangup": {},
    "Leave": {},
    "Reject": {"reason": re.compile("busy|rejected")},
    "Redirect": {"method": _METHOD},
    "Gather": {
        "input": re.compile("dtmf|speech|dtmf speech|speech dtmf"),
        "action": _URL,
        "method": _METHOD,
        "timeout": re.compile("auto|[0-9]{1,5}"),
        "speechTimeout": re.compile("auto|[1-9][0-9]{0,4}"),
        "maxSpeechTime": _COUNT,
        "numDigits": _COUNT,
        "finishOnKey": re.compile("[0-9*#]*"),
        "hints": _TEXT,
        "language": _TEXT,
        "speechModel": _TEXT,
        "enhanced": _FLAG,
        "profanityFilter": _FLAG,
        "bargeIn": _FLAG,
        "debug": _FLAG,
        "actionOnEmptyResult": _FLAG,
        "partialResultCallback": _URL,
        "partialResultCallbackMethod": _METHOD,
    },
    "Dial": {
        "action": _URL,
        "method": _METHOD,
        "timeout": _COUNT,
        "timeLimit": _COUNT,
        "callerId": _TEXT,
        "answerOnBridge": _FLAG,
        "hangupOnStar": _FLAG,
        "sequential": _FLAG,
        "ringTone": _TEXT,
        "record": _TEXT,
        "trim": _TEXT,
        "events": _TEXT,
        "referUrl": _URL,
        "referMethod": _METHOD,
        "recordingStatusCallback": _URL,
        "recordingStatusCallbackMethod": _METHOD,
        "recordingStatusCallbackEvent": _TEXT,
        "recordingTrack": _TEXT,
    },
    "Number": {"sendDigits": re.compile("[0-9wWA-D*#]+"), "byoc": _TEXT, **_WHISPER},
    "Sip": {"username": _TEXT, "password": _TEXT, **_WHISPER},
    "Client": _WHISPER,
    "Connect": {"action": _URL, "method": _METHOD},
    "Start": {"action": _URL, "method": _METHOD},
    "Stream": _STREAM,
    "Parameter": {"name": _TEXT, "value": _TEXT},
}
"""What is understood, with the form of each value. Of Twilio's other verbs this emulator plays none."""

NESTING: Mapping[str, frozenset[str]] = {
    "Response": frozenset(
        {
            "Say",
            "Play",
            "Pause",
            "Hangup",
            "Leave",
            "Reject",
            "Redirect",
            "Gather",
            "Dial",
            "Connect",
            "Start",
        }
    ),
    "Gather": frozenset({"Say", "Play", "Pause"}),
    "Dial": frozenset({"Number", "Sip", "Client"}),
    "Connect": frozenset({"Stream"}),
    "Start": frozenset({"Stream"}),
    "Stream": frozenset({"Parameter"}),
}

_CODES = {
    ("Dial", "method"): 13210,
    ("Dial", "timeout"): 13212,
    ("Dial", "timeLimit"): 13216,
    ("Number", "sendDigits"): 13222,
    ("Gather", "finishOnKey"): 13310,
    ("Gather", "method"): 13312,
    ("Gather", "timeout"): 13313,
    ("Gather", "numDigits"): 13314,
    ("Gather", "actionOnEmptyResult"): 13338,
    ("Play", "loop"): 13410,
    ("Say", "loop"): 13510,
    ("Redirect", "method"): 13710,
    ("Pause", "length"): 13910,
    ("Stream", "track"): 31941,
}


def _children(element: ElementTree.Element, name: str, warnings: list[Problem]) -> tuple[Verb, ...]:
    verbs = []
    for child in element:
        if not isinstance(child.tag, str):
            continue  # a comment
        if child.tag not in NESTING.get(name, frozenset()):
            warnings.append(Problem(12200, f"Element '{child.tag}' is not allowed in element '{name}'"))
            continue
        verb = Verb(
            child.tag,
            _attributes(child, warnings),
            "".join(child.itertext()).strip() if child.tag not in NESTING or child.tag == "Dial" else "",
            _children(child, child.tag, warnings),
        )
        problem, usable = _check(verb, within=name)
        if problem is not None:
            warnings.append(problem)
        if usable:
            verbs.append(verb)
    own_text = "".join([element.text or "", *(child.tail or "" for child in element)]).strip()
    if own_text and name in NESTING and name != "Dial":
        warnings.append(Problem(12200, f"Element '{name}' must not have text of its own"))
    return tuple(verbs)


def _attributes(element: ElementTree.Element, warnings: list[Problem]) -> dict[str, str]:
    known, kept = ATTRIBUTES[element.tag], {}
    for name, value in element.attrib.items():
        if name not in known:
            text = f"Attribute '{name}' is not allowed to appear in element '{element.tag}'"
            warnings.append(Problem(12200, text))
        elif not known[name].fullmatch(value):
            code = _CODES.get((element.tag, name), 12200)
            warnings.append(Problem(code, f"{element.tag}: Invalid {name} value '{value[:100]}'"))
        else:
            kept[name] = value
    return kept


def _check(verb: Verb, within: str) -> tuple[Problem | None, bool]:
    """What is wrong with a verb as a whole, and whether anything of it is left to be done."""
    match verb.name:
        case "Say" if not verb.text or len(verb.text) > MAX_SAY:
            return Problem(13520, "Say: Invalid text"), False
        case "Play" if bool(verb.text) == ("digits" in verb.attributes):
            return Problem(12200, "Play needs either an address or digits"), False
        case "Connect" | "Start" if len(verb.children) != 1:
            return Problem(12200, f"{verb.name} needs exactly one Stream"), False
        case "Sip" if problems := read_sip_address(verb.text)[1]:
            return problems[0], True
        case "Dial" if len(verb.children) > 1 and any(child.name == "Sip" for child in verb.children):
            return Problem(12200, "Dial: Sip goes with no other noun"), False
        case "Dial" if not verb.children and not verb.text:
            return Problem(12200, "Dial needs somebody to dial"), False
        case "Parameter":
            if not {"name", "value"} <= set(verb.attributes):
                return Problem(12200, "Parameter needs a name and a value"), False
            if sum(map(len, verb.attributes.values())) >= MAX_PARAMETER:
                return Problem(12200, f"Parameter has {MAX_PARAMETER} characters or more"), False
        case "Stream":
            url = verb.attributes.get("url", "")
            if within == "Connect" and verb.attributes.get("track", "inbound_track") != "inbound_track":
                return Problem(31941, "Stream: Connect takes the inbound track only"), True
            if (problem := stream_problem(url)) is not None:
                return problem, True
            if without_query(url) != url:
                return Problem(31920, "the query of a Stream's address is dropped; use Parameter"), True
    return None, True


_SIP_URI = re.compile(
    r"sips?:(?P<user>[A-Za-z0-9_.+!~*'()&=$,-]+)@(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)(?::[0-9]{1,5})?"
    r"(?P<params>(?:;[^;?\s]+)*)(?:\?(?P<headers>.*))?"
)
_SIP_ESCAPED = re.compile(r"(?:[A-Za-z0-9_.!~*'()+-]|%[0-9A-Fa-f]{2})+")
_SIP_OWN = frozenset({"user-to-user", "remote-party-id", "p-preferred-identity", "p-called-party-id"})
"""Headers that Twilio passes on although their names do not begin with `X-`."""


def read_sip_address(text: str) -> tuple[SipAddress | None, list[Problem]]:
    """A SIP address, None where it is none, and what is wrong with it: headers that Twilio leaves out."""
    found = _SIP_URI.fullmatch(text.strip())
    if found is None or len(text.strip().partition("?")[0]) >= MAX_SIP_URI:
        return None, [Problem(13243, f"Dial->SIP: Invalid SIP URI {text.strip()[:100]}")]
    params = dict(
        (name, value) for name, _, value in (part.partition("=") for part in found["params"].split(";")[1:])
    )
    if params.get("transport", "udp").lower() not in ("udp", "tcp", "tls"):
        return None, [Problem(13243, f"Dial->SIP: Invalid SIP URI, transport {params['transport'][:20]}")]
    written, problems, headers = found["headers"] or "", [], []
    if len(written) >= MAX_SIP_HEADERS:
        problems.append(Problem(32110, f"SIP: headers of {MAX_SIP_HEADERS} characters or more"))
        written = ""
    for part in filter(None, written.split("&")):
        name, _, value = part.partition("=")
        if not name.lower().startswith("x-") and name.lower() not in _SIP_OWN:
            problems.append(
                Problem(32110, f"SIP: header {name[:50]} is not passed on: it must begin with X-")
            )
        elif not _SIP_ESCAPED.fullmatch(value):
            problems.append(Problem(32110, f"SIP: the value of header {name[:50]} is empty or not escaped"))
        else:
            headers.append((name, unquote(value)))
    return SipAddress(found["user"], found["host"], params, tuple(headers)), problems


def stream_problem(url: str) -> Problem | None:
    """Why Twilio would not open a stream to this address; None when it would.

    Twilio wants `wss`; plain `ws` passes here to an address on loopback, where nobody listens in.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return Problem(31923, "Stream - WebSocket - Malformed URL")
    if not host or any(letter.isspace() for letter in url):
        return Problem(31923, "Stream - WebSocket - Malformed URL")
    if parts.scheme != "wss" and not (parts.scheme == "ws" and is_loopback(host)):
        return Problem(31922, f"Stream - WebSocket - URL Schema Not Supported: {parts.scheme}")
    return None


def is_loopback(host: str) -> bool:
    """Whether a host name is this machine."""
    return host in {"localhost", "::1"} or host.startswith("127.")


def without_query(url: str) -> str:
    """A stream's address as Twilio asks it: the query is dropped, parameters travel as `<Parameter>`."""
    return url.partition("#")[0].partition("?")[0]
