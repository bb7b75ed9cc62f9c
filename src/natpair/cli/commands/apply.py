"""`natpair apply`: apply gateway.toml to this node, completely or not at all."""

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
    help="Name of this node, if it cannot be recognised by its addresses.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would change, and how many live flows would break.")
@click.option("--drain-first", is_flag=True, help="If this node is active, hand over first and undrain afterwards.")
@click.option(
    "--add-address",
    is_flag=True,
    help="Add a missing own address of this node to its interface, unless another machine uses that address.",
)
@click.option("--yes", is_flag=True, help="Do not ask, even if live flows would break or stall.")
@click.option(
    "--confirm",
    "confirm_seconds",
    type=click.FloatRange(5, 86_400),
    metavar="SECONDS",
    help="Roll back after this time unless `natpair confirm` is run.",
)
@click.option(
    "--health-seconds",
    type=click.FloatRange(3, 600),
    default=HEALTH_SECONDS,
    show_default=True,
    help="Roll back if the node is not as healthy as before within this time.",
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

    Each file is first checked by its daemon's own parser. The command rolls back if a daemon refuses its file, if the
    node does not become as healthy as before, or on Ctrl-C. If the command is killed, the next apply, agent start or
    boot rolls back. The default FILE is /etc/natpair/gateway.toml; any other FILE is installed there.

    If live flows would break, the command says how many and asks first. Without a terminal it ends with exit code 75.
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
        talk(f"next: run this on {wanted.gateway.peer_of(wanted.node.name).name} too, if you have not yet")
    for interface, address in addresses:
        talk(
            f"{address} is on {interface} until the next boot; add it to the machine's network configuration to keep it"
        )
    if confirm_seconds is not None and not plan.empty:
        talk(f"rolls back in {confirm_seconds:g} s unless you run: natpair confirm")


def carry_out(wanted: machine.Target, terms: Terms, health_seconds: float, *, drain: bool) -> Plan:
    """Apply `wanted`; with `drain`, drain this node first and undrain it afterwards."""
    from natpair.apply.settle import Settled
    from natpair.apply.transaction import apply
    from natpair.core.model import config_hash
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
    """Print what was changed, or what would change."""
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
        say(f"{symbols().good} {node}: up to date, nothing to change")
    elif dry_run:
        _say_plan(plan, changes, effects)
    else:
        _say_done(plan, node)


def _say_plan(plan: Plan, changes: Sequence[KeyChange], effects: Sequence[Effect]) -> None:
    from natpair.cli.differences import say_files, say_keys

    say_keys(changes)
    say_files(plan)
    talk(f"{_count(plan)} would change; {_to_reload(plan)}")
    machine.tell(effects)


def _say_done(plan: Plan, node: str) -> None:
    from natpair.apply.reload import Step

    say(f"{symbols().good} {node}: {_count(plan)} changed; {_reloaded(plan)}")
    if Step.UNITS in plan.steps:
        talk(f"to start natpair now and at every boot: systemctl enable --now natpair-{{{','.join(_DAEMONS)}}}")


def _count(plan: Plan) -> str:
    count = len(plan.changed) + len(plan.removed)
    return f"{count} file" if count == 1 else f"{count} files"


def _to_reload(plan: Plan) -> str:
    return f"to reload: {_names(plan)}" if plan.steps else "nothing to reload"


def _reloaded(plan: Plan) -> str:
    return f"reloaded: {_names(plan)}" if plan.steps else "nothing to reload"


def _names(plan: Plan) -> str:
    return ", ".join(step.value for step in plan.steps)
