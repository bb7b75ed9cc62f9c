"""`natpair lab …`: the whole world on one machine, as root, in network namespaces of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.complete import running
from natpair.cli.main import CommandEntry, LazyGroup
from natpair.cli.output import emit_json, say, symbols, table, talk
from natpair_lab.cli import complete

if TYPE_CHECKING:
    from natpair_lab.testbed.faults import Kind
    from natpair_lab.testbed.world import Lab

_ENTRIES = {
    "up": CommandEntry("lab:up", "Boot a pair with clients, switches, route servers and an internet host."),
    "down": CommandEntry("lab:down", "Remove the lab and everything in it."),
    "list": CommandEntry("lab:list_", "List the labs on this machine."),
    "status": CommandEntry("lab:status", "Show a picture, the roles, the fabric's best path and the shares."),
    "exec": CommandEntry("lab:exec_", "Run a program, or a shell, inside a host."),
    "fault": CommandEntry("lab:fault", "Inject a fault, or repair it."),
    "fabric": CommandEntry("lab:fabric", "Set how the provider's fabric behaves."),
    "share": CommandEntry("lab:share", "Set the nodes to which a FIP is shared."),
    "demo": CommandEntry("demo", "Show a failover step by step, with a report."),
    "api": CommandEntry("lab_api", "Run the emulator of the Linode API."),
    "probe": CommandEntry("probe", "Run the probe of `natpair cloud probe` on an emulated account."),
}
_PROFILES = ("fast", "balanced", "conservative")  # core.model.Profile, whose import is too heavy for --help
_DESIGNS = ("natpair", "classic")  # lab.topology.Design, the same


@click.command(
    cls=LazyGroup,
    entries=_ENTRIES,
    package="natpair_lab.cli",
    name="lab",
    epilog="Example: natpair lab up && natpair lab status && natpair lab down",
)
def command() -> None:
    """Build a complete test network on this machine and inject faults into it. Needs root."""


def _name_option(function: click.decorators.FC) -> click.decorators.FC:
    text = "Name of the lab."
    return click.option("--name", default="lab", show_default=True, help=text, shell_complete=complete.labs)(function)


@click.command(epilog="Example: natpair lab up --config gateway.toml --profile fast")
@click.option("--config", type=click.Path(path_type=Path), help="gateway.toml to use [default: the example]")
@click.option("--profile", type=click.Choice(_PROFILES), help="Profile to use instead of the file's.")
@click.option(
    "--design", type=click.Choice(_DESIGNS), default="natpair", help="Kind of pair; classic: see docs/classic.md."
)
@click.option("--keep", is_flag=True, help="Keep the lab even if the pair does not become ready.")
@click.option("--api", "with_api", is_flag=True, help="Also serve an emulated Linode account with this pair.")
@click.option(
    "--api-port", type=click.IntRange(0, 65535), default=18080, show_default=True, help="Port; 0 selects a free one."
)
@_name_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def up(
    config: Path | None,
    profile: str | None,
    design: str,
    keep: bool,
    with_api: bool,
    api_port: int,
    name: str,
    as_json: bool,
) -> None:
    """Boot the lab and wait until the pair is ready.

    With --api, the nodes reach the emulated account at http://198.51.100.20/v4; set linode.api_url to that.
    """
    from natpair.core.model import Profile
    from natpair_lab.testbed.topology import Design
    from natpair_lab.testbed.world import Lab

    def progress(text: str) -> None:
        talk(f"{symbols(sys.stderr).bullet} {text}")

    chosen = Profile(profile) if profile else None
    lab = Lab.up(config, name=name, profile=chosen, design=Design(design), progress=progress)
    try:
        if with_api:
            from natpair_lab.testbed.cloudlab import serve_in_background

            progress(f"emulated account with the pair: {serve_in_background(lab, api_port).url}/v4")
        progress("waiting for one active node and one standby in sync")
        lab.wait_ready()
        reached = lab.warm()
    except BaseException:
        if not keep:
            lab.down()
        raise
    _report(lab, as_json)
    if not reached:
        talk(f"{symbols(sys.stderr).warning} the clients do not reach the internet host; see natpair lab status")
    if not as_json:
        _hints(lab)


@click.command(epilog="Example: natpair lab down")
@_name_option
def down(name: str) -> None:
    """Remove the lab, also one that is half built, and nothing else."""
    from natpair_lab.testbed.world import Lab

    there = Lab.remove(name)
    talk(f"{symbols(sys.stderr).good} " + (f"removed the lab {name}" if there else f"there was no lab called {name}"))


@click.command(name="list", epilog="Example: natpair lab list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_(as_json: bool) -> None:
    """List the labs on this machine, with the state of each."""
    from natpair_lab.testbed import apirecord, netns, state

    rows = []
    for name in running():
        known = state.read(netns.LABS / name)
        account = known is None and apirecord.read(netns.LABS / name) is not None
        rows.append((name, known.phase if known else "account only" if account else "half built"))
    if as_json:
        emit_json({"schema": "natpair/lab-list/v1", "labs": [{"name": name, "phase": phase} for name, phase in rows]})
    else:
        say(table(rows, ("LAB", "PHASE")) or "no lab is running")


@click.command(epilog="Example: natpair lab status --json")
@_name_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def status(name: str, as_json: bool) -> None:
    """Show hosts, the roles that the agents report, the fabric's best path, and the shares."""
    from natpair_lab.testbed.report import look_at_account
    from natpair_lab.testbed.world import Lab

    account = look_at_account(name)
    if account is None:
        _report(Lab.attach(name), as_json)
    elif as_json:
        emit_json(account)
    else:
        say(f"no node yet: the emulated account of the lab {name}, {account.api.url}/v4, has no Linode that is a node")


