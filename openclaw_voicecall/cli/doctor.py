"""The command that looks at everything a call goes through."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openclaw_voicecall.cli.options import Invocation, common_options, echo_json, run

if TYPE_CHECKING:
    from openclaw_voicecall.checks.report import Finding, Report

EXIT_FAILED = 1
"""At least one check failed."""

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", "")}


@click.command()
@click.option("--no-audible", is_flag=True, help="Let nobody speak, hear or answer.")
@click.option("--no-public", is_flag=True, help="Do not ask for the public address.")
@click.option("--fix", is_flag=True, help="Set the number's webhook at the carrier where it is wrong.")
@common_options
@click.pass_obj
def doctor(invocation: Invocation, *, no_audible: bool, no_public: bool, fix: bool) -> None:
    """Check everything that a call goes through.

    Configuration, keys, the public address, the number at the carrier, and by ear: the synthesizers speak, the
    transcribers must hear it, the responders must answer in time, and speech-to-speech models must do all three. A
    line that is not green names the hop, the cause and the fix. It costs a few seconds of the vendors' time.

    A running service is asked to take part; without one this command listens in its place meanwhile.

    On a terminal it asks before it changes the number; --fix does so without asking.

    Exits with 0 when nothing failed, else with 1.
    """
    report = examined(invocation, audible=not no_audible, public=not no_public, fix=fix)
    if invocation.as_json:
        echo_json(report.to_json())
    if not report.ok:
        raise click.exceptions.Exit(EXIT_FAILED)


def examined(
    invocation: Invocation, *, audible: bool = True, public: bool = True, fix: bool = False
) -> "Report":
    """Make all checks; each is shown as soon as it is made, unless JSON is asked for."""
    from openclaw_voicecall.checks.report import Report
    from openclaw_voicecall.checks.run import Examination, examine
    from openclaw_voicecall.cli.service import log_to_stderr

    log_to_stderr("debug" if invocation.debug else "error")
    report = Report(show=(lambda finding: None) if invocation.as_json else _echo)
    run(
        examine(
            Examination(
                config_source=invocation.config,
                state_dir=Path(invocation.state_dir) if invocation.state_dir else None,
                env=os.environ,
                audible=audible,
                public=public,
                consent=_consent(invocation, fix),
            ),
            report,
        )
    )
    if not invocation.as_json:
        _echo_outcome(report)
    return report


def on_terminal() -> bool:
    """Whether somebody is there who can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _consent(invocation: Invocation, fix: bool) -> Callable[[str], bool] | None:
    if fix:
        return lambda question: True
    if invocation.as_json or not on_terminal():
        return None
    return lambda question: click.confirm(question, default=False)


def _echo(finding: "Finding") -> None:
    from openclaw_voicecall.cli.screen import printable

    mark, colour = _MARKS[finding.status]
    shown = click.style(mark, fg=colour) if colour else mark
    click.echo(f"{shown} {printable(finding.label)}: {printable(finding.text)}")
    for word, text in (("cause", finding.cause), ("fix", finding.fix)):
        for number, line in enumerate(text.splitlines()):
            click.echo(f"    {f'{word}: ' if not number else '  '}{printable(line)}")


def _echo_outcome(report: "Report") -> None:
    failed = [finding for finding in report.findings if finding.status == "failed"]
    if failed:
        hops = ", ".join(dict.fromkeys(finding.label for finding in failed))
        click.echo(f"\n{len(failed)} of {len(report.findings)} checks failed: {hops}")
    else:
        click.echo("\nnothing failed")
