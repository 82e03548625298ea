"""What a phone is told before it rings or calls."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneJob:
    """One call of one phone. `outbound` means that the service calls the phone."""

    carrier_call_id: str
    webhook_url: str
    key: str
    from_number: str
    to_number: str
    script: str
    """A built-in name or the path of a YAML file."""
    status: Path
    """Where the phone keeps its status."""
    call_id: str = ""
    outbound: bool = True
    ring_timeout: float = 60.0
    """Seconds."""
    max_duration: float = 3600.0
    """Seconds after the answer, at which the carrier itself ends the call."""
    record: Path | None = None
    """WAV file to write."""
    report: Path | None = None
    """JSON file to write."""

    def to_line(self) -> bytes:
        """The job as one line of JSON: what the carrier writes to the phone's stdin."""
        return (
            json.dumps(
                {
                    "callId": self.call_id,
                    "carrierCallId": self.carrier_call_id,
                    "webhookUrl": self.webhook_url,
                    "key": self.key,
                    "from": self.from_number,
                    "to": self.to_number,
                    "script": self.script,
                    "status": str(self.status),
                    "ringTimeout": self.ring_timeout,
                    "maxDuration": self.max_duration,
                    "record": str(self.record) if self.record else None,
                    "report": str(self.report) if self.report else None,
                }
            ).encode()
            + b"\n"
        )

    @classmethod
    def from_line(cls, line: bytes) -> "PhoneJob":
        """The reverse of `to_line`. Raises `ValueError` or `KeyError` for anything else."""
        values: dict[str, Any] = json.loads(line)
        return cls(
            call_id=values["callId"],
            carrier_call_id=values["carrierCallId"],
            webhook_url=values["webhookUrl"],
            key=values["key"],
            from_number=values["from"],
            to_number=values["to"],
            script=values["script"],
            status=Path(values["status"]),
            ring_timeout=float(values["ringTimeout"]),
            max_duration=float(values["maxDuration"]),
            record=Path(values["record"]) if values["record"] else None,
            report=Path(values["report"]) if values["report"] else None,
        )
