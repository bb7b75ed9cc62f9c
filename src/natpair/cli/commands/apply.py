"""`natpair apply`: make this node what gateway.toml says, whole or not at all."""

from __future__ import annotations

import difflib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.output import emit_json, say, symbols, talk
from natpair.core import paths
from natpair.errors import AgentUnreachable, ConfigError, Problem, Unsupported

if TYPE_CHECKING:
    from natpair.core.model import Gateway, Node
    from natpair.core.rendered import RenderedFile
    from natpair.system.apply import Plan

_DAEMONS = ("prepare", "conntrackd", "bird", "keepalived", "agent")


@click.command(name="apply", epilog="Example: natpair apply --dry-run")
@click.argument("file", type=click.Path(path_type=Path), default=paths.CONFIG)
@click.option("--node", metavar="NAME", help="Which node this machine is, if its addresses do not tell.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(file: Path, node: str | None, dry_run: bool, as_json: bool) -> None:
    """Write the files of this node and reload the daemons whose files changed.

    Each file is judged by its daemon's own parser first. If a daemon refuses, or on Ctrl-C, the previous files
    come back. FILE is /etc/natpair/gateway.toml unless given; another one is installed there.
    """
    from natpair.config.load import find_node, load
    from natpair.system.apply import apply, make_plan
    from natpair.system.machine import own_addresses

    gateway = load(file)
    me = find_node(gateway, name=node, hostname=socket.gethostname(), addresses=own_addresses())
    bundle = _bundle(gateway, me, file)
    if dry_run:
        plan = make_plan(bundle)
    else:
        _require_root()
        _require_interfaces(gateway, me)
        plan = apply(bundle)
        _refresh_agent(gateway)
    _report(plan, me, dry_run=dry_run, as_json=as_json)


def _refresh_agent(gateway: Gateway) -> None:
    # By what the agent says it runs with, not by what changed on disk: the file may have been edited in place.
    from natpair.cli.client import request
    from natpair.core.digest import config_hash
    from natpair.system.reload import restart_agent

    try:
        _, status = request("GET", "/v1/status")
    except AgentUnreachable:
        return
    if status.get("config_hash") != config_hash(gateway):
        talk("the agent runs with another configuration: it is restarted")
        restart_agent()


def _bundle(gateway: Gateway, me: Node, file: Path) -> tuple[RenderedFile, ...]:
    from natpair.core.rendered import RenderedFile
    from natpair.render.bundle import render_all
    from natpair.system.machine import capabilities

    files = render_all(gateway, me.name, capabilities=capabilities())
    # The configuration goes in with the files made from it, so that neither is ever without the other.
    return (RenderedFile(paths.CONFIG, file.read_text(encoding="utf-8")), *files)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise Unsupported("only root can change this machine", cure="run it as root, or with --dry-run")


def _require_interfaces(gateway: Gateway, me: Node) -> None:
    from natpair.system.machine import interfaces

    there = interfaces()
    index = gateway.bit_of(me.name)
    accepted = f"one of this machine's interfaces: {', '.join(there)}"
    problems = [
        Problem(f"node[{index}].{field}", name, "does not exist on this machine", accepted)
        for field, name in (("private_interface", me.private_interface), ("public_interface", me.public_interface))
        if name not in there
    ]
    if problems:
        raise ConfigError(paths.CONFIG, problems)


def _report(plan: Plan, me: Node, *, dry_run: bool, as_json: bool) -> None:
    from natpair.system.reload import Step

    if as_json:
        document = {
            "schema": "natpair/apply/v1",
            "node": me.name,
            "dry_run": dry_run,
            "changed": [file.path for file in plan.changed],
            "reloaded": [step.value for step in plan.steps],
        }
        emit_json(document)
        return
    if plan.empty:
        say(f"{symbols().good} {me.name}: everything is in place")
        return
    if dry_run:
        for file in plan.changed:
            _say_difference(file)
        talk(f"{len(plan.changed)} files would change; would be told: {_names(plan)}")
    else:
        say(f"{symbols().good} {me.name}: {len(plan.changed)} files changed; told: {_names(plan)}")
        if Step.UNITS in plan.steps:
            talk(f"to start it now and at each boot: systemctl enable --now natpair-{{{','.join(_DAEMONS)}}}")


def _names(plan: Plan) -> str:
    return ", ".join(step.value for step in plan.steps) or "nobody"


def _say_difference(file: RenderedFile) -> None:
    from natpair.system.files import read_if_there

    there = read_if_there(Path(file.path))
    if there is None:
        say(f"+ {file.path} (new)")
        return
    before, after = there.splitlines(), file.text.splitlines()
    for line in difflib.unified_diff(before, after, file.path, file.path, lineterm="", n=2):
        say(line)
