"""What may stand in a log line, and what never."""

import contextvars
import io
import json
import logging
import re
import sys
import time
import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openclaw_voicecall.observe import logs
from openclaw_voicecall.observe.logs import RedactionFilter, Redactor, configure

pytestmark = pytest.mark.unit

logger = logging.getLogger("openclaw_voicecall.calls.manager")


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    root = logging.getLogger()
    package = logging.getLogger(logs.PACKAGE_LOGGER)
    before = (list(root.handlers), root.level, package.level)
    yield
    logging.captureWarnings(False)
    root.handlers[:], level, package_level = before
    root.setLevel(level)
    package.setLevel(package_level)


def written(log, **options):
    """What a set-up like `serve`'s writes while `log` runs."""
    stream = io.StringIO()
    root = logging.getLogger()
    of_pytest, root.handlers[:] = list(root.handlers), []
    try:
        configure(stream=stream, **{"level": "debug", **options})
        log()
    finally:
        root.handlers[:] = of_pytest
    return stream.getvalue()


def digits_of(number):
    return re.sub(r"\D", "", number)


plain_words = st.text(st.characters(exclude_categories=["Cs", "Nd"]), max_size=20)
e164 = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
keys = st.from_regex(r"(sk-|sk-proj-|sk_|xai-|gsk_|ghp_)[A-Za-z0-9]{16,40}", fullmatch=True)
canaries = st.from_regex(r"[a-z]{3}Canary[A-Za-z0-9]{6,20}", fullmatch=True)


class Stubborn:
    """An object that cannot be shown."""

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def log_everywhere(before, text, after):
    """Put a text at every place from which a record can carry it."""
    whole = f"{before}{text}{after}"
    logger.info(whole)
    logger.info("argument %s and %r", text, whole)
    logger.info("named %(number)s", {"number": whole})
    logger.info("wrong %d", whole)
    logger.info("extra", extra={"far": whole, "inside": {"list": [whole, {whole: 1}]}})
    try:
        raise ValueError(whole) from KeyError(text)
    except ValueError:
        logger.exception("failed with %s", text)


@given(plain_words, e164, plain_words, st.booleans())
def test_no_full_phone_number_is_ever_written(before, number, after, as_json):
    output = written(lambda: log_everywhere(before, number, after), json=as_json)
    assert digits_of(number) not in output


@given(plain_words, keys | canaries, plain_words, st.booleans(), st.booleans())
def test_no_known_secret_is_ever_written(before, secret, after, as_json, full_numbers):
    output = written(
        lambda: log_everywhere(before, secret, after),
        json=as_json,
        full_numbers=full_numbers,
        secrets=[secret],
    )
    assert secret not in output


@given(plain_words, keys, plain_words, st.booleans())
def test_keys_of_known_form_are_not_written_even_if_nobody_told_of_them(before, key, after, as_json):
    output = written(lambda: log_everywhere(before, key, after), json=as_json)
    # A word that only happens to contain the letters, such as "risk-assessment", is not a key: those have digits.
    if any(character.isdigit() for character in key.split("-")[-1].split("_")[-1]):
        assert key not in output


