"""`natpair diff`: compare the configuration with this machine: keys, files, kernel, agent. Changes nothing."""

from __future__ import annotations

from pathlib import Path

import click

from natpair.cli import complete
from natpair.cli import node as machine
from natpair.cli.differences import file_lines, say_files, say_keys
from natpair.cli.named import in_its_file
from natpair.cli.output import emit_json, say, symbols
from natpair.core import paths

DIFFERENT = 2


@click.command(name="diff", epilog="Example: natpair diff examples/gateway.toml --node nat-a")
@click.argument("file", type=click.Path(path_type=Path), default=paths.CONFIG)
@click.option(
    "--node",
    metavar="NAME",
    shell_complete=complete.nodes_in_file,
    help="Name of this node, if it cannot be recognised by its addresses.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 2 if anything differs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@in_its_file
def command(file: Path, node: str | None, exit_code: bool, as_json: bool) -> int:
    """Compare FILE with this machine. The default FILE is /etc/natpair/gateway.toml.

    The output lists the keys that differ from the applied configuration, the files that differ on disk, and what
    differs in the kernel and in the agent. Run it as root to see everything.
    """
    from natpair.agent.repairer import found_without_agent
    from natpair.apply.transaction import make_plan
    from natpair.config.compare import compare
    from natpair.core.model import config_hash
    from natpair.drift.report import drift
    from natpair.system.agentsocket import status_or_none

    wanted = machine.target(machine.read_config(file), str(file), node)
    old = machine.in_force()
    changes = compare(old, wanted.gateway) if old is not None else ()
    plan = make_plan(wanted.bundle)
    kinds = found_without_agent(wanted.gateway, wanted.node.name, wanted.bundle)
    found = drift(kinds, wanted.node, config_hash(wanted.gateway), status_or_none())
    different = bool(changes or not plan.empty or found)
    if as_json:
        document = {
            "schema": "natpair/diff/v1",
            "node": wanted.node.name,
            "different": different,
            "config": changes,
            "files": [file.path for file in plan.changed],
            "removed": plan.removed,
            "diff": list(file_lines(plan)),
            "machine": found,
        }
        emit_json(document)
    else:
        say_keys(changes)
        say_files(plan)
        for one in found:
            say(f"{one.thing}: {one.found}, should be: {one.wanted}")
        if not different:
            say(f"{symbols().good} {wanted.node.name}: no differences")
    return DIFFERENT if exit_code and different else 0
