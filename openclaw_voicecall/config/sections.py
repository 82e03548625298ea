"""The sections of the configuration that belong to no vendor, except those about speech.

Times that end in `_ms` are milliseconds, those that end in `_seconds` or `_sec` seconds. Defaults that the core has
too are taken from there.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.fields import (
    LevelName,
    Network,
    NotNegative,
    OwnPath,
    Port,
    Positive,
    UrlPath,
    Words,
    address_parts,
    is_loopback,
    wrong,
)
from openclaw_voicecall.config.numbers import E164
from openclaw_voicecall.config.sections_spending import Country, NumberClass, QuietHoursConfig
from openclaw_voicecall.config.shapes import NO_EFFECT
from openclaw_voicecall.core.policy import CallPolicy

FUNNEL_PORTS = (443, 8443, 10000)
"""Ports that Tailscale opens to the internet."""

RECORDING_NOTICE = "This call is recorded."
"""What is said before a recording where `recording.notice` is not set."""

OTHERS_TOOLS = ("voice_call", "web_search", "web_fetch")
"""What the host's agent may use for somebody who is not its owner: nothing of the owner's, nothing that changes
anything."""

_CORE = CallPolicy()
_TOOL_NAME = re.compile(r"\*|[A-Za-z0-9_][A-Za-z0-9_:./*-]{0,127}")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _notify_url(text: str) -> str:
    parts = address_parts(text, expected="an address such as https://hooks.example.com/calls")
    if parts.username is not None or parts.fragment:
        raise wrong("expected an address without user name or fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise wrong("expected https: plain http would show the talk to everybody on the way")
    return text


def _with_code(text: str) -> str:
    if "{code}" not in text:
        raise wrong("expected a text with {code} in it")
    return text


def _tool_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in names and len(names) > 1:
        raise wrong('expected either "*" for all tools or the names of some, found both')
    if any(_TOOL_NAME.fullmatch(name) is None for name in names):
        raise wrong('expected names of tools such as "web_search", or "*" for all')
    return names


NotifyUrl = Annotated[str, AfterValidator(_notify_url)]
ToolNames = Annotated[tuple[str, ...], AfterValidator(_tool_names)]


class ServeConfig(CamelModel):
    """The one public server: webhooks and media streams."""

    port: Port = 3334
    """TCP port to listen on; 0 takes any free one."""
    bind: Words = "127.0.0.1"
    """Address to listen on."""
    path: UrlPath = "/voice/webhook"
    """Path of the webhooks; each carrier's is below it."""
    drain_seconds: NotNegative = 30
    """How long live calls may go on after the service was told to stop, seconds."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the calls, behind the one port: as many as there are processor cores for them. All limits
    are of all of them together."""
    max_loop_lag_ms: Positive = 250
    """A process that is this late with everything, for seconds on end, takes no new call until it is not, ms. Where
    all are, callers hear the busy tone."""
    max_memory_mb: Positive | None = None
    """A process with more memory than this takes no new call either, in MB; off if not set."""


class OutboundConfig(CamelModel):
    """Calls that we place."""

    default_mode: Literal["notify", "conversation"] = "notify"
    """`notify` says the message and hangs up; `conversation` stays for a talk. The command
    `call` says `conversation` by itself."""
    notify_hangup_delay_sec: NotNegative = 3
    """Seconds between the end of the played message and the hang-up, in notify mode."""
    leave_voicemail: bool = True
    """When a machine answers, say the message again after its beep and hang up."""
    machine_detection: bool = False
    """Have the carrier tell people from machines, where it can; it bills that."""
    voicemail_window_ms: Positive = _ms(_CORE.voicemail_window)
    """Only a beep this soon after the answer counts as a machine's, ms."""
    countries: tuple[Country, ...] | None = None
    """Countries that may be called, as two letters: `["US", "DE"]`. If not set, those of the numbers in this
    configuration: `fromNumber`, `toNumber`, `allowFrom`, `numbers`, `transfer.allowed`. `*` is any, except countries
    known for one-ring numbers, which have to be named."""
    allow: tuple[NumberClass, ...] = ()
    """Kinds of numbers that may be called although they cost more, or wake a rescue service."""
    dials_per_minute: Positive = 10
    """Calls placed within a minute, at most. This and the next two outlive a restart."""
    dials_per_number_per_hour: Positive = 3
    """Calls placed to one number within an hour, at most."""
    dials_per_day: Positive = 200
    """Calls placed within 24 hours, at most."""
    quiet_hours: QuietHoursConfig | None = None
    """When nobody is called; off if not set. `{}` means from 21:00 to 08:00 where the number is."""


