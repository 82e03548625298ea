"""What a test call has proved so far, hop by hop. Knows nothing of time or of the network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openclaw_voicecall.cli.summary import end_text

SENTENCE = "Hello, this is an AI assistant with a test call of OpenClaw voice call. Please say something now."
"""What the person hears first; it discloses what is speaking, so that no line has to do so before it."""
GOODBYE = "Thank you, I heard you. The test is over. Goodbye."
UNHEARD_GOODBYE = "I could not hear you. The test is over. Goodbye."

HOPS = ("carrier", "line", "media", "voice", "hearing", "goodbye")
"""In the order in which a call proves them."""
_HOP_OF = {"carrier": "carrier", "synthesizer": "voice", "transcriber": "hearing"}
"""Our hop by that of a `vendor-failed` entry. A model is both voice and hearing: the one that is still open counts."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One thing that a call needs, and whether it works."""

    name: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"hop": self.name, "ok": self.ok, "detail": self.detail}


@dataclass(slots=True)
class Trial:
    """Reads the feed of a test call. Give every item to `take`."""

    proved: dict[str, Hop] = field(default_factory=dict)
    asked: bool = False
    """Whether the person has been asked to say something."""
    answered: bool = False
    """Whether somebody took the call."""
    answer: str = ""
    """What the person said after that, as it was heard."""
    troubles: dict[str, str] = field(default_factory=dict)
    """What failed on the way, by hop; a fallback may have helped."""

    @property
    def passed(self) -> bool:
        """Whether everything has been proved."""
        return all(name in self.proved for name in HOPS)

    def take(self, item: Mapping[str, Any]) -> list[Hop]:
        """Take an item of the feed; gives the hops that it proves."""
        before = set(self.proved)
        entry, call = item["entry"], item["call"]
        if call.get("carrierCallId"):
            self._prove("carrier", f"{call['carrier']} took the call as {call['carrierCallId']}")
        match entry["event"]:
            case "CallAnswered":
                self.answered = True
                self._prove("line", f"answered after {entry['elapsed']:.1f} s")
            case "MediaConnected":
                self._prove("media", "audio flows")
            case "vendor-failed":
                data = entry["data"]
                named = str(data.get("hop", ""))
                hop = _HOP_OF.get(named, "")
                if named == "model":
                    hop = "hearing" if "voice" in self.proved else "voice"
                if hop:
                    self.troubles[hop] = f"{data.get('provider', '')}: {data.get('detail', '')}"
        self._read(call["transcript"])
        return [self.proved[name] for name in HOPS if name in self.proved and name not in before]

    def finish(self, call: Mapping[str, Any]) -> list[Hop]:
        """Every hop, in order, once the call is over; `call` is its record."""
        self._read(call["transcript"])
        if self.answer and call.get("endReason") == "agent-hung-up":
            self._prove("goodbye", "said, and hung up")
        hops: list[Hop] = []
        for name in HOPS:
            hop = self.proved.get(name)
            hops.append(hop or Hop(name, False, self._reason(name, call, first=all(one.ok for one in hops))))
        return hops

    def _prove(self, name: str, detail: str) -> None:
        self.proved.setdefault(name, Hop(name, True, detail))

    def _read(self, transcript: list[Mapping[str, Any]]) -> None:
        spoken = [at for at, line in enumerate(transcript) if line["speaker"] == "agent"]
        if not spoken:
            return
        self.asked = True
        first = transcript[spoken[0]]
        self._prove("media", "the carrier itself speaks and listens")
        self._prove("voice", f"the sentence was played{' in part' if first['interrupted'] else ''}")
        words = [line["text"] for line in transcript[spoken[0] :] if line["speaker"] == "caller"]
        if words:
            self.answer = self.answer or str(words[0])
            self._prove("hearing", f'heard: "{self.answer}"')

    def _reason(self, name: str, call: Mapping[str, Any], *, first: bool) -> str:
        """Why a hop was not proved; what comes after the first such hop was not reached."""
        if name in self.troubles:
            return self.troubles[name]
        if not first:
            return "not reached"
        if name == "hearing" and call.get("endReason") == "agent-hung-up":
            return "nothing was heard after the sentence: did the person say something?"
        end = end_text(call.get("endReason"))
        return f"{end}; {call['detail']}" if call.get("detail") else end
