"""How an error becomes a message and an exit code."""

import os
import sys
import traceback

import click

from openclaw_voicecall.cli.options import Invocation, echo_json
from openclaw_voicecall.errors import VoiceCallError, quiet

EXIT_INTERNAL = 70
"""A bug, or a plugin's: nothing the user did. sysexits calls it EX_SOFTWARE."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells report it."""
EXIT_BROKEN_PIPE = 141
"""The reader of our output went away, as shells report it."""


def failure_of(error: BaseException, invocation: Invocation) -> click.ClickException | click.exceptions.Exit:
    """Show an error, and say what to raise so that click ends the process the right way.

    An error is one line on stderr, or with `--json` one object on stdout. Wrong usage is left to click.
    """
    error = _cause(error)
    if isinstance(error, click.ClickException | click.exceptions.Exit):
        return error
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return click.exceptions.Exit(EXIT_INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        drop_output()
        return click.exceptions.Exit(EXIT_BROKEN_PIPE)
    if invocation.debug:
        traceback.print_exception(error)
    if isinstance(error, VoiceCallError):
        return _shown(str(error) or type(error).__name__, error.code, error.exit_code, invocation)
    text = quiet(" ".join(str(error).split()))
    message = f"unexpected {type(error).__name__}{': ' if text else ''}{text}"
    if not invocation.debug:
        message += " (run it again with --debug to see where)"
    return _shown(message, "internal", EXIT_INTERNAL, invocation)


def _shown(message: str, code: str, exit_code: int, invocation: Invocation) -> click.exceptions.Exit:
    if invocation.as_json:
        echo_json({"error": {"code": code, "message": message, "exitCode": exit_code}})
    else:
        click.echo(f"{click.style('error:', fg='red')} {message}", err=True)
    return click.exceptions.Exit(exit_code)


def _cause(error: BaseException) -> BaseException:
    """The error that a group of task errors is about: one of ours before any other."""
    while isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(VoiceCallError)
        error = (ours or error).exceptions[0]
    return error


def drop_output() -> None:
    """Send what is left in stdout's buffer nowhere, so that Python does not complain about it while it exits."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
