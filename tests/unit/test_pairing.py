"""Who is let in: exact numbers only, callers who hide theirs, and the book of codes and approved numbers."""

import itertools
import json
import os
import stat
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from openclaw_voicecall.api.policy import CallOffer
from openclaw_voicecall.builtin.policies import InboundPolicy
from openclaw_voicecall.config.callers import is_anonymous, is_number
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.errors import LimitExceeded, StoreError
from openclaw_voicecall.media.speakable import speakable
from openclaw_voicecall.store import pairing, sharedfile
from openclaw_voicecall.store.pairing import CODES, CODES_PER_NUMBER, LIFE, PairingBook, PairingError

pytestmark = pytest.mark.unit

KNOWN, STRANGER, OTHER = "+15550001234", "+15550004321", "+15550005678"
HIDDEN = (
    "", " ", "anonymous", "Anonymous", "ANONYMOUS", "Restricted", "unavailable", "unknown", "Private", "blocked",
    "withheld", "+266696687", "266696687", "+7378742833", "+2562533", "+8656696", "+86282452253", "+464",
    "sip:anonymous@anonymous.invalid",
)  # fmt: skip


class Wall:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 1_790_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def book(tmp_path, wall):
    codes = (f"{number:06}" for number in itertools.count(407_192, 11))
    return PairingBook(tmp_path, wall=wall, draw=lambda: next(codes))


def admit(policy, caller):
    """The policy's answer, where it needs no event loop for it."""
    offer = CallOffer(direction="inbound", carrier="local", from_number=caller, to_number="+15550100000")
    coroutine = policy.admit(offer)
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    return done.value.value


@pytest.mark.parametrize("caller", HIDDEN)
def test_whoever_hides_their_number_is_anonymous_and_nobodys_number(caller):
    assert is_anonymous(caller)
    assert not is_number(caller)


@pytest.mark.parametrize("caller", [KNOWN, "+4930123456", "+2666966871", "+12562533000"])
def test_a_number_is_not_taken_for_a_hidden_one(caller):
    assert is_number(caller)
    assert not is_anonymous(caller)


@pytest.mark.parametrize("caller", HIDDEN)
@pytest.mark.parametrize("setting", ["allowlist", "pairing"])
def test_who_hides_their_number_is_refused_unless_the_owner_allows_it(setting, caller):
    refusal = admit(InboundPolicy(setting, frozenset({KNOWN})), caller)
    assert not refusal.allowed
    assert "allowAnonymous" in refusal.reason
    assert admit(InboundPolicy(setting, frozenset({KNOWN}), allow_anonymous=True), caller) is None


@pytest.mark.parametrize("caller", [*HIDDEN, KNOWN, "anything"])
def test_open_means_open_and_disabled_means_disabled(caller):
    assert admit(InboundPolicy("open", frozenset()), caller) is None
    policy = InboundPolicy("disabled", frozenset({KNOWN}), allow_anonymous=True)
    assert not admit(policy, caller).allowed


@pytest.mark.parametrize("setting", ["allowlist", "pairing"])
def test_numbers_on_the_list_get_through(setting):
    assert admit(InboundPolicy(setting, frozenset({KNOWN})), KNOWN) is None


def test_without_its_book_pairing_lets_nobody_in_who_is_not_on_the_list():
    assert not admit(InboundPolicy("pairing", frozenset({KNOWN})), STRANGER).allowed


def look_alikes():
    """Texts that are read as the known number, contain it, or come close to it."""
    digits = [
        character for code in range(0x10000) if (character := chr(code)).isdigit() and not character.isascii()
    ]
    swaps = st.tuples(st.integers(1, len(KNOWN) - 1), st.sampled_from(digits)).map(
        lambda swap: KNOWN[: swap[0]] + swap[1] + KNOWN[swap[0] + 1 :]
    )
    around = st.sampled_from(
        ["\n", "\r\n", " ", "\t", "\x00", "\u200b", "\u202d", "\ufeff", ";ext=1", "1", "tel:"]
    )
    return st.one_of(
        swaps,
        around.map(lambda extra: KNOWN + extra),
        around.map(lambda extra: extra + KNOWN),
        st.integers(1, len(KNOWN) - 1).map(lambda start: KNOWN[start:]),
        st.integers(0, len(KNOWN) - 1).map(lambda end: KNOWN[:end]),
        st.sampled_from(["\uff0b", "\u2795", "\ufe62", "00", "011", ""]).map(lambda plus: plus + KNOWN[1:]),
        st.integers(2, len(KNOWN) - 1).map(lambda at: f"{KNOWN[:at]}-{KNOWN[at:]}"),
        st.text(max_size=20),
    )


