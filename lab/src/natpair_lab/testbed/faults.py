"""The elementary faults of a node, each with its repair and its detection, for people, drills and chaos.

`natpair lab fault KIND TARGET` injects them by name; `natpair lab status` detects them in a running lab.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from natpair.errors import LabError, Usage
from natpair.render.services import HANDOVER, PREPARE
from natpair.system.process import run
from natpair_lab.testbed import host
from natpair_lab.testbed.topology import SWITCHES
from natpair_lab.testbed.world import Lab, Link, LinkState

POWER_CUT = "power-cut"
PARTITION = "partition"
FLUSH = "flush"
ACTIVE = "active"
STANDBY = "standby"
_PREFIX = "natpair-"

Act = Callable[[Lab, str], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to break a node, its repair, and both in words."""

    words: str
    inject: Act
    repair: Act


def _link(link: Link, state: LinkState) -> Act:
    return lambda lab, node: lab.link(node, link, state)


def _partition(on: bool) -> Act:
    return lambda lab, _node: lab.partition(on)


def _boot_if_off(lab: Lab, node: str) -> None:
    if not lab.powered(node):
        lab.boot(node)


def _power_on(lab: Lab, node: str) -> None:
    """Also after a power cut that was killed half-way: then the node runs and its cables are dead."""
    if not lab.powered(node):
        lab.boot(node)
        return
    lab.link(node, "vlan", "up")
    lab.link(node, "public", "up")


def _flush(lab: Lab, node: str) -> None:
    lab.exec(node, ["nft", "flush", "ruleset"])


def _nothing(_lab: Lab, _node: str) -> None:
    """No repair is needed: the agent does it."""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        POWER_CUT: Kind("power is cut, both cables first", Lab.power_cut, _power_on),
        "boot": Kind("power is back", _boot_if_off, _boot_if_off),
        "vlan-down": Kind("the VLAN cable is pulled", _link("vlan", "down"), _link("vlan", "up")),
        "vlan-dead": Kind("the VLAN cable loses every frame", _link("vlan", "dead"), _link("vlan", "up")),
        "public-down": Kind("the public cable is pulled", _link("public", "down"), _link("public", "up")),
        "public-dead": Kind("the public cable loses every frame", _link("public", "dead"), _link("public", "up")),
        PARTITION: Kind("the nodes do not hear each other on the VLAN", _partition(True), _partition(False)),
        FLUSH: Kind("another tool ran nft flush ruleset", _flush, _nothing),
    }
)
SERVICE_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "kill": "SIGKILL to the service's processes",
        "stop": "SIGSTOP to the service's processes: they hang",
        "cont": "SIGCONT to the service's processes: they continue",
    }
)
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "cont": signal.SIGCONT}


def kind_named(name: str) -> Kind:
    """The fault called `name`, such as `vlan-dead` or `kill:bird`; Usage with all names."""
    if name in KINDS:
        return KINDS[name]
    verb, colon, service = name.partition(":")
    if colon and service and verb in SERVICE_KINDS:
        return _service_kind(verb, service.removeprefix(_PREFIX))
    known = ", ".join([*KINDS, *(f"{verb}:SERVICE" for verb in SERVICE_KINDS)])
    raise Usage(f"there is no fault called {name}", fix=f"one of: {known}")


def node_meant(lab: Lab, target: str | None, kind: str) -> str:
    """The node that `target` means: a name, `active`, `standby`, or by default the only one that makes sense."""
    if target in lab.nodes:
        return str(target)
    if target is None and kind == "boot":
        return next((node for node in lab.nodes if not lab.powered(node)), lab.nodes[0])
    if target not in (None, ACTIVE, STANDBY):
        raise Usage(f"{target} is not a node of this lab", fix=f"{', '.join(lab.nodes)}, active or standby")
    wanted = target or ACTIVE
    found = [node for node in lab.nodes if lab.role(node) == wanted]
    if len(found) != 1:
        raise LabError(f"the lab has {len(found)} nodes that are {wanted} now", fix=f"say {' or '.join(lab.nodes)}")
    return found[0]


def broken_nodes(lab: Lab, kind: str) -> tuple[str, ...]:
    """The nodes that have the fault `kind` now; a repair without a target repairs these.

    A node without power may have had any other fault before. Its cable is gone now, and so is what a repair would
    change.
    """
    wanted = {_shown_as(kind)}
    if kind == POWER_CUT:
        halves = {f"{link}-dead" for link in SWITCHES}
        return tuple(node for node in lab.nodes if wanted & (found := set(damage(lab, node))) or halves <= found)
    return tuple(node for node in lab.nodes if wanted & set(damage(lab, node)))


def _shown_as(kind: str) -> str:
    verb, colon, service = kind.partition(":")
    if not colon:
        return POWER_CUT if kind == "boot" else kind
    return f"{'stop' if verb == 'cont' else verb}:{service.removeprefix(_PREFIX)}"


def _service_kind(verb: str, service: str) -> Kind:
    def inject(lab: Lab, node: str) -> None:
        lab.kill(node, service_named(lab, service), _SIGNALS[verb])

    def repair(lab: Lab, node: str) -> None:
        if verb == "kill":
            lab.service(node, service_named(lab, service), "start")
        else:
            lab.kill(node, service_named(lab, service), signal.SIGCONT)

    if service in {name.removeprefix(_PREFIX) for name in (PREPARE, HANDOVER)}:
        raise Usage(f"{service} runs once at boot and cannot be signalled")
    return Kind(f"{service}: {SERVICE_KINDS[verb]}", inject, repair)


def service_named(lab: Lab, short: str) -> str:
    """The full name of a service; `speaker` is the one that speaks BGP in this lab's design."""
    return lab.parts.speaker if short == "speaker" else lab.parts.service_prefix + short


def damage(lab: Lab, node: str) -> tuple[str, ...]:
    """The faults of `node`, by the names of `natpair lab fault`."""
    if not lab.powered(node):
        return (POWER_CUT,)
    return (*_of_cables(lab, node), *_of_services(lab, node))


def _of_cables(lab: Lab, node: str) -> Iterator[str]:
    for switch in SWITCHES:
        port, faults = lab.port(node, switch), lab.switch_faults(switch)
        if not _is_up(lab, switch, port):
            yield f"{switch}-down"
        if port in faults.dead:
            yield f"{switch}-dead"
        if faults.partition is not None and port in faults.partition:
            yield PARTITION


def _is_up(lab: Lab, switch: str, port: str) -> bool:
    argv = ["ip", "-n", lab.switch_netns(switch), "-o", "link", "show", "dev", port]
    flags = run(argv, timeout=10, ok=(0, 1)).stdout.partition("<")[2].partition(">")[0]
    return "UP" in flags.split(",")


def _of_services(lab: Lab, node: str) -> Iterator[str]:
    ref = lab.ref(node)
    for service in lab.services(node)["services"]:
        short = str(service["name"]).removeprefix(lab.parts.service_prefix)
        if service["state"] in ("failed", "restarting"):
            yield f"kill:{short}"
        elif service["pid"] is not None and _is_stopped(ref, int(service["pid"])):
            yield f"stop:{short}"


def _is_stopped(ref: host.InitRef, pid: int) -> bool:
    """Whether a process of the host, by its PID there, is stopped (state T of proc(5))."""
    try:
        return ref.path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
