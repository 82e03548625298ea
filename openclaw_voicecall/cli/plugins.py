"""The command that shows the loaded plugins."""

from dataclasses import asdict

import click

from openclaw_voicecall.cli.options import Invocation, common_options, echo_json


@click.command()
@click.option("--verbose", "-v", is_flag=True, help="Also what was done to load them, in order.")
@common_options
@click.pass_obj
def plugins(invocation: Invocation, verbose: bool) -> None:
    """List the loaded plugins and what they register."""
    from openclaw_voicecall.cli.settings import load_plugins
    from openclaw_voicecall.cli.summary import table

    registry = load_plugins(invocation)
    if invocation.as_json:
        echo_json({"plugins": [asdict(plugin) for plugin in registry.plugins], "steps": registry.steps})
        return
    rows = [("plugin", "from", "distribution", "registers")]
    for plugin in registry.plugins:
        registers = "; ".join(
            f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in plugin.registers.items()
        )
        distribution = f"{plugin.distribution} {plugin.version}" if plugin.distribution else "-"
        rows.append((plugin.name, plugin.source, distribution, registers or "nothing"))
    click.echo("\n".join(table(rows)))
    if verbose:
        click.echo("\n".join(["", *(f"{number}. {step}" for number, step in enumerate(registry.steps, 1))]))
