"""The tuning of one call: frozen numbers, all in seconds unless the name says otherwise."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointingPolicy:
    """When the caller's turn counts as over."""

    after: float = 0.5
    """Silence that ends a turn."""
    after_question: float = 0.4
    """Silence that ends a turn whose words end in a question mark."""
    after_digits: float = 1.2
    """Silence that ends a turn whose last word is a number: people pause while they read numbers out."""
    transcript_wait: float = 2.0
    """How long to wait for the final text once the turn is over by silence."""
    unheard_after: float = 0.6
    """Speech at least this long of which no word comes back was not heard, and the caller is asked to say it again."""
    stale_after: float | None = 4.5
    """A voice that goes on for this long without another word is the noise around the caller, and what was said before
    is answered. None where words come only after a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculationPolicy:
    """Whether answers are begun before the caller's turn is over."""

    enabled: bool = False
    """Whether the responder has given leave, and the owner has."""
    most_starts: int = 2
    """How often in one turn of the caller. What is begun too early is paid for all the same."""
    stable_after: float = 0.15
    """So much silence, and so long without a change of the words, shows that they may be all."""
    on_interims: bool = True
    """Whether words may be taken for all that are not final. Without it nothing is begun before the final text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BargeInPolicy:
    """What happens when the caller speaks over the agent."""

    mode: str = "yield"
    """`yield`: the agent falls silent on speech and decides after. `words`: it waits for words. `off`: never."""
    min_words: int = 1
    """Words that confirm an interruption; backchannels never do."""
    resume_after: float = 0.9
    """Silence without words after which a yielded agent goes on."""
    noise_after: float = 2.0
    """Sound without words after which a yielded agent goes on although the sound lasts."""
    false_alarms: int = 2
    """So many sounds without words silence the agent; then it waits for words before it yields again."""
    alarm_span: float = 20.0
    """Until there was no such sound over its voice for so long, seconds."""
    backchannels: frozenset[str] = frozenset(
        {"uh-huh", "uh huh", "mm-hmm", "mm-hm", "mhm", "hmm", "mm", "hm", "uh", "um", "ah", "oh", "huh"}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmfPolicy:
    """When pressed keys make a turn."""

    inter_digit: float = 2.0
    terminator: str = "#"
    max_digits: int = 32


DISCLOSURE_LINE: Final = "disclosure"
RECORDING_LINE: Final = "recording"
"""Names of lines that have to be said; the far party may be recorded after the second."""


@dataclass(frozen=True, slots=True)
class MustSay:
    """A line that has to be heard to its end before anything else is said."""

    name: str
    """What it is for."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """All tuning of one call."""

    endpointing: EndpointingPolicy = EndpointingPolicy()
    speculation: SpeculationPolicy = SpeculationPolicy()
    barge_in: BargeInPolicy = BargeInPolicy()
    dtmf: DtmfPolicy = DtmfPolicy()
    model_led: bool = False
    """A speech-to-speech model decides whose turn it is."""
    reply_patience: float = 2.0
    """Seconds after the caller's last word in which such a model has to begin its answer; then it is asked to."""
    greeting: str = ""
    """Said first, once audio flows. For an outbound call this is its message."""
    must_say: tuple[MustSay, ...] = ()
    """Said before the greeting, and also before a message to a machine. Nothing the caller does interrupts these lines,
    and what is cut by a lost stream or a failure is said again as a whole."""
    respond: bool = True
    """False in notify mode: what the caller says is recorded, and nobody answers it."""
    hang_up_after_greeting: float | None = None
    """Notify mode: seconds between the end of the played message and the hang-up."""
    leave_voicemail: bool = True
    """Outbound: when a machine beeps, say the greeting again after the beep and hang up."""
    voicemail_window: float = 45.0
    """Only beeps this soon after the answer count as a machine's."""
    ring_timeout: float = 30.0
    max_duration: float = 300.0
    warn_before: float = 20.0
    """The far party is told this long before the longest duration is reached, in calls at least three times as long."""
    duration_warning: str = (
        "I'm sorry, we have to finish in a moment. Is there anything else I can help with?"
    )
    transfer_limit: float = 60.0
    """How long a transfer may take until the other number has answered."""
    transfer_duration: float = 3600.0
    """How long the far party may talk to the number it was handed over to."""
    reconnected: str = "I'm here again. Please go on."
    """Said when audio has come back and nothing else is due, so that nobody waits for the other."""
    transferring: str = ""
    """Said before the far party is handed over at the owner's wish, while the agent says nothing else."""
    transfer_failed: str = "I'm sorry, I couldn't reach them. Is there anything else I can do?"
    transfer_busy: str = "I'm sorry, their line is busy. Is there anything else I can do?"
    transfer_no_answer: str = "I'm sorry, nobody answers there. Is there anything else I can do?"
    media_grace: float = 5.0
    hang_up_grace: float = 10.0
    idle_timeout: float = 180.0
    """Neither side said anything for this long."""
    farewell_limit: float = 10.0
    """A farewell may delay a hang-up by no more than this."""
    apology: str = "I'm sorry, something went wrong on my side. Could you say that again?"
    goodbye: str = "I'm sorry, I can't go on with this call. Goodbye."
    idle_goodbye: str = "I haven't heard anything for a while, so I'll hang up now. Goodbye."
    """Said before a call ends because nobody speaks."""
    max_failures: int = 2
    """This many failed turns in a row end the call with `goodbye`."""
