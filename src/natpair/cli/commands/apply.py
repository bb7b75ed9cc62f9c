"""`natpair apply`: make this node what gateway.toml says, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli import complete
from natpair.cli import node as machine
from natpair.cli.named import in_its_file
from natpair.cli.output import emit_json, say, symbols, talk
from natpair.core import paths

if TYPE_CHECKING:
    from natpair.apply.transaction import Plan, Terms
    from natpair.config.compare import KeyChange
    from natpair.core.whatif import Effect

_DAEMONS = ("prepare", "conntrackd", "bird", "keepalived", "agent", "handover")
HEALTH_SECONDS = 30.0


@click.command(name="apply", epilog="Example: natpair apply --dry-run")
@click.argument("file", type=click.Path(path_type=Path), default=paths.CONFIG)
@click.option(
    "--node",
    metavar="NAME",
    shell_complete=complete.nodes_in_file,
    help="Which node this machine is, if its addresses do not tell.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would change, and how many live flows would suffer.")
@click.option("--drain-first", is_flag=True, help="If this node serves, hand over first and come back afterwards.")
@click.option(
    "--add-address",
    is_flag=True,
    help="Put an own address of the file on its interface if the machine does not have it and nobody else has, either.",
)
@click.option("--yes", is_flag=True, help="Go on although live flows break or stall.")
@click.option(
    "--confirm",
    "confirm_seconds",
    type=click.FloatRange(5, 86_400),
    metavar="SECONDS",
    help="Go back by itself after so long, unless `natpair confirm` comes first.",
)
@click.option(
    "--health-seconds",
    type=click.FloatRange(3, 600),
    default=HEALTH_SECONDS,
    show_default=True,
    help="Go back if the node is not as well as before within so long.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@in_its_file
def command(
    file: Path,
    node: str | None,
    dry_run: bool,
    drain_first: bool,
    add_address: bool,
    yes: bool,
    confirm_seconds: float | None,
    health_seconds: float,
    as_json: bool,
) -> None:
    """Write the files of this node and reload the daemons whose files changed.

    Each file is judged by its daemon's own parser first. If a daemon refuses, if the node is not as well as before, or
    on Ctrl-C, the previous files come back; what a kill cut off is undone by the next apply, agent start or boot. FILE
    is /etc/natpair/gateway.toml unless given; another one is installed there.

    Before anything is touched it says how many live flows would break, and asks; exit code 75 without a terminal.
    """
    from natpair.apply.transaction import Terms, make_plan
    from natpair.config.compare import compare

    text = machine.read_config(file)
    wanted = machine.target(text, str(file), node)
    old = machine.in_force()
    changes = compare(old, wanted.gateway) if old is not None else ()
    effects = machine.what_if(old, wanted.gateway, wanted.node)
    if dry_run:
        report(make_plan(wanted.bundle), wanted.node.name, changes, effects, dry_run=True, as_json=as_json)
        return
    machine.require_root()
    machine.require_interfaces(wanted.gateway, wanted.node)
    addresses = machine.require_addresses(wanted.gateway, wanted.node, str(file), text, add=add_address)
    machine.require_key(wanted.gateway)
    machine.tell(effects)
    drain = drain_first and machine.serves(old)
    if not drain:
        machine.agree(effects, yes=yes)
    terms = Terms(confirm_seconds=confirm_seconds, grace_seconds=health_seconds, addresses=addresses)
    plan = carry_out(wanted, terms, health_seconds, drain=drain)
    report(plan, wanted.node.name, changes, effects, dry_run=False, as_json=as_json)
    if not plan.empty:
        talk(f"next: the same on {wanted.gateway.peer_of(wanted.node.name).name}, if it has not been done there")
    for interface, address in addresses:
        talk(f"{address} is on {interface} until the next boot: write it into the machine's network configuration, too")
    if confirm_seconds is not None and not plan.empty:
        talk(f"goes back by itself in {confirm_seconds:g} s unless you say: natpair confirm")


def carry_out(wanted: machine.Target, terms: Terms, health_seconds: float, *, drain: bool) -> Plan:
    """Apply `wanted`, handing the role over for the while if `drain`."""
    from natpair.apply.settle import Settled
    from natpair.apply.transaction import apply
    from natpair.core.digest import config_hash
    from natpair.core.rendered import rendered_digest

    settle = Settled(config_hash(wanted.gateway), health_seconds, talk, rendered_digest(wanted.bundle))
    with machine.drained_meanwhile() if drain else nullcontext():
        return apply(wanted.bundle, terms=terms, settle=settle)


def report(
    plan: Plan,
    node: str,
    changes: Sequence[KeyChange],
    effects: Sequence[Effect],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Say what was done, or would be."""
    if as_json:
        emit_json(
            {
                "schema": "natpair/apply/v1",
                "node": node,
                "dry_run": dry_run,
                "config": changes,
                "changed": [file.path for file in plan.changed],
                "removed": plan.removed,
                "reloaded": [step.value for step in plan.steps],
                "effects": effects,
            }
        )
    elif plan.empty:
        say(f"{symbols().good} {node}: everything is in place")
    elif dry_run:
        _say_plan(plan, changes, effects)
    else:
        _say_done(plan, node)


def _say_plan(plan: Plan, changes: Sequence[KeyChange], effects: Sequence[Effect]) -> None:
    from natpair.cli.differences import say_files, say_keys

    say_keys(changes)
    say_files(plan)
    talk(f"{_count(plan)} would change; would be told: {_names(plan)}")
    machine.tell(effects)


def _say_done(plan: Plan, node: str) -> None:
    from natpair.apply.reload import Step

    say(f"{symbols().good} {node}: {_count(plan)} changed; told: {_names(plan)}")
    if Step.UNITS in plan.steps:
        talk(f"to start it now and at each boot: systemctl enable --now natpair-{{{','.join(_DAEMONS)}}}")


def _count(plan: Plan) -> str:
    return f"{len(plan.changed) + len(plan.removed)} files"


def _names(plan: Plan) -> str:
    return ", ".join(step.value for step in plan.steps) or "nobody"
