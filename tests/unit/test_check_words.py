"""What counts as understood."""

import pytest

from openclaw_voicecall.checks.report import Finding, Report, failure
from openclaw_voicecall.checks.words import PHRASES, error_rate, is_understood, phrase_for
from openclaw_voicecall.errors import ConfigError, VendorAuthError, VendorUnavailable

pytestmark = pytest.mark.unit

SAID = PHRASES["en"]


@pytest.mark.parametrize(
    "heard",
    [
        SAID,
        "good morning this is a test of the telephone line",
        "Good morning, live in a past on the telephone line.",
        "Good morning. This is a test. Of the telephone line!",
    ],
)
def test_words_with_a_few_mistakes_are_understood(heard):
    assert is_understood(SAID, heard)


@pytest.mark.parametrize(
    "heard", ["", "Thank you.", "something else altogether was said here today by nobody"]
)
def test_other_words_are_not(heard):
    assert not is_understood(SAID, heard)


def test_mistakes_are_counted_by_word():
    assert error_rate("one two three four", "one too three") == 0.5


def test_text_without_spaces_is_compared_by_letters():
    assert is_understood("今日は電話の試験です", "今日は電話の試験でした")
    assert not is_understood("今日は電話の試験です", "ありがとうございました")


def test_a_language_that_is_not_known_is_tried_with_the_owners_greeting():
    assert phrase_for("de-AT", "Hallo") == PHRASES["de"]
    assert phrase_for("sv", "Hej, hur kan jag hjälpa dig?") == "Hej, hur kan jag hjälpa dig?"
    assert phrase_for("sv", "") == PHRASES["en"]


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("x"),
        VendorAuthError("x"),
        VendorUnavailable("x"),
        TimeoutError(),
        OSError("x"),
        KeyError("x"),
    ],
)
def test_every_error_has_a_cause_and_a_fix(error):
    found = failure(error, hop="carrier", name="twilio", limit=3, section="twilio")
    assert found.status == "failed"
    assert found.text
    assert found.cause
    assert found.fix


def test_no_finding_shows_a_secret():
    shown = []
    report = Report(show=shown.append)
    report.hide(["a-long-secret", "xxx"])
    report.add(
        Finding(hop="carrier", text="xxx a-long-secret", cause="a-long-secret", fix="no a-long-secret")
    )
    assert "a-long-secret" not in str(shown) + str(report.to_json())
    assert shown[0].text == "xxx **********"