@pytest.mark.parametrize("setting", ["allowlist", "pairing"])
@pytest.mark.parametrize("anonymous", [False, True])
@given(caller=look_alikes())
def test_nothing_that_only_looks_like_a_number_on_the_list_gets_through(setting, anonymous, caller):
    assume(caller != KNOWN)
    policy = InboundPolicy(setting, frozenset({KNOWN}), allow_anonymous=anonymous)
    admission = admit(policy, caller)
    assert (admission is None) == (anonymous and is_anonymous(caller))
    assert admission is None or not admission.allowed


@given(st.text())
def test_only_plain_digits_make_a_number(text):
    if is_number(text):
        assert text.isascii()
        assert unicodedata.normalize("NFKC", text) == text
        assert text[0] == "+"
        assert text[1:].isdigit()
        assert 2 <= len(text[1:]) <= 15


def test_a_caller_keeps_the_code_while_it_waits(book):
    code = book.meet(STRANGER).code_of(STRANGER)
    assert code == "407192"
    assert book.meet(STRANGER).code_of(STRANGER) == code
    assert [entry.number for entry in book.read().waiting] == [STRANGER]


def test_an_approved_number_gets_through_from_then_on(book, tmp_path, wall):
    code = book.meet(STRANGER).code_of(STRANGER)
    assert book.approve(code) == STRANGER
    again = PairingBook(tmp_path, wall=wall)
    page = again.meet(STRANGER)
    assert page.is_approved(STRANGER)
    assert page.waiting == ()
    assert [entry.number for entry in page.approved] == [STRANGER]
    assert not page.is_approved(STRANGER + "1")
    assert not page.is_approved(STRANGER[:-1])


@pytest.mark.parametrize("form", ["407192", "407 192", "407-192", " 4 0 7 1 9 2 "])
def test_a_code_may_be_written_in_groups(book, form):
    book.meet(STRANGER)
    assert book.approve(form) == STRANGER


def test_a_number_is_approved_by_itself_whether_or_not_it_asked(book):
    book.meet(STRANGER)
    assert book.approve(STRANGER) == STRANGER
    assert book.approve(OTHER) == OTHER
    assert book.approve(OTHER) == OTHER
    assert [entry.number for entry in book.read().approved] == [STRANGER, OTHER]
    assert book.read().waiting == ()


def test_a_wrong_code_lets_nobody_in_and_says_what_is_wrong(book):
    book.meet(STRANGER)
    with pytest.raises(PairingError, match="no caller waits with the code 000000"):
        book.approve("000000")
    assert book.read().approved == ()
    for text in ("40719", "4071922", "abcdef", "", "４０７１９２", "+", "+0", "407192; rm"):
        with pytest.raises(PairingError, match="expected a code of 6 digits or a phone number"):
            book.approve(text)


def test_a_code_works_once(book):
    code = book.meet(STRANGER).code_of(STRANGER)
    book.approve(code)
    with pytest.raises(PairingError):
        book.approve(code)


def test_codes_are_compared_in_constant_time(book, monkeypatch):
    for number in range(5):
        book.meet(f"+1555000900{number}")
    compared = []

    def compare(one, other):
        compared.append(one)
        return one == other

    monkeypatch.setattr(pairing.hmac, "compare_digest", compare)
    first = book.read().waiting[0].code
    book.approve(first)
    assert len(compared) == 5, "a hit is not told from a miss by how many codes were looked at"


def test_a_code_lasts_an_hour_and_no_longer(book, wall):
    code = book.meet(STRANGER).code_of(STRANGER)
    wall.now += LIFE - 1
    assert book.meet(STRANGER).code_of(STRANGER) == code
    wall.now += 1
    assert book.read().waiting == ()
    with pytest.raises(PairingError, match="older than 60 minutes"):
        book.approve(code)
    assert book.meet(STRANGER).code_of(STRANGER) != code


def test_a_clock_that_is_set_back_does_not_make_a_code_last(book, wall):
    book.meet(STRANGER)
    wall.now -= LIFE
    assert book.read().waiting == ()


def test_a_denied_code_is_useless_and_the_caller_does_not_get_ever_new_ones(book, wall):
    codes = []
    for _ in range(CODES_PER_NUMBER):
        code = book.meet(STRANGER).code_of(STRANGER)
        assert book.deny(code) == STRANGER
        with pytest.raises(PairingError):
            book.approve(code)
        codes.append(code)
    assert len(set(codes)) == CODES_PER_NUMBER
    with pytest.raises(LimitExceeded, match="3 codes"):
        book.meet(STRANGER)
    assert book.meet(OTHER).code_of(OTHER), "others are not affected"
    wall.now += LIFE
    assert book.meet(STRANGER).code_of(STRANGER)


