"""Shared by the commands that change this machine: which node it is, its files, and what a change would break."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli import client
from natpair.cli.output import symbols, talk
from natpair.core import paths
from natpair.core.status import Role, Status
from natpair.errors import AgentUnreachable, ConfigError, NatpairError, NotReady, Problem, Unsupported
from natpair.system.agentsocket import status_or_none
from natpair.system.signals import undisturbed
from natpair.system.wait import poll

if TYPE_CHECKING:
    from natpair.core.model import Gateway, Node
    from natpair.core.placement import Misplaced
    from natpair.core.rendered import RenderedFile
    from natpair.core.whatif import Effect

_UNDRAIN_SECONDS = 20.0
_ADDRESS_SECONDS = 10.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Target:
    """This machine as one of the pair's nodes, with the files it should have."""

    gateway: Gateway
    node: Node
    bundle: tuple[RenderedFile, ...]


def target(text: str, source: str, node: str | None) -> Target:
    """This machine's node in the configuration `text`, and its files. Raise ConfigError with every problem."""
    from natpair.config.load import parse
    from natpair.core.rendered import RenderedFile
    from natpair.render.bundle import render_all
    from natpair.system.machine import capabilities

    gateway = parse(text, source=source)
    me = this_node(gateway, node)
    files = render_all(gateway, me.name, capabilities=capabilities())
    # The configuration is installed together with the files made from it, so that they always match.
    both = (RenderedFile(paths.CONFIG, text), RenderedFile(paths.APPLIED, text))
    return Target(gateway, me, (*both, *files))


def this_node(gateway: Gateway, name: str | None = None) -> Node:
    """The node of `gateway` that this machine is, by `name`, addresses or host name. Raise ConfigError if none."""
    from natpair.config.load import find_node
    from natpair.system.machine import own_addresses

    return find_node(gateway, name=name, hostname=socket.gethostname(), addresses=own_addresses())


def read_config(file: Path) -> str:
    """The text of a configuration. Raise ConfigError if it cannot be read."""
    from natpair.config.load import read

    return read(file)


def in_force() -> Gateway | None:
    """The configuration in force on this node; None if none was applied or if it cannot be determined.

    It is the copy that the last apply saved. Without that copy it is gateway.toml, but only if the agent runs with the
    same content: the file may have been edited since.
    """
    from natpair.config.load import load
    from natpair.core.model import config_hash

    applied, edited = Path(paths.APPLIED), Path(paths.CONFIG)
    try:
        if applied.exists():
            return load(applied)
        status = status_or_none()
        found = load(edited) if status is not None and edited.exists() else None
        return found if status and found and config_hash(found) == status.config_hash else None
    except ConfigError:
        return None


def resume_apply() -> None:
    """Undo or finish a killed apply before anything starts from its files. An error here never prevents the start."""
    from natpair.apply.transaction import resume

    try:
        said = resume()
    except (NatpairError, OSError) as error:
        said = f"an interrupted apply could not be undone: {error}"
    if said:
        talk(said)


def require_root() -> None:
    """Raise Unsupported unless this process runs as root."""
    if os.geteuid() != 0:
        raise Unsupported("only root can change this machine", fix="run this command as root, or with --dry-run")


def require_key(gateway: Gateway) -> None:
    """Raise ConfigError if this node's copy of the pair's key is missing, too short or readable by other users."""
    from natpair.system.key import key_problems

    if problems := key_problems(gateway.heartbeat.key_file):
        raise ConfigError(paths.CONFIG, list(problems))


def require_interfaces(gateway: Gateway, me: Node) -> None:
    """Raise ConfigError if the machine does not have an interface that its node has in the configuration."""
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
        raise ConfigError("gateway.toml", problems)


def require_addresses(gateway: Gateway, me: Node, source: str, text: str, *, add: bool) -> tuple[tuple[str, str], ...]:
    """The own addresses, as (interface, address), that are missing and that natpair may add because of `add`.

    Raise ConfigError if one is on another interface, is missing without `add`, or is in use by another machine.
    """
    from natpair.config.load import with_lines
    from natpair.core.placement import misplaced
    from natpair.system.arp import in_use_by
    from natpair.system.machine import look

    found = _patiently(lambda: misplaced(me, look().interfaces))
    index = gateway.bit_of(me.name)
    problems, missing = [], []
    for one in found:
        accepted = "the interface that has this address, or the address of this interface"
        message = str(one)
        if not one.elsewhere:
            user = in_use_by(one.interface, one.own) if add else ""
            if add and not user:
                missing.append((one.interface, str(one.own)))
                continue
            accepted = "an address of this machine; --add-address adds a new one that no other machine uses"
            message += f"; the address is in use: {user}" if user else ""
        problems.append(Problem(f"node[{index}].{one.field}", str(one.own), message, accepted))
    if problems:
        raise ConfigError(source, with_lines(problems, text))
    return tuple(missing)


