"""`natpair completion SHELL`: the shell completion script for natpair's commands, options, hosts and faults."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from natpair.cli.output import say

SHELLS = ("bash", "zsh", "fish")


@click.command(
    name="completion",
    epilog="Example: natpair completion bash. To keep it: "
    "natpair completion bash > /usr/share/bash-completion/completions/natpair",
)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script for SHELL. The script asks natpair for completions, so it is always up to date."""
    from natpair.cli.main import cli

    maker = get_completion_class(shell)
    if maker is not None:
        say(maker(cli, {}, "natpair", "_NATPAIR_COMPLETE").source())
