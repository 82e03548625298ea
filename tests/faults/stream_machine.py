"""A media stream as a state machine: the codec beside a model of what Twilio may send when."""

import json
from base64 import b64encode
from typing import Any

from fuzz_carriers import LEG, SID, compact
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from openclaw_voicecall.api.carrier import (
    AudioReceived,
    DtmfPressed,
    MarkEchoed,
    StreamStarted,
    StreamStopped,
)
from openclaw_voicecall.errors import LocalProtocolError, RemoteProtocolError
from openclaw_voicecall.providers._mediastreams import MediaStreamsCodec

START = {
    "streamSid": SID,
    "callSid": LEG,
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
}
NOT_OURS = ("{", "[]", "5", '{"event":1}', '{"event":"reboot"}', '{"event":"media","streamSid":"MZ0"}', "")


class StreamMachine(RuleBasedStateMachine):
    """Every message in every state; the model says which are facts, and facts come in the order of the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.codec = MediaStreamsCodec()
        self.state = "new"
        self.expected: list[Any] = []
        self.facts: list[Any] = []

    def give(self, message: dict[str, Any], fact: Any, *, right: bool) -> None:
        """Feed a message, in one of two layouts; wrong ones must be refused and leave no trace."""
        text = compact(message) if len(self.facts) % 2 else json.dumps(message)
        try:
            self.facts += self.codec.receive(text)
            refused = False
        except RemoteProtocolError:
            refused = True
        assert refused is not right, f"{message['event']} while {self.state}"
        if right and fact is not None:
            self.expected.append(fact)

    @rule()
    def connected(self) -> None:
        right = self.state == "new"
        self.give({"event": "connected", "protocol": "Call"}, None, right=right)
        self.state = "connected" if right else self.state

    @rule(sid=st.sampled_from([SID, "MZ1"]))
    def start(self, sid: str) -> None:
        right = self.state == "connected" and sid == SID
        message = {"event": "start", "streamSid": sid, "start": START}
        self.give(message, StreamStarted(LEG, {}), right=right)
        self.state = "open" if right else self.state

    @rule(level=st.integers(0, 255), at=st.integers(0, 10**6), sid=st.sampled_from([SID, SID, "MZ1"]))
    def media(self, level: int, at: int, sid: str) -> None:
        payload = {
            "track": "inbound",
            "chunk": "1",
            "timestamp": str(at),
            "payload": b64encode(bytes([level])).decode(),
        }
        message = {"event": "media", "sequenceNumber": "1", "streamSid": sid, "media": payload}
        fact = AudioReceived(bytes([level]), at / 1000)
        self.give(message, fact, right=self.state == "open" and sid == SID)

    @rule(digit=st.sampled_from("0123456789*#ABCD"))
    def dtmf(self, digit: str) -> None:
        message = {"event": "dtmf", "streamSid": SID, "dtmf": {"digit": digit}}
        self.give(message, DtmfPressed(digit), right=self.state == "open")

    @rule(name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=600))
    def mark(self, name: str) -> None:
        message = {"event": "mark", "streamSid": SID, "mark": {"name": name}}
        self.give(message, MarkEchoed(name), right=self.state == "open" and len(name) <= 512)

    @precondition(lambda self: self.state == "open")
    @rule()
    def stop(self) -> None:
        self.give({"event": "stop", "streamSid": SID, "stop": {}}, StreamStopped(), right=True)
        self.state = "stopped"

    @rule(text=st.sampled_from(NOT_OURS) | st.text(max_size=40))
    def something_else(self, text: str) -> None:
        try:
            self.codec.receive(text)
        except RemoteProtocolError:
            return
        raise AssertionError(f"{text!r} was taken")

    @rule()
    def speak(self) -> None:
        """Our side may send from the start on, and not before."""
        try:
            self.codec.audio(b"\xff")
            may = True
        except LocalProtocolError:
            may = False
        assert may is (self.state in ("open", "stopped"))

    @invariant()
    def facts_come_in_order(self) -> None:
        assert self.facts == self.expected
