"""Words and sounds: what is written to be spoken, what callers say, what is logged, and audio of any kind."""

import logging
import math
import struct
from datetime import UTC, datetime
from random import Random
from typing import Any

import numpy as np
from fuzz_common import storable

from openclaw_voicecall.api.responder import Line, TurnRequest
from openclaw_voicecall.builtin.frontdesk import FrontDesk, FrontDeskConfig
from openclaw_voicecall.builtin.numbering import kind_of
from openclaw_voicecall.builtin.zones import zones_of
from openclaw_voicecall.config.callers import is_anonymous, is_number
from openclaw_voicecall.errors import CodecError
from openclaw_voicecall.media.g711 import alaw_to_ulaw, pcm_to_ulaw, ulaw_to_pcm
from openclaw_voicecall.media.resample import UlawEncoder
from openclaw_voicecall.media.sentences import MAX_CHARS, SentenceSplitter
from openclaw_voicecall.media.speakable import speakable
from openclaw_voicecall.media.tones import BeepDetector
from openclaw_voicecall.media.vad import EnergyVad
from openclaw_voicecall.media.wav import decode_wav, encode_wav
from openclaw_voicecall.observe.logs import JsonFormatter, PlainFormatter, RedactionFilter, Redactor
from openclaw_voicecall.testing.fuzzing import Target
from openclaw_voicecall.testing.fuzzing_kinds import Binary, Series, Text, Tree

TALK = (
    "Hello, this is Ada from Dr. Smith's office. It is 3.5 miles away, i.e. close.",
    "Please see **our site** at https://example.com/a?b=c or call +1 (555) 000-1234.",
    "- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n```py\nprint()\n```\nBye!",
    "Guten Tag. Der 3. Mai passt uns gut, d. h. um 9 Uhr.",
    "The total is $5,000.00 & 20% of that is 1,000 [see here](http://x.y/z) <br> ok?",
    "你好。今天很好！",
)


def split(text: str) -> None:
    """What comes out is what went in, up to spaces and code, and does not depend on how it came."""
    whole, single = SentenceSplitter(), SentenceSplitter()
    pieces = [*whole.push(text), *whole.finish()]
    assert [*(piece for char in text for piece in single.push(char)), *single.finish()] == pieces
    assert all(0 < len(piece) <= MAX_CHARS for piece in pieces)
    if "`" not in text:
        whole_characters = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
        assert "".join("".join(pieces).split()) == "".join(whole_characters.split())


def simplify(text: str) -> None:
    for language in ("en", "de"):
        spoken = speakable(text, language)
        storable(spoken)
        assert speakable(spoken, language) == spoken
        assert len(spoken) <= 8 * len(text) + 100


CALLER = (
    "hello",
    "what time is it",
    "my name is Ann",
    "take a message",
    "tell Bo to call me",
    "yes",
    "no",
    "bye",
)
CALLER += (
    "spell Ann",
    "my number is five five five one two three four",
    "A N N",
    "go on",
    "stop",
    "repeat that",
)


class Noon:
    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


def talk(lines: list[str]) -> None:
    """A caller says these things to the front desk."""
    desk, history = FrontDesk(Noon(), FrontDeskConfig(time_zone="UTC")), []
    for turn, said in enumerate(lines):
        digits = said if said and set(said) <= set("0123456789*#ABCD") else ""
        request = TurnRequest(
            call_id="c", turn=turn, text=said, digits=digits, history=tuple(history), objective="Tea?"
        )
        reply = desk.answer(request)
        assert reply.text
        assert len(reply.text) < 10 * sum(map(len, lines)) + 2000
        history += [Line("caller", said), Line("agent", reply.text[: turn * 7], interrupted=turn % 2 == 1)]


def log(record: Any) -> None:
    """Whatever is logged, lines stay lines and nothing is raised."""
    record = record if isinstance(record, dict) else {}
    made = logging.makeLogRecord({"msg": record.get("message"), "args": record.get("args"), "name": "x"})
    extra = record.get("extra")
    if isinstance(extra, dict):
        vars(made).update({f"x_{name}": value for name, value in extra.items()})
    assert RedactionFilter(REDACTOR).filter(made)
    plain, line = PlainFormatter().format(made), JsonFormatter().format(made)
    assert "\n" not in line
    assert len(plain.splitlines()) == 1
    assert "secret-token" not in plain
    assert "secret-token" not in line


REDACTOR = Redactor(secrets=("secret-token",))


def redact(text: str) -> None:
    once = REDACTOR(text)
    assert "secret-token" not in once
    assert len(once) <= 4 * len(text) + 10


def caller_id(text: str) -> None:
    if is_number(text):
        assert text.isascii()
        assert not is_anonymous(text)
    kind = kind_of(text)
    assert kind is None or is_number(text) or is_anonymous(text)
    assert all(isinstance(zone, str) for zone in zones_of(text, {}))