@click.command(
    name="exec",
    context_settings={"ignore_unknown_options": True},
    epilog="Example: natpair lab exec nat-a -- nft list ruleset",
)
@_name_option
@click.argument("host", shell_complete=complete.hosts)
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
def exec_(name: str, host: str, argv: tuple[str, ...]) -> None:
    """Run a program, by default a shell, inside HOST with this terminal. The exit code is the program's."""
    from natpair_lab.testbed.host import command as inside
    from natpair_lab.testbed.world import Lab

    words = inside(Lab.attach(name).ref(host), argv or (os.environ.get("SHELL", "/bin/sh"),))
    sys.stdout.flush()
    os.execv(words[0], words)  # noqa: S606 - becoming the program passes terminal, signals and exit code on


@click.command(
    epilog="Kinds: power-cut, boot, vlan-down, vlan-dead, public-down, public-dead, partition, flush, kill:SERVICE, "
    "stop:SERVICE, cont:SERVICE. Example: natpair lab fault power-cut active"
)
@_name_option
@click.argument("kind", shell_complete=complete.faults)
@click.argument("target", required=False, shell_complete=complete.nodes)
@click.option("--repair", is_flag=True, help="Repair the fault instead.")
def fault(name: str, kind: str, target: str | None, repair: bool) -> None:
    """Inject a fault into a node. TARGET is the node's name, `active` (the default) or `standby`.

    With --repair, the default TARGET is every node with this fault.
    """
    from natpair_lab.testbed.faults import kind_named, node_meant
    from natpair_lab.testbed.world import Lab

    chosen, lab = kind_named(kind), Lab.attach(name)
    if repair:
        _repair(lab, chosen, kind, target)
        return
    node = node_meant(lab, target, kind)
    chosen.inject(lab, node)
    talk(f"{symbols(sys.stderr).good} {node}: {chosen.words}")