class TunnelConfig(CamelModel):
    """How carriers on the internet reach this server."""

    provider: Literal["none", "ngrok", "tailscale-serve", "tailscale-funnel"] = "none"
    """Which program opens the way; `none` where `publicUrl` or a proxy does."""
    ngrok_auth_token: SecretStr | None = None
    """Filled from `NGROK_AUTHTOKEN`."""
    ngrok_domain: Words | None = None
    """Filled from `NGROK_DOMAIN`."""
    path: UrlPath | None = None
    """Path that Tailscale hands through; the path of the webhooks if not set."""
    port: Annotated[int, Field(ge=1, le=65535)] = 443
    """Port that Tailscale opens; a funnel knows 443, 8443 and 10000."""
    allow_ngrok_free_tier_loopback_bypass: Annotated[bool, NO_EFFECT] = False
    """OpenClaw lets unsigned webhooks through with this. Here signatures are verified all the same."""

    @model_validator(mode="after")
    def _check_funnel_port(self) -> "TunnelConfig":
        if self.provider == "tailscale-funnel" and self.port not in FUNNEL_PORTS:
            raise wrong("expected port 443, 8443 or 10000 for a Tailscale funnel")
        return self


class TailscaleConfig(CamelModel):
    """The older way to write `tunnel`; it is read into `tunnel`."""

    mode: Literal["off", "serve", "funnel"] = "off"
    """`serve` opens it to the tailnet, `funnel` to the internet."""
    path: UrlPath | None = None
    """See `tunnel.path`."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """See `tunnel.port`."""


class WebhookSecurityConfig(CamelModel):
    """Which forwarding headers are believed where `publicUrl` does not say what the public address is.

    Then the address that a carrier has signed is given out, too. Without these settings the headers are ignored.
    """

    allowed_hosts: tuple[Words, ...] = ()
    """Host names that `X-Forwarded-Host` may name; others are not believed."""
    trust_forwarding_headers: bool = False
    """Believe `X-Forwarded-Host` without a list of hosts. Only behind a proxy that sets it itself."""
    trusted_proxy_ips: Annotated[tuple[Network, ...], Field(alias="trustedProxyIPs")] = ()
    """Addresses or networks of proxies. If there are any, forwarding headers count from nobody else; and theirs say who
    a request comes from."""


class EndpointingConfig(CamelModel):
    """When the caller's turn counts as over."""

    silence_ms: Positive = _ms(_CORE.endpointing.after)
    """Silence that ends a turn, ms. `silenceTimeoutMs` stands in when only that is set."""
    after_question_ms: Positive = _ms(_CORE.endpointing.after_question)
    """The same after a question, ms."""
    after_digits_ms: Positive = _ms(_CORE.endpointing.after_digits)
    """The same after a number, ms: people pause while they read numbers out."""
    transcript_wait_ms: Positive = _ms(_CORE.endpointing.transcript_wait)
    """How long to wait for the final text once silence has ended a turn, ms."""
    speculate: bool = True
    """Begin the answer while the silence that ends a turn still runs, and throw it away unheard when the caller goes
    on. Only with responders of which a start costs little and does nothing, such as chat models; the vendors ask their
    price for what is thrown away."""
    stable_ms: Positive = _ms(_CORE.speculation.stable_after)
    """So long the caller has to be silent, and the words unchanged, before an answer is begun, ms."""
    most_starts: Positive = _CORE.speculation.most_starts
    """How often an answer may be begun in one turn of the caller."""


