"""The command that writes the configuration file."""

from collections.abc import Set
from typing import TYPE_CHECKING, Any

import click

from openclaw_voicecall.cli.doctor import EXIT_FAILED, examined, on_terminal
from openclaw_voicecall.cli.options import Invocation, PhoneNumber, common_options, echo_json

if TYPE_CHECKING:
    from openclaw_voicecall.checks.report import Report
    from openclaw_voicecall.cli.settings_file import SettingsFile
    from openclaw_voicecall.plugins import Registry

_POLICIES = ("disabled", "allowlist", "pairing", "open")
_WHO_TALKS = "realtime.provider"


@click.command()
@click.option("--provider", help="Carrier, such as twilio; local needs no account.")
@click.option("--from", "from_", type=PhoneNumber(), help="Our own number, E.164.")
@click.option(
    "--public-url", help="Address that leads to this service; without a path it gets the webhooks' path."
)
@click.option(
    "--realtime-provider",
    help="Speech-to-speech model that leads the calls, such as openai; pipeline for the three below.",
)
@click.option("--streaming-provider", help="Transcriber, such as openai or local.")
@click.option("--tts-provider", help="Synthesizer, such as elevenlabs or local.")
@click.option("--response-model", help="Responder, such as xai/grok-4.3.")
@click.option("--inbound-policy", type=click.Choice(_POLICIES), help="Who may call in.")
@click.option("--account-sid", help="Id of a Twilio account.")
@click.option("--no-doctor", is_flag=True, help="Only write the file.")
@click.option("--no-audible", is_flag=True, help="Let doctor do without sound.")
@click.option("--no-public", is_flag=True, help="Let doctor do without the public address.")
@click.option("--fix", is_flag=True, help="Let doctor set the number's webhook at the carrier.")
@common_options
@click.pass_obj
def setup(
    invocation: Invocation,
    *,
    provider: str | None,
    from_: str | None,
    public_url: str | None,
    realtime_provider: str | None,
    streaming_provider: str | None,
    tts_provider: str | None,
    response_model: str | None,
    inbound_policy: str | None,
    account_sid: str | None,
    no_doctor: bool,
    no_audible: bool,
    no_public: bool,
    fix: bool,
) -> None:
    """Write or change the configuration file, then run doctor.

    On a terminal it asks for what no option says; elsewhere it needs no input. Whatever else is in the file stays,
    except comments, and the file as it was is kept beside it. A key that is in the environment stays there; one that
    is typed in goes into the file, which only its owner can read.

    Exits like doctor.
    """
    from openclaw_voicecall.cli.settings import load_plugins
    from openclaw_voicecall.cli.settings_file import SettingsFile, named_new_file
    from openclaw_voicecall.plugins import load_registry

    registry = load_registry() if named_new_file(invocation.config) else load_plugins(invocation)
    file = SettingsFile.find(invocation.config, registry)
    given: dict[str, Any] = {
        "provider": provider,
        "fromNumber": from_,
        "publicUrl": public_url,
        _WHO_TALKS: realtime_provider,
        "streaming.provider": streaming_provider,
        "tts.provider": tts_provider,
        "responseModel": response_model,
        "inboundPolicy": inbound_policy,
        "twilio.accountSid": account_sid,
    }
    given = {key: value for key, value in given.items() if value is not None}
    _set_all(file, given)
    if not invocation.as_json and on_terminal():
        _ask(file, registry, given.keys())
    file.complete_public_url()
    written = file.write()
    if not invocation.as_json:
        _echo_written(file, written)
    # The file may have been made just now, where no search would have found it before.
    invocation.config = str(file.path)
    report = (
        None if no_doctor else examined(invocation, audible=not no_audible, public=not no_public, fix=fix)
    )
    if invocation.as_json:
        _echo_json(file, written, report)
    if report is not None and not report.ok:
        raise click.exceptions.Exit(EXIT_FAILED)


def _set_all(file: "SettingsFile", given: dict[str, Any]) -> None:
    for key, value in given.items():
        _set(file, key, value)


def _set(file: "SettingsFile", key: str, value: str) -> None:
    """Take an answer; the one to who talks is a model, or transcriber, responder and synthesizer."""
    from openclaw_voicecall.calls.engines import PIPELINE

    if key == _WHO_TALKS:
        file.lead_with("" if value == PIPELINE else value)
    else:
        file.set(key, value)


def _ask(file: "SettingsFile", registry: "Registry", given: Set[str]) -> None:
    """Ask for what no option said; what is in force is the answer of who just presses return."""

    def ask(key: str, question: str, names: list[str] | None = None) -> None:
        if key in given:
            return
        current = file.in_force(key)
        choice = click.Choice(sorted(names)) if names else None
        answer = click.prompt(question, default=current, type=choice, show_default=bool(current))
        if answer != current:
            file.set(key, answer)

    ask("provider", "Carrier", list(registry.carriers))
    if file.in_force("provider") != "local":
        ask("fromNumber", "Your number, such as +15550001234 (empty for none)")
        ask("publicUrl", "Public https address of this service (empty where a tunnel makes one)")
        ask("inboundPolicy", "Who may call in", list(_POLICIES))
    if not file.vendor_talks and _WHO_TALKS not in given:
        _set(file, _WHO_TALKS, _ask_who_talks(file, list(registry.realtime_models)))
    if file.vendor_talks or file.leading_model:
        ask("responseModel", "Responder that the model may ask, such as xai/grok-4.3 (empty for none)")
    else:
        ask("streaming.provider", "Transcriber", list(registry.transcribers))
        ask("tts.provider", "Synthesizer", list(registry.synthesizers))
        ask("responseModel", "Responder, such as xai/grok-4.3 (empty for the demo that answers by rules)")
    for key, secret in file.missing_keys():
        answer = click.prompt(
            f"{key} (empty to set it later)", default="", hide_input=secret, show_default=False
        )
        if answer.strip():
            file.set(key, answer.strip())


def _ask_who_talks(file: "SettingsFile", models: list[str]) -> str:
    from openclaw_voicecall.calls.engines import PIPELINE

    answer: str = click.prompt(
        f"Who talks: {PIPELINE} (transcriber, responder and synthesizer), or a speech-to-speech model",
        default=file.leading_model or PIPELINE,
        type=click.Choice([PIPELINE, *sorted(models)]),
        show_default=True,
    )
    return answer


def _echo_json(file: "SettingsFile", written: bool, report: "Report | None") -> None:
    backup = str(file.backup) if file.backup else None
    found = report.to_json() if report else None
    echo_json({"file": str(file.path), "written": written, "backup": backup, "doctor": found})


def _echo_written(file: "SettingsFile", written: bool) -> None:
    if not written:
        click.echo(f"{file.path} stays as it is")
        return
    kept = f"; as it was, it is {file.backup}" if file.backup else ""
    click.echo(f"wrote {file.path}{kept}")
