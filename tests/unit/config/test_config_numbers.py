import pytest

from openclaw_voicecall.config.numbers import normalise_number
from openclaw_voicecall.errors import ConfigError, InvalidNumber

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "number", ["+15550001234", "+12670000000", "+4930123456", "+390612345678", "+442071838750"]
)
def test_a_possible_number_is_taken_as_it_is(number):
    assert normalise_number(number, field="--to") == number


def test_a_trunk_zero_behind_the_country_code_is_dropped():
    assert normalise_number("+4402071838750", field="--to") == "+442071838750"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "15550001234",
        "0015550001234",
        "+05550001234",
        "+1267",
        "+5550001",
        "+1555000123456789",
        "+1 555 000 1234",
        "+１５５５０００１２３４",
        "+1555000123٤",
        "+15550001234\n",
        "\u200b+15550001234",
        "+15550001234;ext=5",
        "tel:+15550001234",
        "sip:bob@example.com",
        "anonymous",
        "+266696687",
        None,
        15550001234,
        b"+15550001234",
    ],
)
def test_anything_else_is_refused_with_the_field_and_an_example(text):
    with pytest.raises(InvalidNumber) as caught:
        normalise_number(text, field="fromNumber")
    message = str(caught.value)
    assert message.startswith(
        "fromNumber: expected a phone number in E.164 form, such as +15550001234, found "
    )
    assert message.isascii()


def test_a_number_with_separators_is_refused_with_the_right_spelling():
    with pytest.raises(InvalidNumber, match=r"write it as \+15550001234$"):
        normalise_number("+1 (555) 000-1234", field="--to")


def test_a_long_text_is_shown_shortened():
    with pytest.raises(InvalidNumber) as caught:
        normalise_number("+1" * 5000, field="--to")
    assert len(str(caught.value)) < 150


def test_a_wrong_number_is_a_configuration_error_with_its_own_exit_code():
    assert issubclass(InvalidNumber, ConfigError)
    assert InvalidNumber.exit_code != ConfigError.exit_code