class InterruptionsConfig(CamelModel):
    """What happens when the caller speaks over the agent."""

    mode: Literal["yield", "words", "off"] = "yield"
    """`yield` falls silent at once and decides after; `words` waits for words; `off` never yields."""
    min_words: Positive = _CORE.barge_in.min_words
    """Words that confirm an interruption; sounds such as "mm-hm" never do."""
    resume_after_ms: Positive = _ms(_CORE.barge_in.resume_after)
    """Silence without words after which the agent goes on, ms."""
    noise_after_ms: Positive = _ms(_CORE.barge_in.noise_after)
    """Sound without words after which the agent goes on although it lasts, ms."""
    backchannels: tuple[Words, ...] | None = None
    """Sounds that are no interruption; English ones if not set."""
    ignore_echo: bool = True
    """Turn down what comes back of the agent's own voice, so that it does not interrupt itself."""


class DtmfConfig(CamelModel):
    """When pressed keys make a turn."""

    inter_digit_ms: Positive = _ms(_CORE.dtmf.inter_digit)
    """Pause that ends the keys, ms."""
    terminator: Annotated[str, Field(pattern=r"^[0-9*#A-D]?$")] = _CORE.dtmf.terminator
    """Key that ends them at once; empty for none."""
    max_digits: Positive = _CORE.dtmf.max_digits
    """Keys that end them by their number."""


class RecordingConfig(CamelModel):
    """Recordings of calls."""

    enabled: bool = False
    """Off, because many laws ask for the other side's consent first."""
    dir: OwnPath | None = None
    """Folder of the WAV files; below the state folder if not set."""
    notice: str | None = None
    """Said before anything of the other side is recorded, and not to be interrupted; empty for none. If not set, calls
    over a carrier that bills hear that the call is recorded."""


class PlayoutConfig(CamelModel):
    """How the agent's audio is sent."""

    lead_ms: Annotated[int, Field(ge=20, le=60000)] = 1000
    """Audio sent ahead of what is heard, ms. More rides out a slow network, less leaves less to take back."""


class MemoryConfig(CamelModel):
    """What the responder is told of earlier calls with the same memory; `sessionScope` says which these are.

    A caller id can be forged: where earlier talks must not be told to whoever shows it, set `calls` to 0.
    """

    calls: NotNegative = 3
    """How many calls back; 0 tells nothing."""
    lines: Positive = 40
    """Lines of all these calls together; the newest are kept."""
    days: Positive = 30
    """Older calls are not told of."""


class PhrasesConfig(CamelModel):
    """What is said to callers who are not let in yet, and when things go wrong."""

    pairing: Annotated[Words, AfterValidator(_with_code)] = (
        "Hello, this is an AI assistant, and I don't know your number yet. Your code is {code}. "
        "I repeat, your code is {code}. Please tell it to the owner of this line, who has to approve it. "
        "Then call again. Goodbye."
    )
    """To a caller nobody knows, under `inboundPolicy: pairing`; `{code}` stands for the digits."""
    apology: Words = _CORE.apology
    """After a turn that failed."""
    goodbye: Words = _CORE.goodbye
    """Before the hang-up when too many did."""
    idle_goodbye: Words = _CORE.idle_goodbye
    """Before the hang-up when nobody speaks any more."""
    bridge: Words = "One moment, please."
    """By the carrier's own voice, when the call goes on without its audio stream."""
    fillers: tuple[Words, ...] = (
        "One moment, please.",
        "I'm still on it.",
        "Thanks for waiting, nearly there.",
    )
    """While a reply is awaited, in turn; empty for none."""
    late: str = "I'm sorry, this is taking longer than usual."
    """Once in a turn whose reply is awaited for long; empty for nothing."""
    duration_warning: str = _CORE.duration_warning
    """Before the longest duration of a call is reached; empty for none."""
    reconnected: str = _CORE.reconnected
    """When the audio of a call has come back and nothing else is due; empty for nothing."""
    transfer_failed: str = _CORE.transfer_failed
    """When a caller could not be handed over."""
    transfer_busy: str = _CORE.transfer_busy
    """Said instead where the other line is busy."""
    transfer_no_answer: str = _CORE.transfer_no_answer
    """Said instead where nobody answers."""
    transferring: str = "One moment, I'm connecting you."
    """Said before a transfer that the owner asks for with a command; the agent says so in its own words. Empty for
    nothing."""
    prepare: bool = False
    """Make the audio of all these phrases at start, so that they can be heard even when the synthesizer fails. A vendor
    bills their few hundred characters at every start."""