@pytest.mark.parametrize(
    "form",
    [
        "Authorization: Bearer {}",
        "authorization=Basic {}",
        "{{'Authorization': 'Token {}', 'Accept': '*/*'}}",
        "[('X-Api-Key', '{}')]",
        "[(b'authorization', b'Bearer {}')]",
        "xi-api-key: {}",
        "wss://host/stream?token={}&x=1",
        '{{"authToken": "{}"}}',
        r"sent {{\"ngrokAuthToken\": \"{}\"}}",
        "TWILIO_AUTH_TOKEN={}",
        "password='with spaces {}'",
        "X-Twilio-Signature: {}",
        "https://user:{}@host/path",
        "Cookie: a=b; session={}",
        "CallConfig(auth_token='{}', port=1)",
        "client_secret => was bearer {}",
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
@given(secret=st.from_regex(r"[A-Za-z0-9]{6,40}", fullmatch=True))
def test_what_stands_after_a_telling_name_is_not_written(form, as_json, secret):
    line = form.format(f"Q{secret}Z")
    assert f"Q{secret}Z" not in written(lambda: logger.warning("request failed: %s", line), json=as_json)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("call to +15550000001 placed", "call to +1555***0001 placed"),
        ("+1 (555) 000-0001", "+1555***0001"),
        ("sip:+15550000001@host", "sip:+1555***0001@host"),
        ("to=%2B15550000001", "to=+1555***0001"),
        ("From=15550000001", "From=1555***0001"),
        ("voice:15550000001", "voice:1555***0001"),
        ("+4930123", "+49***23"),
        ("555-000-0001", "55***01"),
        ("+15550000001+15550000002", "+1555***0001+1555***0002"),
        ("+155500000011234567890", "+1555***7890"),
    ],
)
def test_country_area_and_last_digits_of_a_number_stay_readable(text, shown):
    assert Redactor()(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "3f0e8400-e29b-41d4-a716-446655440000",
        "2026-11-21T07:48:00.123Z took 0.12345678901 s at 1763712000.123",
        "192.168.100.200:8080, port 3334",
        "CA0123456789abcdef0123456789abcdef",
        "max_tokens=100, 532 tokens used",
        'entry {"event": "first-token", "turn": 3}',
        "disk-usage is high, basic audio, the token was used",
    ],
)
def test_what_is_neither_number_nor_secret_stays(text):
    assert Redactor()(text) == text


@given(st.text())
@example("authorization: token=abc sk-abcdefgh +15550000001")
def test_redacting_again_changes_nothing_more(text):
    redactor = Redactor(secrets=["canary"])
    assert redactor(redactor(text)) == redactor(text)


@pytest.mark.parametrize(
    "piece", ["a", "1", "+1 ", "token", "sk-a1", "eyJaaaa", "://", "550-", "'", 'token="', "\\"]
)
def test_long_text_is_redacted_in_a_moment(piece):
    start = time.process_time()
    Redactor(secrets=["canary"])(piece * (100_000 // len(piece)))
    assert time.process_time() - start < 2


def test_full_numbers_are_shown_on_request_and_secrets_are_not():
    line = written(lambda: logger.info("+15550000001 token=abcdef"), full_numbers=True)
    assert line.endswith(": +15550000001 token=***\n")


def test_a_secret_that_becomes_known_later_is_hidden_from_then_on():
    stream = io.StringIO()
    redactor = configure(stream=stream)
    redactor.hide("open sesame", "", "abc")
    logger.info("open sesame, abc")
    assert stream.getvalue().endswith(": ***, abc\n")


def test_of_two_secrets_that_contain_each_other_nothing_is_left():
    assert Redactor(secrets=["word", "password-1"])("x password-1 y") == "x *** y"


def test_a_field_with_a_telling_name_goes_whole():
    fields = {
        "request": {
            "apiKey": 12345,
            "auth_token": ["a"],
            "x-signature-ed25519": "s",
            "maxTokens": 5,
            "turn": 7,
        }
    }
    line = json.loads(written(lambda: logger.info("x", extra=fields), json=True))
    assert line["request"] == {
        "apiKey": "***",
        "auth_token": "***",
        "x-signature-ed25519": "***",
        "maxTokens": 5,
        "turn": 7,
    }


def test_a_number_given_as_integer_is_shortened_too():
    line = json.loads(
        written(lambda: logger.info("x", extra={"far": 15550000001, "ms": 12, "ratio": 0.5}), json=True)
    )
    assert (line["far"], line["ms"], line["ratio"]) == ("1555***0001", 12, 0.5)


def test_every_line_says_which_call_it_is_about():
    def log():
        logger.info("outside")
        context = contextvars.copy_context()
        context.run(logs.call_id.set, "call-7")
        context.run(logger.info, "inside")
        logger.info("outside again")

    outside, inside, again = written(log).splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    openclaw_voicecall\.calls\.manager \[call-7\]: inside",
        inside,
    )
    assert "[" not in outside + again


def test_a_json_line_has_the_same_fields_for_machines():
    def log():
        context = contextvars.copy_context()
        context.run(logs.call_id.set, "call-7")
        context.run(logger.warning, "slow %s", "vendor", extra={"hop": "transcriber"})

    line = json.loads(written(log, json=True))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "openclaw_voicecall.calls.manager",
        "callId": "call-7",
        "message": "slow vendor",
        "hop": "transcriber",
    }


