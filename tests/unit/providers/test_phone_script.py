"""Phone scripts: what they can say, and how they complain."""

import dataclasses
import re
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.errors import ScriptError
from openclaw_voicecall.providers.local.phone import script as parts
from openclaw_voicecall.providers.local.phone.audio import (
    decode,
    dtmf_tone,
    encode,
    loudness,
    mix,
    noise_frames,
    read_audio,
    tone,
)
from openclaw_voicecall.providers.local.phone.prompts import SHIPPED, normalise, shipped_lines
from openclaw_voicecall.providers.local.phone.script import Script
from openclaw_voicecall.providers.local.phone.script_reader import built_in_scripts, load_script, read_script

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[3] / "docs" / "phone-scripts.md"


def test_everything_a_script_can_say(tmp_path):
    (tmp_path / "hey.ulaw").write_bytes(b"\xff" * 160)
    text = """\
name: everything
from: "+15550007777"
ring: 2.5
answer: yes
noise: -50
linger: 5
steps:
  - wait: agent
  - wait: agent
    timeout: 3
    pause: 0.5
  - say: Hello
  - play: hey.ulaw
  - interrupt: {after_ms: 800, say: Stop, timeout: 4}
  - interrupt: {after_ms: 0, play: hey.ulaw}
  - silence: 2
  - press: "12w#"
  - press: "1"
    audible: yes
  - noise: -45
  - noise: off
  - tone: {hz: 1000, ms: 500}
  - tone: {hz: 440, ms: 20, dbfs: -30}
  - repeat: {times: 3, steps: [{say: Again}, {silence: 0.1}]}
  - drop: {for: 2}
  - drop: hang
  - hang_up
"""
    hey = tmp_path / "hey.ulaw"
    assert read_script(text, tmp_path / "s.yaml") == Script(
        name="everything",
        from_number="+15550007777",
        ring=2.5,
        answer="yes",
        noise=-50.0,
        linger=5.0,
        steps=(
            parts.WaitForAgent(timeout=15.0, pause=1.0),
            parts.WaitForAgent(timeout=3.0, pause=0.5),
            parts.Say(text="Hello"),
            parts.Play(path=hey),
            parts.Interrupt(after=0.8, words=parts.Say(text="Stop"), timeout=4.0),
            parts.Interrupt(after=0.0, words=parts.Play(path=hey)),
            parts.Silence(seconds=2.0),
            parts.Press(digits="12w#"),
            parts.Press(digits="1", audible=True),
            parts.Noise(dbfs=-45.0),
            parts.Noise(dbfs=None),
            parts.Tone(hz=1000.0, seconds=0.5),
            parts.Tone(hz=440.0, seconds=0.02, dbfs=-30.0),
            parts.Repeat(times=3, steps=(parts.Say(text="Again"), parts.Silence(seconds=0.1))),
            parts.Drop(seconds=2.0),
            parts.Drop(seconds=2.0, cut=True),
            parts.HangUp(),
        ),
    )