class LimitsConfig(CamelModel):
    """How long things may take, and how often they may fail, before a call ends."""

    media_grace_ms: Positive = _ms(_CORE.media_grace)
    """How long a lost media stream may take to come back, ms."""
    hang_up_grace_ms: Positive = _ms(_CORE.hang_up_grace)
    """How long a carrier may take to confirm a hang-up, ms."""
    farewell_ms: Positive = _ms(_CORE.farewell_limit)
    """A farewell delays a hang-up by no more than this, ms."""
    max_failures: Positive = _CORE.max_failures
    """Failed turns in a row that end the call."""
    filler_after_ms: Positive = 2000
    """How long a reply may be awaited in silence, ms."""
    filler_every_ms: Positive = 4000
    """How long it may be awaited after each filler, ms."""
    late_after_ms: Positive = 8000
    """How long after the caller's last word `phrases.late` is said, at the latest, ms."""
    silence_ms: Annotated[int, Field(ge=1000)] = 3500
    """How long a caller who waits for the agent may hear nothing at all, whatever fails, ms. Then a filler that is at
    hand is played, or a sound."""
    warn_before_seconds: Positive = round(_CORE.warn_before)
    """How long before `maxDurationSeconds` the far party is told, seconds. Calls shorter than three times this are
    not."""


class TransferConfig(CamelModel):
    """Handing the far party over to another number."""

    allowed: tuple[E164, ...] | None = None
    """Numbers the agent may hand callers over to. If not set, people that we call may be handed over to any number,
    and callers to none: what a stranger says must not spend money."""
    answer_ms: Positive = _ms(_CORE.transfer_limit)
    """How long the other number may take to answer, ms; then the agent goes on."""
    max_duration_seconds: Positive = round(_CORE.transfer_duration)
    """How long they may talk then, seconds."""


class AgentToolsConfig(CamelModel):
    """What the host's agent may use during a call, by who is on the line: names of its tools, or `*` for all."""

    owner: ToolNames = ("*",)
    """While one of `owners` is."""
    others: ToolNames = OTHERS_TOOLS
    """While anybody else is. `voice_call` ends their call and presses its keys, and nothing else. Empty for none."""


class ReportsConfig(CamelModel):
    """What the host's chat is told of calls, besides how each one ended."""

    live: bool = False
    """Notes of what was said so far, while the call lasts. They wake nobody: the agent reads them in its next turn in
    that chat."""


class LoggingConfig(CamelModel):
    """What is logged."""

    level: LevelName = "info"
    """Least important level that is logged."""
    full_numbers: bool = False
    """Write phone numbers whole, instead of as +1555***0001."""


class PluginsConfig(CamelModel):
    """Which plugins are loaded."""

    disabled: tuple[Words, ...] = ()
    """Names of plugins to leave out, built in or installed."""
    modules: tuple[Words, ...] = ()
    """Python modules to load as plugins, besides the installed ones."""


class ControlConfig(CamelModel):
    """How commands on this machine reach the running service."""

    socket: OwnPath | None = None
    """Path of the Unix socket; in the state folder if not set."""
    port: Port | None = None
    """Listen on this port of 127.0.0.1, too; 0 takes any free one. Requests need the token in the file `control.token`
    of the state folder."""