def _repair(lab: Lab, chosen: Kind, kind: str, target: str | None) -> None:
    from natpair_lab.testbed.faults import broken_nodes, node_meant

    broken = broken_nodes(lab, kind)
    wanted = broken if target is None else (node_meant(lab, target, kind),)
    for node in wanted:
        if node in broken:
            chosen.repair(lab, node)
            talk(f"{symbols(sys.stderr).good} {node}: repaired {kind}")
    if not set(wanted) & set(broken):
        where = f"; {' and '.join(broken)} has it" if broken else ""
        what = f"{wanted[0]} does not have the fault {kind}" if wanted else f"no node has the fault {kind}"
        talk(f"nothing to repair: {what}{where}")


@click.command(epilog="Example: natpair lab fabric --converge-ms 3000")
@_name_option
@click.option(
    "--converge-ms", type=click.IntRange(0, 60_000), default=0, help="Delay before the fabric follows a new best path."
)
@click.option("--ignore-med", is_flag=True, help="The route servers ignore MED.")
@click.option("--load-share", is_flag=True, help="The fabric uses equal routes of both nodes at the same time.")
@click.option("--prefer-older", is_flag=True, help="The fabric keeps the older of two equal routes.")
@click.option("--hold-sessions", is_flag=True, help="The route servers refuse BGP from a node without a share.")
def fabric(
    name: str, converge_ms: int, ignore_med: bool, load_share: bool, prefer_older: bool, hold_sessions: bool
) -> None:
    """Set how the provider's fabric behaves. Options that are not given return to their defaults."""
    from natpair_lab.testbed.world import Lab

    Lab.attach(name).fabric(
        converge_ms=converge_ms,
        ignore_med=ignore_med,
        load_share=load_share,
        prefer_older=prefer_older,
        hold_sessions=hold_sessions,
    )


@click.command(epilog="Example: natpair lab share 192.0.2.221 nat-a nat-b")
@_name_option
@click.argument("fip")
@click.argument("nodes", nargs=-1, shell_complete=complete.nodes)
def share(name: str, fip: str, nodes: tuple[str, ...]) -> None:
    """Share FIP to exactly NODES. The route servers refuse it from all other nodes."""
    from natpair_lab.testbed.world import Lab

    Lab.attach(name).share(fip, nodes)
    talk(f"{fip} is shared to {' and '.join(nodes) or 'no node'}")


def _report(lab: Lab, as_json: bool) -> None:
    from natpair_lab.testbed.report import look

    seen = look(lab)
    if as_json:
        emit_json(seen)
        return
    from natpair_lab.testbed.picture import draw

    say(draw(lab.topology, {node.name: node.role for node in seen.nodes}))
    say()
    rows = [(n.name, n.role, n.vrrp, n.traffic, n.epoch, n.announcement, n.sync, n.faults) for n in seen.nodes]
    say(table(rows, ("NODE", "ROLE", "VRRP", "TRAFFIC", "EPOCH", "ANNOUNCES", "SYNC", "FAULTS")))
    say()
    for fip in seen.fips:
        say(
            f"FIP {fip.fip}: the fabric sends it to {' and '.join(fip.best_path) or 'no node'};"
            f" shared to {' and '.join(fip.shared_to) or 'no node'}"
        )
    if seen.fabric_words:
        say(f"the fabric {seen.fabric_words}")
    if seen.api is not None:
        say(f"emulated Linode account: {seen.api.url}/v4 from this machine, {seen.api.inside}/v4 from the lab's hosts")


def _hints(lab: Lab) -> None:
    option = "" if lab.name == "lab" else f" --name {lab.name}"
    talk()
    talk("Things to try:")
    look = "natpair status" if lab.design == _DESIGNS[0] else "gobgp neighbor"
    for words in (
        f"natpair lab status{option}",
        f"natpair lab exec{option} {lab.nodes[0]} -- {look}",
        f"natpair lab fault{option} power-cut active",
        f"natpair lab down{option}",
    ):
        talk(f"  {words}")