def test_an_answering_machine_is_written_out_as_steps():
    text = "name: m\nanswer: voicemail\ngreeting: [One., Two.]\nbeep: {hz: 800, ms: 200}\nsilence: 2\n"
    assert read_script(text, Path("m.yaml")).steps == (
        parts.Silence(seconds=0.5),
        parts.Say(text="One."),
        parts.Say(text="Two."),
        parts.Silence(seconds=0.5),
        parts.Tone(hz=800.0, seconds=0.2),
        parts.WaitForAgent(timeout=10.0, pause=2.0),
        parts.HangUp(),
    )


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "the script is empty"),
        ("- a", 1, "must be written as `key: value`"),
        ("ring: 1", 1, "name is missing"),
        ("name:", 1, "name must be text"),
        ("name: [x]", 1, "name must be text"),
        ("name: x\nname: y", 2, "name is written twice"),
        ("name: x\n\nstep: []", 3, "a script has no key 'step'; did you mean 'steps'?"),
        ("name: x\n? [a]\n: 1", 2, "a script has no key"),
        ("name: x\nring: soon", 2, "ring must be a number from 0 to 3600, not 'soon'"),
        ("name: x\nring: -1", 2, "ring must be a number"),
        ("name: x\nring: .inf", 2, "ring must be a number"),
        ("name: x\nring: 1e9", 2, "ring must be a number"),
        ("name: x\nanswer: nope", 2, "answer cannot be 'nope'"),
        ("name: x\nanswer: bussy", 2, "did you mean 'busy'?"),
        ("name: x\nfrom: 5550001", 2, "from must be a number such as +15550001234"),
        ("name: x\nnoise: 3", 2, "noise must be a number from -90 to -10"),
        ("name: x\nsteps: none", 2, "steps must be a list"),
        ("name: x\nanswer: busy\nsteps: []", 3, "steps are never reached with `answer: busy`"),
        ("name: x\nanswer: voicemail", 1, "greeting is missing"),
        ("name: x\nanswer: voicemail\ngreeting: Hi\nsteps: []", 4, "has its own steps"),
        ("name: x\ngreeting: Hi", 2, "greeting needs `answer: voicemail`"),
        ("name: x\nsteps:\n  - say: Hi\n    silence: 2", 3, "one thing, not say and silence"),
        ("name: x\nsteps:\n  - timeout: 2", 3, "one thing, not none"),
        ("name: x\nsteps:\n  - shout: Hi", 3, "a step has no key 'shout'"),
        ("name: x\nsteps:\n  - saay: Hi", 3, "did you mean 'say'?"),
        ("name: x\nsteps:\n  - hangup", 3, "unknown step 'hangup'; did you mean 'hang_up'?"),
        ("name: x\nsteps:\n  - hang_up: now", 3, "hang_up takes no value"),
        ("name: x\nsteps:\n  - say: Hi\n    timeout: 3", 4, "say has no option 'timeout'"),
        ("name: x\nsteps:\n  - say: ''", 3, "say must be text"),
        ("name: x\nsteps:\n  - wait: 3", 3, "to wait for a time, use silence"),
        ("name: x\nsteps:\n  - wait: agent\n    pause: 0", 4, "pause must be a number from 0.1"),
        ("name: x\nsteps:\n  - play: missing.wav", 3, "there is no file"),
        ("name: x\nsteps:\n  - play: song.mp3", 3, "play takes .wav and .ulaw files"),
        ("name: x\nsteps:\n  - interrupt: {say: Hi}", 3, "after_ms is missing"),
        ("name: x\nsteps:\n  - interrupt: {after_ms: 1}", 3, "either say or play"),
        ("name: x\nsteps:\n  - interrupt: {after_ms: 1, say: a, play: b.wav}", 3, "either say or play"),
        ("name: x\nsteps:\n  - interrupt:\n      afterms: 1", 4, "did you mean 'after_ms'?"),
        ("name: x\nsteps:\n  - press: 12x", 3, "press takes keys"),
        ("name: x\nsteps:\n  - press: '1'\n    audible: maybe", 4, "audible must be yes or no"),
        ("name: x\nsteps:\n  - tone: {hz: 1000}", 3, "ms is missing"),
        ("name: x\nsteps:\n  - tone: {hz: 9000, ms: 10}", 3, "hz must be a number from 50 to 3900"),
        ("name: x\nsteps:\n  - drop: it", 3, "drop takes `hang`"),
        ("name: x\nsteps:\n  - repeat: {times: 0, steps: []}", 3, "times must be a number from 1 to 1000"),
        ("name: x\nsteps:\n  - repeat: {times: 1.5, steps: []}", 3, "times must be a whole number"),
        ("name: x\nsteps:\n  - repeat: {times: 2, steps: [{say: }]}", 3, "say must be text"),
        ("name: x\nsteps:" + " [{repeat: {times: 1, steps:" * 6 + " []" + "}}]" * 6, 2, "nested more than 5"),
        ("name: x\nsteps: &a\n  - repeat: {times: 2, steps: *a}", 3, "no aliases"),
        ("name: x\nsteps:\n  - say: 'Hi", 3, "unexpected end of stream"),
        ("name: x\n\tring: 1", 2, "cannot start any token"),
        ("name: x\n---\nname: y", 2, "but found another document"),
        ("name: \x00", 1, "not YAML: unacceptable character"),
        ("[" * 5000, 1, "nested too deep"),
    ],
)
def test_a_wrong_script_is_refused_with_file_and_line(text, line, problem):
    with pytest.raises(ScriptError) as caught:
        read_script(text, Path("folder/s.yaml"))
    assert re.match(rf"folder/s\.yaml:{line}: ", str(caught.value)), caught.value
    assert problem in str(caught.value)


@given(st.text(alphabet="name:steps-say{}[],\n '\"#&*!|>1?%@`\t", max_size=80))
def test_any_text_is_a_script_or_a_script_error(text):
    problem = ""
    try:
        read_script(text, Path("s.yaml"))
    except ScriptError as error:
        problem = str(error)
    assert re.match(r"s\.yaml:\d+: |$", problem)


