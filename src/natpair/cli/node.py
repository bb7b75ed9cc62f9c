"""What the commands that change this machine have in common: who it is, its files, and what a change would cost."""

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
    """The node this machine is in the configuration `text`, and its bundle; ConfigError with every problem."""
    from natpair.config.load import parse
    from natpair.core.rendered import RenderedFile
    from natpair.render.bundle import render_all
    from natpair.system.machine import capabilities

    gateway = parse(text, source=source)
    me = this_node(gateway, node)
    files = render_all(gateway, me.name, capabilities=capabilities())
    # The configuration goes in with the files made from it, so that neither is ever without the other.
    both = (RenderedFile(paths.CONFIG, text), RenderedFile(paths.APPLIED, text))
    return Target(gateway, me, (*both, *files))


def this_node(gateway: Gateway, name: str | None = None) -> Node:
    """Which node of `gateway` this machine is, by `name`, its addresses or its host name; ConfigError if none."""
    from natpair.config.load import find_node
    from natpair.system.machine import own_addresses

    return find_node(gateway, name=name, hostname=socket.gethostname(), addresses=own_addresses())


def read_config(file: Path) -> str:
    """The text of a configuration; ConfigError if it cannot be read."""
    from natpair.config.load import read

    return read(file)


def in_force() -> Gateway | None:
    """The configuration that this node works by now; None if none was applied, or which one cannot be told.

    It is the copy that the last apply left. Without one, gateway.toml counts only if the agent runs with the same: the
    file may have been edited since.
    """
    from natpair.config.load import load
    from natpair.core.digest import config_hash

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
    """Undo or finish what a killed apply left, before anything starts from its files. It never stops a start."""
    from natpair.apply.transaction import resume

    try:
        said = resume()
    except (NatpairError, OSError) as error:
        said = f"an apply that was cut off could not be undone: {error}"
    if said:
        talk(said)


def require_root() -> None:
    """Unsupported unless this is root."""
    if os.geteuid() != 0:
        raise Unsupported("only root can change this machine", cure="run it as root, or with --dry-run")


def require_key(gateway: Gateway) -> None:
    """ConfigError if this node's copy of the pair's key is missing, too short or readable for others."""
    from natpair.system.key import key_problems

    if problems := key_problems(gateway.heartbeat.key_file):
        raise ConfigError(paths.CONFIG, list(problems))


def require_interfaces(gateway: Gateway, me: Node) -> None:
    """ConfigError, of a file that the command names, if the machine lacks an interface that its node has there."""
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
    """The own addresses that the machine does not have and that `add` lets natpair put there: interface, address.

    ConfigError if one stands on another interface, is missing without `add`, or is in use by another machine.
    """
    from natpair.config.load import with_lines
    from natpair.core.placement import misplaced
    from natpair.system.addresses import in_use_by
    from natpair.system.machine import look

    found = _patiently(lambda: misplaced(me, look().interfaces))
    index = gateway.bit_of(me.name)
    problems, missing = [], []
    for one in found:
        accepted = "swap the interfaces, or write the address that is there"
        message = str(one)
        if not one.elsewhere:
            user = in_use_by(one.interface, one.own) if add else ""
            if add and not user:
                missing.append((one.interface, str(one.own)))
                continue
            accepted = "an address that this machine has; --add-address puts a new one there, if nobody has it"
            message += f"; it is in use: {user}" if user else ""
        problems.append(Problem(f"node[{index}].{one.field}", str(one.own), message, accepted))
    if problems:
        raise ConfigError(source, with_lines(problems, text))
    return tuple(missing)


def _patiently(look: Callable[[], tuple[Misplaced, ...]]) -> tuple[Misplaced, ...]:
    """What `look` finds; an interface that has no address of that kind yet gets some seconds (DHCP, SLAAC, DAD)."""
    found: tuple[Misplaced, ...] = ()

    def settled() -> bool:
        nonlocal found
        found = look()
        return all(one.elsewhere or one.instead for one in found)

    poll(settled, deadline_seconds=_ADDRESS_SECONDS, poll_seconds=_POLL_SECONDS)
    return found


def serves(gateway: Gateway | None) -> bool:
    """Whether clients' traffic passes here now: this machine holds the VIP. True to the kernel, agent or not.

    Where the configuration in force cannot be told, the agent is asked.
    """
    from natpair.system.machine import own_addresses

    if gateway is None:
        status = status_or_none()
        return status is not None and status.role is Role.ACTIVE
    return gateway.pair.vip.ip in own_addresses()


def what_if(old: Gateway | None, new: Gateway, me: Node) -> tuple[Effect, ...]:
    """What the change does to the pair, and to the flows that pass here now: none do on a node that does not serve."""
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
    """Say each effect on stderr, with its count."""
    sign = symbols(sys.stderr)
    for effect in found:
        counts = [f"{n} flows {verb}" for n, verb in _counts(effect) if n]
        talk(
            f"{sign.warning if counts else sign.bullet} {effect.key}: {effect.text}"
            + (f" ({', '.join(counts)})" if counts else "")
        )


def _counts(effect: Effect) -> tuple[tuple[int, str], ...]:
    return (effect.breaks, "break"), (effect.stalls, "stall"), (effect.ages, "may expire")


def agree(found: Sequence[Effect], *, yes: bool) -> None:
    """Ask whether to go on where live flows would suffer; without a terminal NotReady says how to go on."""
    hurt = sum(effect.breaks for effect in found), sum(effect.stalls for effect in found)
    if yes or not any(hurt):
        return
    cure = "--drain-first hands over to the other node first; --yes accepts it"
    said = f"this node serves: {hurt[0]} live flows would break, {hurt[1]} would stall"
    if not (_terminal() and click.confirm(f"{said}. Go on? ({cure})", err=True)):
        raise NotReady(f"not applied: {said}", cure=cure)


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def drained_meanwhile() -> Iterator[None]:
    """Hand the role over, keep out of the election for the while, and come back; NotReady if the peer cannot serve.

    Configurations that differ are no reason against it: on one node after the other, they do differ for a while.
    """
    status = status_or_none()
    if status is None:
        raise NotReady("no agent answers: this node cannot be drained", cure="systemctl start natpair-agent")
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
    """Take this node's drain back, whatever has happened meanwhile. It raises nothing: an error before it counts more.

    An agent that is just being restarted gets some time. If it stays away, its next start finds no drain on the disk.
    """
    if poll(_undrained, deadline_seconds=_UNDRAIN_SECONDS, poll_seconds=_POLL_SECONDS):
        return
    with suppress(OSError):
        Path(paths.DRAINED).unlink(missing_ok=True)
    sign = symbols(sys.stderr).warning
    talk(f"{sign} this node is still drained: its agent does not answer. It will not be when the agent starts again;")
    talk("  or, as soon as it answers: natpair undrain")


def _undrained() -> bool:
    """Whether the node is drained no more, by this order or by itself."""
    with suppress(AgentUnreachable):
        if not client.status().drained:
            return True
        if client.order("undrain").ok:
            talk("undrained: this node may become active again")
            return True
    return False


def _drain(*, force: bool) -> None:
    talk("handing over first")
    answer = client.order("drain", force=force)
    if not answer.ok:
        # Its own advice speaks of a drain that stands; this one is taken back.
        said = answer.message or "not drained"
        raise NotReady(f"not applied: {said}", cure="see 'natpair status' on both nodes")
    talk(answer.message)


def _only_config_differs(status: Status) -> bool:
    peer = status.peer_view
    able = peer.fresh and bool(peer.ready) and bool(peer.synced) and not peer.drained
    return able and status.has("config-differs")