def test_a_caller_can_be_denied_by_number(book):
    book.meet(STRANGER)
    assert book.deny(STRANGER) == STRANGER
    with pytest.raises(PairingError, match="does not wait"):
        book.deny(STRANGER)
    with pytest.raises(PairingError, match="does not wait"):
        book.deny(OTHER)
    book.approve(OTHER)
    with pytest.raises(PairingError, match="pairing remove"):
        book.deny(OTHER)


def test_no_more_than_twenty_callers_wait(book, wall):
    numbers = [f"+1555000{number:04}" for number in range(CODES)]
    for number in numbers:
        book.meet(number)
    with pytest.raises(LimitExceeded, match="20 callers"):
        book.meet(STRANGER)
    assert book.meet(numbers[0]).code_of(numbers[0]), "who waits already keeps the code"
    book.deny(numbers[0])
    assert book.meet(STRANGER).code_of(STRANGER), "a denied code makes room"
    assert len(set(entry.code for entry in book.read().waiting)) == CODES
    wall.now += LIFE
    assert book.read().waiting == ()


def test_two_callers_never_share_a_code(tmp_path, wall):
    drawn = iter(["111111", "111111", "111111", "222222"])
    book = PairingBook(tmp_path, wall=wall, draw=lambda: next(drawn))
    book.meet(STRANGER)
    assert book.meet(OTHER).code_of(OTHER) == "222222"


def test_a_code_is_six_digits_that_nobody_can_foresee(tmp_path):
    book = PairingBook(tmp_path)
    codes = [book.meet(f"+1555000{number:04}").waiting[-1].code for number in range(CODES)]
    assert all(len(code) == 6 and code.isascii() and code.isdigit() for code in codes)
    assert len(set(codes)) == CODES


def test_a_removed_number_is_a_stranger_again(book):
    book.approve(STRANGER)
    book.approve(OTHER)
    book.remove(STRANGER)
    assert [entry.number for entry in book.read().approved] == [OTHER]
    with pytest.raises(PairingError, match="not approved"):
        book.remove(STRANGER)


def test_nobody_else_can_read_the_book_and_nothing_is_left_beside_it(book, tmp_path):
    before = os.umask(0)
    try:
        book.meet(STRANGER)
        book.approve(STRANGER)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"pairing.json": 0o600, "pairing.lock": 0o600}


def test_looking_creates_nothing(tmp_path):
    assert PairingBook(tmp_path / "missing").read() == pairing.Page()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "null", '{"version": 1}', '{"version": 1, "approved": [{}], "asked": []}', "\x00", "[" * 9000,
        '{"version": 1, "approved": [{"number": "anonymous", "at": 1}], "asked": []}',
        '{"version": 1, "approved": [{"number": "+1555000123４", "at": 1}], "asked": []}',
    ],
)  # fmt: skip
def test_a_damaged_book_approves_nobody_and_is_left_as_it_is(book, tmp_path, text):
    (tmp_path / "pairing.json").write_text(text, encoding="utf-8")
    for use in (book.read, lambda: book.meet(STRANGER), lambda: book.approve(STRANGER)):
        with pytest.raises(StoreError, match=r"pairing\.json is damaged"):
            use()
    assert (tmp_path / "pairing.json").read_text(encoding="utf-8") == text


def test_a_book_of_a_newer_version_is_left_alone(book, tmp_path):
    (tmp_path / "pairing.json").write_text(json.dumps({"version": 2}))
    with pytest.raises(StoreError, match="newer version"):
        book.approve(STRANGER)


def test_a_book_that_cannot_be_written_is_reported_as_that(tmp_path, wall):
    with pytest.raises(StoreError, match=r"pairing\.lock cannot be opened"):
        PairingBook(tmp_path / "missing", wall=wall).approve(STRANGER)


def test_a_lock_that_is_never_released_costs_a_second_and_an_error(book, tmp_path, monkeypatch):
    monkeypatch.setattr(sharedfile, "_LOCK_PAUSE", 0.001)
    with book._file.locked(), pytest.raises(StoreError, match="another process holds"):
        PairingBook(tmp_path).approve(STRANGER)
    book.approve(STRANGER)


@given(st.integers(0, 10**6 - 1).map("{:06}".format))
def test_the_code_is_said_digit_by_digit_twice(code):
    phrase = build_config_model()().phrases.pairing.replace("{code}", ", ".join(code))
    said = speakable(phrase)
    assert said.count(", ".join(code)) == 2
    assert "approve" in said