def test_an_unknown_script_names_those_that_come_with_the_package(tmp_path):
    with pytest.raises(ScriptError, match=r"nobody\.yaml: No such file.*friendly"):
        load_script("nobody.yaml")
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScriptError, match="not UTF-8"):
        load_script(str(binary))
    binary.write_bytes(b"#" * 300_000)
    with pytest.raises(ScriptError, match="too large"):
        load_script(str(binary))


def test_the_built_in_scripts_are_right_and_all_their_lines_are_shipped():
    assert {"friendly", "caller", "busy", "no-answer", "voicemail", "silent", "noisy"} <= set(
        built_in_scripts()
    )
    for name in built_in_scripts():
        script = load_script(name)
        assert script.name == name
        assert all(normalise(text) in shipped_lines() for text in script.texts())


def test_the_default_script_has_five_turns_and_one_interruption():
    steps = load_script("friendly").steps
    assert len([step for step in steps if isinstance(step, parts.Say)]) >= 5
    (interrupt,) = [step for step in steps if isinstance(step, parts.Interrupt)]
    assert interrupt.after == pytest.approx(1.2)


def test_shipped_lines_are_small_trimmed_and_equally_loud():
    files = sorted(SHIPPED.glob("*.ulaw"))
    assert {path.name for path in files} == set(shipped_lines().values())
    assert sum(path.stat().st_size for path in files) < 400_000
    for path in files:
        audio = path.read_bytes()
        assert loudness(audio) == pytest.approx(-20, abs=1.0), path.name
        assert loudness(audio[:1200]) < -50, path.name
        assert loudness(audio[-1200:]) < -50, path.name
        assert loudness(audio[1200:2400]) > -50, path.name


def test_wav_files_of_the_right_kind_are_read_and_others_say_what_is_needed(tmp_path):
    path = tmp_path / "a.wav"
    samples = decode(tone((440.0,), 0.1))
    for rate, right in ((8000, True), (16000, False)):
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.tobytes())
        if right:
            assert read_audio(path) == encode(samples)
        else:
            with pytest.raises(ValueError, match="must be 8000 Hz"):
                read_audio(path)
    renamed = path.rename(tmp_path / "a.ulaw")
    with pytest.raises(ValueError, match="name it"):
        read_audio(renamed)
    (tmp_path / "b.wav").write_text("no audio")
    with pytest.raises(ValueError, match="cannot be read as audio"):
        read_audio(tmp_path / "b.wav")


def test_mulaw_survives_decoding_and_encoding():
    codes = bytes(range(256))
    again = encode(decode(codes))
    assert decode(again) == decode(codes)
    assert [code for code, back in zip(codes, again, strict=True) if code != back] == [0x7F], "the two zeros"
    assert (decode(b"\x00")[0], decode(b"\x80")[0], decode(b"\xff")[0]) == (-32124, 32124, 0)


def test_tones_and_noise_have_the_level_they_are_asked_for():
    assert loudness(b"") == loudness(b"\xff" * 160) == -100.0
    assert loudness(tone((1000.0,), 0.5, -12.0)) == pytest.approx(-12, abs=0.2)
    assert loudness(dtmf_tone("5")) == pytest.approx(-13, abs=0.5)
    frames = noise_frames(-45.0)
    noise = b"".join(mix(b"\xff" * 160, next(frames)) for _ in range(50))
    assert loudness(noise) == pytest.approx(-45, abs=0.7)


def test_every_key_of_a_script_is_explained_in_the_docs():
    text = DOCS.read_text()
    words = [
        "name",
        "from",
        "ring",
        "answer",
        "noise",
        "linger",
        "steps",
        "greeting",
        "beep",
        "silence",
        "wait",
        "say",
        "play",
        "interrupt",
        "press",
        "tone",
        "drop",
        "hang_up",
        "repeat",
        "timeout",
        "pause",
        "after_ms",
        "audible",
        "hz",
        "ms",
        "dbfs",
        "times",
        "for",
        "hang",
        "never",
        "busy",
        "reject",
        "voicemail",
    ]
    missing = [word for word in words if not re.search(rf"`[^`\n]*\b{word}\b[^`\n]*`", text)]
    assert missing == []
    for name in built_in_scripts():
        assert f"`{name}`" in text
    for step in (parts.WaitForAgent, parts.Interrupt):
        default = next(field.default for field in dataclasses.fields(step) if field.name == "timeout")
        assert f"{default:g} s" in text