def test_what_a_caller_says_can_neither_forge_a_line_nor_steer_the_terminal():
    said = "hi\n2026-01-01T00:00:00.000Z INFO    x: forged\r\x1b[2J\u2028\x9b"
    output = written(lambda: logger.info("said: %s", said))
    assert output.count("\n") == 1
    assert "\\n2026" in output
    assert not set("\r\x1b\x9b\u2028") & set(output)


def test_a_traceback_follows_its_line_indented():
    def log():
        try:
            raise ValueError("first\nsecond\x1b")
        except ValueError:
            logger.exception("failed")

    first, *rest = written(log).splitlines()
    assert first.endswith(": failed")
    assert rest[0] == "  | Traceback (most recent call last):"
    assert rest[-2:] == ["  | ValueError: first", "  | second\\x1b"]
    assert "ValueError: first" in json.loads(written(log, json=True))["error"]


@pytest.mark.parametrize("as_json", [False, True])
def test_logging_never_breaks_what_it_watches_and_reports_no_raw_record(as_json, capsys):
    loop: dict[str, object] = {}
    loop["itself"] = loop

    def log():
        logger.info("%d of %s", "+15550000001", "x")
        logger.info("%s", Stubborn())
        logger.info(Stubborn())
        logger.info("x", extra={"odd": Stubborn(), "loop": loop, "nan": float("nan"), "half": "\ud83d"})
        logger.error("no exception here", exc_info=True)

    output = written(log, json=as_json)
    assert output.count("with arguments that do not fit") == 3
    if as_json:
        assert all(json.loads(line) for line in output.splitlines())
    assert capsys.readouterr().err == ""


def test_a_line_that_cannot_be_written_is_reported_without_its_content(monkeypatch):
    class Narrow(io.StringIO):
        def write(self, text):
            raise UnicodeEncodeError("ascii", text, 0, 1, "narrow")

    said = io.StringIO()
    configure(stream=Narrow())
    monkeypatch.setattr(sys, "stderr", said)
    logger.info("the canary sings")
    assert said.getvalue() == "a log line of openclaw_voicecall.calls.manager was lost: UnicodeEncodeError\n"


def test_other_packages_are_heard_from_warnings_on_whatever_the_level():
    def log():
        vendor = logging.getLogger("websockets.client")
        vendor.debug("> Authorization: Bearer canary")
        vendor.info("connected")
        vendor.warning("slow")
        logger.debug("ours")

    assert [line.rsplit(": ")[-1] for line in written(log, level="debug").splitlines()] == ["slow", "ours"]
    assert [line.rsplit(": ")[-1] for line in written(log, level="error").splitlines()] == ["slow"]


def test_a_stack_is_shown_redacted():
    output = written(lambda: logger.info("here", stack_info=True), secrets=["test_a_stack_is_shown"])
    assert "  | Stack (most recent call last):" in output
    assert "test_a_stack_is_shown" not in output


def test_setting_up_again_replaces_the_earlier_set_up():
    earlier = io.StringIO()
    configure(stream=earlier)
    again = io.StringIO()
    configure(stream=again)
    logger.info("once")
    assert earlier.getvalue() == ""
    assert again.getvalue().count("once") == 1


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="'loud'"):
        configure("loud")


def test_warnings_of_python_go_the_same_way():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        output = written(lambda: warnings.warn("call +15550000001", stacklevel=1))
    assert "+1555***0001" in output


def test_in_a_host_the_filter_alone_protects_its_own_handlers():
    class OwnFormatter(logging.Formatter):
        def format(self, record):
            return super().format(record) + repr(record.exc_info)

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OwnFormatter("%(call_id)s|%(message)s"))
    handler.addFilter(RedactionFilter(Redactor(secrets=["canary-42"])))
    logger.addHandler(handler)
    try:
        logger.warning("%s canary-42", "+15550000001")
        try:
            raise ValueError("canary-42")
        except ValueError:
            logger.exception("x")
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue().startswith("|+1555***0001 ***None\n")
    assert "canary-42" not in stream.getvalue()
    assert "ValueError: ***" in stream.getvalue()
