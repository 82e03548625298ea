"""Log lines that say which call they are about, and never a secret or a whole phone number.

Every module logs with `logging.getLogger(__name__)` and nothing else. In a host nothing is configured here: its
own handlers get the records, and it may put `RedactionFilter` on them. `openclaw-voicecall serve` calls
`configure`.
"""

import logging
import math
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from json import dumps
from typing import Any, TextIO

call_id: ContextVar[str] = ContextVar("call_id", default="")
"""Our id of the call that the running task works for; empty outside of calls. A call's first task sets it."""

PACKAGE_LOGGER = "openclaw_voicecall"

_MASK = "***"
_MIN_SECRET = 4
"""Characters. Shorter words would be struck out of ordinary text; nobody has such a key."""

_NAMES = (
    r"(?:authorization|cookie|signature|token(?!s)|secret|password|passwd|credential"
    r"|(?:api|access|account|private|auth|session)[_-]?key)"
)
_QUOTE = r"\\*[\"']"
_SECRET_FIELD = re.compile(rf"{_NAMES}s?(?:[_-]?(?:sha256|ed25519|v\d|nonce))?$", re.IGNORECASE)
_BROKEN_LINE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_BROKEN_BLOCK = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Headers: all of the value, to the end of the line or of the quotes. As lines, as dictionaries, as pairs.
    (
        re.compile(
            rf"((?:authorization|cookie)(?:{_QUOTE})?\s*[:=]\s*b?(?:{_QUOTE})?)[^\"'\\\r\n]+", re.IGNORECASE
        ),
        rf"\1{_MASK}",
    ),
    (
        re.compile(
            r"([\"'](?:[\w-]*-)?(?:authorization|cookie|api-key|token|signature[\w-]{0,40})[\"']\s*,\s*b?[\"'])[^\"',]+"
            r"(?=[\"']\s*\))",
            re.IGNORECASE,
        ),
        rf"\1{_MASK}",
    ),
    # Settings and parameters: a telling name, a separator, and a value with or without quotes.
    (
        re.compile(rf"({_NAMES}[\w-]{{0,40}}(?:{_QUOTE})?\s*[:=]\s*b?\\*\")[^\"]+", re.IGNORECASE),
        rf"\1{_MASK}",
    ),
    (re.compile(rf"({_NAMES}[\w-]{{0,40}}(?:{_QUOTE})?\s*[:=]\s*b?\\*')[^']+", re.IGNORECASE), rf"\1{_MASK}"),
    (re.compile(rf"({_NAMES}[\w-]{{0,40}}\s*[:=]\s*)[^\s\"',;&}}\])]+", re.IGNORECASE), rf"\1{_MASK}"),
    (re.compile(r"\b(bearer\s+)[\w.~+/=:-]{4,}", re.IGNORECASE), rf"\1{_MASK}"),
    (re.compile(r"\b((?:[Bb]asic|BASIC)\s+)(?=[\w+/]*[A-Z0-9=])[\w+/]{4,}=*"), rf"\1{_MASK}"),
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+(@)"), rf"\1{_MASK}\2"),
    # Keys known by their form: OpenAI and ElevenLabs (twice: "disk-usage" is none), Telnyx, Google, Slack, GitHub,
    # xAI, Groq, webhook secrets, JWT.
    (re.compile(r"(?<![A-Za-z])(sk[-_])[\w-]{4,}"), rf"\1{_MASK}"),
    (re.compile(r"(sk[-_])(?=[\w-]*\d)[\w-]{16,}"), rf"\1{_MASK}"),
    (re.compile(r"(KEY)[0-9A-F]{16,}\w*"), rf"\1{_MASK}"),
    (re.compile(r"(AIza|xox[a-z]-|gh[opsur]_|github_pat_|xai-|gsk_|whsec_)[\w-]{4,}"), rf"\1{_MASK}"),
    (re.compile(r"(?<![\w-])eyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)?"), _MASK),
)

_NUMBERS = re.compile(
    r"""
    # A UUID is no number, even if it is all digits.
      (?P<keep>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)
    # International, however it is written.
    | (?P<lead>\+|%2[bB])[\s(]*\d(?:[\s().\-/]{0,3}\d){5,}
    # National, with separators.
    | \(?(?<!\d)\d{3}\)?[\s.\-]{1,2}\d{3}[\s.\-]\d{4}(?!\d)
    # E.164 without its plus, as some carriers send it; a fraction or a Unix time with one is none.
    | (?<![0-9A-Za-z])(?<!\d\.)\d{10,}(?![0-9A-Za-z])(?!\.\d)
    """,
    re.VERBOSE,
)


