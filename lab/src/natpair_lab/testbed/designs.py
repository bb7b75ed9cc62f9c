"""The parts of a lab that depend on the design of its pair: the nodes' disks, services and status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from natpair.core.model import Gateway
from natpair.core.paths import AGENT_SOCKET
from natpair.core.status import Status
from natpair.render import services
from natpair.system import agentsocket
from natpair_lab.testbed import node
from natpair_lab.testbed.classic import files as classic
from natpair_lab.testbed.classic.status import classic_status
from natpair_lab.testbed.host import InitRef
from natpair_lab.testbed.init import Unit
from natpair_lab.testbed.topology import Design, Topology

_ASK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one design. Services: `speaker` speaks BGP, `election` VRRP, `replicator` keeps flows in sync."""

    make_disk: Callable[[Path, Topology, str, str, str], None]
    """Folder, plan, node, text of gateway.toml, the pair's key."""
    units: Callable[[Gateway, str, Path], tuple[Unit, ...]]
    """Gateway, node, the node's disk."""
    status: Callable[[InitRef, str, Gateway, str], Status | None]
    """Supervisor, network namespace, gateway, node."""
    speaker: str
    election: str
    replicator: str
    service_prefix: str = ""
    """The prefix that people may leave out of a service's name."""


def _natpair_disk(folder: Path, plan: Topology, name: str, text: str, key: str) -> None:
    node.make_disk(folder, plan.gateway, name, text, key)


def _natpair_units(gateway: Gateway, name: str, disk: Path) -> tuple[Unit, ...]:
    return node.units(gateway, name) if node.is_installed(disk) else ()


def _natpair_status(ref: InitRef, _netns: str, _gateway: Gateway, _name: str) -> Status | None:
    # Through /proc/PID/root the path stays far below the 108 bytes of sun_path.
    return agentsocket.status_or_none(timeout=_ASK_SECONDS, socket_path=ref.path(AGENT_SOCKET))


def _classic_disk(folder: Path, plan: Topology, name: str, _text: str, key: str) -> None:
    etc = node.blank_disk(folder, name)
    targets = [address.ip for address in plan.internet[:2]]
    for file in classic.files(plan.gateway, name, targets, key):
        node.put(etc, file.path, file.text, file.mode)


def _classic_units(_gateway: Gateway, _name: str, _disk: Path) -> tuple[Unit, ...]:
    return classic.units()


PARTS: Mapping[Design, Parts] = MappingProxyType(
    {
        Design.NATPAIR: Parts(
            make_disk=_natpair_disk,
            units=_natpair_units,
            status=_natpair_status,
            speaker=services.BIRD,
            election=services.KEEPALIVED,
            replicator=services.CONNTRACKD,
            service_prefix="natpair-",
        ),
        Design.CLASSIC: Parts(
            make_disk=_classic_disk,
            units=_classic_units,
            status=classic_status,
            speaker=classic.SPEAKER,
            election=classic.KEEPALIVED,
            replicator=classic.CONNTRACKD,
        ),
    }
)