def wav(random: Random) -> bytes:
    samples = np.frombuffer(random.randbytes(200), dtype="<i2")
    if random.random() < 0.5:
        return encode_wav(8000, samples, samples)
    body = random.randbytes(160)
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, random.choice((6, 7)), 1, 8000, 8000, 1, 8)
    return struct.pack("<4sI4s", b"RIFF", 200, b"WAVE") + layout + struct.pack("<4sI", b"data", 160) + body


def read_wav(data: bytes) -> None:
    sound = decode_wav(data)
    assert sound.rate > 0
    assert math.isfinite(sound.seconds)
    assert len({len(channel) for channel in sound.channels}) == 1
    assert sum(channel.nbytes for channel in sound.channels) <= 2 * len(data)


def hear(pieces: list[bytes]) -> None:
    """The same is heard in a sound however it was cut."""
    edges, single = EnergyVad(), EnergyVad()
    beeps = BeepDetector()
    heard = [edge.speaking for piece in pieces for edge in edges.push(piece)]
    whole = b"".join(pieces)
    assert heard == [edge.speaking for edge in single.push(whole)]
    assert all(isinstance(beeps.push(piece), bool) for piece in pieces)
    pcm = ulaw_to_pcm(whole)
    assert len(pcm) == 2 * len(whole)
    assert len(pcm_to_ulaw(pcm)) == len(whole)
    assert len(alaw_to_ulaw(whole)) == len(whole)


def sound(random: Random) -> list[bytes]:
    made = []
    for _ in range(random.randrange(1, 8)):
        level = random.choice((0x7F, 0xFF, 0x80, 0x10))
        made.append(
            bytes([level]) * random.randrange(900) if random.random() < 0.5 else random.randbytes(480)
        )
    return made


def resample(pieces: list[bytes]) -> None:
    for rate in (24_000, 8_000, 44_100):
        encoder = UlawEncoder(rate)
        audio = b"".join([*map(encoder.push, pieces), encoder.finish()])
        samples = sum(map(len, pieces)) // 2
        assert abs(len(audio) - samples * 8000 / rate) <= 2 + samples * 1e-3


HERE = "openclaw_voicecall"
TARGETS = (
    Target(
        name="sentences",
        kind=Text(20_000),
        make=lambda random: " ".join(random.sample(TALK, 2)),
        feed=split,
        seconds=3.0,
        known=("\udc00. 你",),
        parsers=(f"{HERE}.media.sentences",),
    ),
    Target(
        name="speakable",
        kind=Text(20_000),
        make=lambda random: " ".join(random.sample(TALK, random.randrange(1, 3))),
        feed=simplify,
        seconds=1.0,
        parsers=(f"{HERE}.media.speakable",),
    ),
    Target(
        name="front desk",
        kind=Series(Text(5_000)),
        make=lambda random: random.sample(CALLER, random.randrange(1, 6)),
        feed=talk,
        seconds=0.5,
        parsers=(
            f"{HERE}.builtin.frontdesk_rules",
            f"{HERE}.builtin.frontdesk_words",
            f"{HERE}.builtin.frontdesk_notes",
        ),
    ),
    Target(
        name="log record",
        kind=Tree(20_000),
        make=lambda random: {
            "message": random.choice(("call %s from +15550001234", "authorization: Bearer secret-token")),
            "args": ["01j0"],
            "extra": {"token": "x", "url": "https://u:p@example.com/", "number": "+1 555 000 1234"},
        },
        feed=log,
        seconds=0.5,
        parsers=(f"{HERE}.observe.logs",),
    ),
    Target(
        name="redaction",
        kind=Text(20_000),
        make=lambda random: 'cookie: a=b; "api-key": "sk-1234567890123456" +1 (555) 000-1234 eyJabcde.abcd.e',
        feed=redact,
        seconds=0.5,
        parsers=(f"{HERE}.observe.logs",),
    ),
    Target(
        name="caller id",
        kind=Text(),
        make=lambda random: random.choice(
            ("+15550001234", "+266696687", "anonymous", "sip:a@anonymous.invalid", "+19005551234")
        ),
        feed=caller_id,
        parsers=(f"{HERE}.config.callers", f"{HERE}.builtin.numbering", f"{HERE}.builtin.zones"),
    ),
    Target(
        name="wav",
        kind=Binary(),
        make=wav,
        feed=read_wav,
        refusals=(CodecError,),
        parsers=(f"{HERE}.media.wav",),
    ),
    Target(
        name="hearing",
        kind=Series(Binary(8_000)),
        make=sound,
        feed=hear,
        seconds=0.5,
        parsers=(f"{HERE}.media.vad", f"{HERE}.media.tones", f"{HERE}.media.g711", f"{HERE}.media.level"),
    ),
    Target(
        name="resampling",
        kind=Series(Binary(8_000)),
        make=sound,
        feed=resample,
        seconds=0.5,
        parsers=(f"{HERE}.media.resample",),
    ),
)