class Redactor:
    """Strikes secrets and phone numbers out of text.

    Args:
        full_numbers: Leave phone numbers as they are; secrets go in any case.
        secrets: Values that must not appear, such as every key of the configuration. This is the sure way:
            rules that know a secret by its form or by the name beside it can only know usual ones.
    """

    def __init__(self, *, full_numbers: bool = False, secrets: Iterable[str] = ()) -> None:
        self._full_numbers = full_numbers
        self._secrets: tuple[str, ...] = ()
        self.hide(*secrets)

    def hide(self, *secrets: str) -> None:
        """Add values that must not appear from now on. Words of less than 4 characters are not taken."""
        known = {*self._secrets, *(secret for secret in secrets if len(secret) >= _MIN_SECRET)}
        self._secrets = tuple(
            sorted(known, key=len, reverse=True)
        )  # The longer first: one may contain another.

    def __call__(self, text: str) -> str:
        """The text without what must not be read. Doing it again changes nothing more."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        for pattern, mask in _RULES:
            text = pattern.sub(mask, text)
        return text if self._full_numbers else _NUMBERS.sub(_shorten, text)

    def value(self, value: object, name: str = "") -> object:
        """A JSON value without what must not be read; under a name such as `token` all of it goes."""
        if name and _SECRET_FIELD.search(name):
            return _MASK
        match value:
            case None | bool():
                return value
            case float():
                return value if math.isfinite(value) else str(value)
            case int():
                text = self(str(value))
                return value if text == str(value) else text
            case Mapping():
                return {self(str(key)): self.value(part, str(key)) for key, part in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.value(part) for part in value]
            case _:
                return self(_as_text(value))


class RedactionFilter(logging.Filter):
    """Redacts a record where it enters a handler: message, arguments, exception, stack and extra fields.

    It also sets `record.call_id` from the context, so that formats may use `%(call_id)s`. It never refuses a
    record and never raises: a log call with wrong arguments is written as it came, redacted.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self.redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place."""
        record.msg = self.redactor(_message(record))
        record.args = None
        if record.exc_info:
            kind, error, trace = record.exc_info
            record.exc_text = self.redactor("".join(traceback.format_exception(kind, error, trace)).rstrip())
            record.exc_info = None  # Some handlers format the exception themselves, with everything in it.
        elif record.exc_text:
            record.exc_text = self.redactor(record.exc_text)
        if record.stack_info:
            record.stack_info = self.redactor(record.stack_info)
        for name, value in _extra(record).items():
            try:
                setattr(record, name, self.redactor.value(value, name))
            except RecursionError:  # a structure that contains itself
                setattr(record, name, _MASK)
        record.call_id = getattr(record, "call_id", "") or call_id.get()
        return True


class PlainFormatter(logging.Formatter):
    """One line for each record: time, level, logger, call, message. A traceback follows, indented.

    Line breaks and control characters within a message are shown as escapes, so that what a caller or a vendor
    said can neither forge a line nor steer a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record that went through `RedactionFilter`."""
        call = getattr(record, "call_id", "")
        head = f"{_time(record)} {record.levelname:<7} {record.name}{f' [{call}]' if call else ''}: "
        lines = [head + _escape(record.getMessage(), _BROKEN_LINE)]
        for block in (record.exc_text, record.stack_info):
            if block:
                lines += [f"  | {line}" for line in _escape(block, _BROKEN_BLOCK).split("\n")]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object for each record: time, level, logger, callId, message, error, and extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record that went through `RedactionFilter`."""
        fields: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "callId": getattr(record, "call_id", "") or None,
            "message": record.getMessage(),
            "error": record.exc_text,
            "stack": record.stack_info,
        }
        extra = {name: value for name, value in _extra(record).items() if name not in fields}
        return dumps(
            {**{name: value for name, value in fields.items() if value is not None}, **extra}, default=str
        )


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to stderr. What cannot be written is dropped: logging's own report would show the record."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say that a line was lost, without saying what was in it."""
        error = sys.exc_info()[1]
        if sys.stderr is not None and not isinstance(error, OSError):
            sys.stderr.write(f"a log line of {record.name} was lost: {type(error).__name__}\n")


def configure(
    level: str = "info",
    *,
    json: bool = False,
    full_numbers: bool = False,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> Redactor:
    """Set up logging for a process that is ours, to stderr. Calling it again replaces the earlier set-up.

    Other packages are heard from WARNING on, whatever the level: some write whole requests when debugging.

    Args:
        level: `debug`, `info`, `warning` or `error`, for this package.
        json: Lines of JSON instead of plain ones.
        full_numbers: Show phone numbers in full.
        secrets: Values that must not appear. More can be hidden later through the returned redactor.
        stream: Where to write; stderr if not given.

    Returns:
        The redactor in use.

    Raises:
        ValueError: The level is unknown.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r} is unknown; use debug, info, warning or error")
    redactor = Redactor(full_numbers=full_numbers, secrets=secrets)
    handler = _Handler(stream if stream is not None else sys.stderr)
    handler.addFilter(RedactionFilter(redactor))
    handler.setFormatter(JsonFormatter() if json else PlainFormatter())
    root = logging.getLogger()
    for former in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(PACKAGE_LOGGER).setLevel(number)
    logging.captureWarnings(True)
    return redactor


def _shorten(match: re.Match[str]) -> str:
    """A phone number of which country and area, and the last digits, remain: `+1555***0001`."""
    if match["keep"]:
        return match[0]
    digits = re.sub(r"\D", "", match[0].replace(match["lead"], "", 1) if match["lead"] else match[0])
    shown = 4 if len(digits) >= 11 else 2
    return f"{'+' if match['lead'] else ''}{digits[:shown]}{_MASK}{digits[-shown:]}"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # wrong arguments of a log call, or a broken __str__: the line must still be written
        return f"{_as_text(record.msg)} (with arguments that do not fit)"


def _as_text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # any object may come in here, and logging must not break what it watches
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _USUAL}


_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "call_id",
    "taskName",
}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escape(text: str, broken: re.Pattern[str]) -> str:
    return broken.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
