"""Writes the help of all commands as `docs/cli.md`: `python -m openclaw_voicecall.cli.docs > docs/cli.md`."""

from collections.abc import Iterator

import click

from openclaw_voicecall import errors
from openclaw_voicecall.cli import PROGRAM, build_cli, failure
from openclaw_voicecall.cli.summary import exit_codes

WIDTH = 100
"""Columns of the help texts, whatever the terminal's."""

_INTRODUCTION = f"""# The command line

This file is made from the program: `python -m openclaw_voicecall.cli.docs > docs/cli.md`. Do not edit it.

`{PROGRAM} COMMAND --help` shows the same. Every command takes `--config`, `--state-dir`, `--json` and `--debug`,
before or after its name. With `--json` stdout carries JSON and nothing else; an error is then an object
`{{"error": {{"code", "message", "exitCode"}}}}`. Without it an error is one line on stderr. Colours are for terminals
only, and `NO_COLOR` turns them off.

Plugins add commands with the hook `voicecall_register_cli`.
"""


def document() -> str:
    """The whole file."""
    parts = [_INTRODUCTION, "## Commands\n"]
    cli = build_cli()
    root = click.Context(cli, info_name=PROGRAM, terminal_width=WIDTH, max_content_width=WIDTH)
    for context in _contexts(root):
        parts.append(f"### {context.command_path}\n\n```text\n{context.get_help()}\n```\n")
    parts.append(_exit_codes())
    return "\n".join(parts)


def _contexts(context: click.Context) -> Iterator[click.Context]:
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _contexts(
                click.Context(
                    child, info_name=name, parent=context, terminal_width=WIDTH, max_content_width=WIDTH
                )
            )


def _exit_codes() -> str:
    meanings: dict[int, list[str]] = {
        2: ["wrong usage"],
        failure.EXIT_INTERNAL: ["an error of this program or of a plugin"],
        failure.EXIT_INTERRUPTED: ["Ctrl-C"],
        failure.EXIT_BROKEN_PIPE: ["the reader of stdout went away"],
    }
    for reason, code in exit_codes():
        meanings.setdefault(code, []).append(f"the call ended with `{reason}`")
    for kind in _kinds(errors.VoiceCallError):
        meanings.setdefault(kind.exit_code, []).append(f"error `{kind.code}`")
    rows = [f"| {code} | {'; '.join(words)} |" for code, words in sorted(meanings.items())]
    return "\n".join(["## Exit codes\n", "| code | when |", "|---|---|", *rows]) + "\n"


def _kinds(base: type[errors.VoiceCallError]) -> Iterator[type[errors.VoiceCallError]]:
    if base.__module__ == errors.__name__ and base is not errors.VoiceCallError:
        yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


if __name__ == "__main__":
    click.echo(document(), nl=False)
