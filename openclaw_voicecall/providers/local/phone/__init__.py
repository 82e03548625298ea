"""The phone at the far end of the local line: a strict stand-in for Twilio and for the person on the phone.

`python -m openclaw_voicecall.providers.local.phone` is a phone that the service calls; `ring_service` is one that
calls the service. Both write down what they said and heard, apart from anything the service thinks about it.
"""

from openclaw_voicecall.providers.local.phone.report import Entry, PhoneReport
from openclaw_voicecall.providers.local.phone.ring import ring_service

__all__ = ["Entry", "PhoneReport", "ring_service"]