def _patiently(look: Callable[[], tuple[Misplaced, ...]]) -> tuple[Misplaced, ...]:
    """What `look` finds. Wait some seconds for an interface without such an address yet (DHCP, SLAAC, DAD)."""
    found: tuple[Misplaced, ...] = ()

    def settled() -> bool:
        nonlocal found
        found = look()
        return all(one.elsewhere or one.instead for one in found)

    poll(settled, deadline_seconds=_ADDRESS_SECONDS, poll_seconds=_POLL_SECONDS)
    return found


def serves(gateway: Gateway | None) -> bool:
    """Whether clients' traffic passes through this machine now: the kernel has the VIP. It works without an agent.

    If the configuration in force is unknown (`gateway` is None), the agent is asked.
    """
    from natpair.system.machine import own_addresses

    if gateway is None:
        status = status_or_none()
        return status is not None and status.role is Role.ACTIVE
    return gateway.pair.vip.ip in own_addresses()


def what_if(old: Gateway | None, new: Gateway, me: Node) -> tuple[Effect, ...]:
    """The effects of the change on the pair and on the flows through this node. A node that is not active has none."""
    from natpair.core.whatif import Context, anything, effects
    from natpair.system.flows import live_flows

    flows, status = live_flows() if serves(old) else (), status_or_none()
    if old is None:
        return (anything(flows),) if status is not None else ()
    if me.name not in {node.name for node in old.node}:
        return ()
    relayed = status is not None and status.peer_view.fresh and bool(status.peer_view.ready)
    return effects(old, new, Context(me.name, flows, relayed))


def tell(found: Sequence[Effect]) -> None:
    """Print each effect to stderr, with its count of flows."""
    sign = symbols(sys.stderr)
    for effect in found:
        counts = [f"{_flows(n)} {verb}" for n, verb in _counts(effect) if n]
        talk(
            f"{sign.warning if counts else sign.bullet} {effect.key}: {effect.text}"
            + (f" ({', '.join(counts)})" if counts else "")
        )


def _counts(effect: Effect) -> tuple[tuple[int, str], ...]:
    return (effect.breaks, "would break"), (effect.stalls, "would stall"), (effect.ages, "may expire")


def _flows(count: int) -> str:
    return "1 live flow" if count == 1 else f"{count} live flows"


def agree(found: Sequence[Effect], *, yes: bool) -> None:
    """Ask for consent if live flows would break or stall. Raise NotReady without a terminal or consent."""
    hurt = sum(effect.breaks for effect in found), sum(effect.stalls for effect in found)
    if yes or not any(hurt):
        return
    fix = "add --drain-first to hand over to the other node first, or --yes to accept it"
    said = f"this node is active: {_flows(hurt[0])} would break, {_flows(hurt[1])} would stall"
    if not (_terminal() and click.confirm(f"{said}. Continue? ({fix})", err=True)):
        raise NotReady(f"not applied: {said}", fix=fix)


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def drained_meanwhile() -> Iterator[None]:
    """Drain this node inside the `with` block and undrain it afterwards. Raise NotReady if the peer is not ready.

    A configuration that differs between the nodes does not prevent the drain: it differs whenever an apply has run on
    one node and not yet on the other.
    """
    status = status_or_none()
    if status is None:
        raise NotReady("cannot drain this node: no agent answers", fix="run systemctl start natpair-agent")
    if status.drained:
        yield
        return
    try:
        _drain(force=_only_config_differs(status))
        yield
    finally:
        with undisturbed():
            undrain()


def undrain() -> None:
    """End this node's drain. Raise nothing, because an earlier error is more important.

    Wait some time for an agent that is restarting. If it does not answer, remove the drain from the disk.
    """
    if poll(_undrained, deadline_seconds=_UNDRAIN_SECONDS, poll_seconds=_POLL_SECONDS):
        return
    with suppress(OSError):
        Path(paths.DRAINED).unlink(missing_ok=True)
    sign = symbols(sys.stderr).warning
    talk(
        f"{sign} this node is still drained, because its agent does not answer. The drain ends when the agent restarts,"
    )
    talk("  or when you run natpair undrain once the agent answers")


def _undrained() -> bool:
    """Whether the node is not drained any more; if it is, order the agent to undrain."""
    with suppress(AgentUnreachable):
        if not client.status().drained:
            return True
        if client.order("undrain").ok:
            talk("undrained: this node may become active again")
            return True
    return False


def _drain(*, force: bool) -> None:
    talk("draining this node first")
    answer = client.order("drain", force=force)
    if not answer.ok:
        # The answer's own advice is for a drain that stays; this one is ended.
        said = answer.message or "not drained"
        raise NotReady(f"not applied: {said}", fix="see 'natpair status' on both nodes")
    talk(answer.message)


def _only_config_differs(status: Status) -> bool:
    peer = status.peer_view
    able = peer.fresh and bool(peer.ready) and bool(peer.synced) and not peer.drained
    return able and status.has("config-differs")
