"""Faults by name, for people and scripts: `natpair lab fault KIND TARGET` and its repair."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from natpair.errors import LabError
from natpair.lab.world import Lab, Leg
from natpair.render.services import PREPARE

ACTIVE = "active"
STANDBY = "standby"
_PREFIX = "natpair-"

Act = Callable[[Lab, str], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to break a node, its repair, and what both are in words."""

    words: str
    inject: Act
    repair: Act


def _link(leg: Leg, state: str) -> Act:
    def act(lab: Lab, node: str) -> None:
        lab.link(node, leg, "down" if state == "down" else "dead" if state == "dead" else "up")

    return act


def _partition(on: bool) -> Act:
    return lambda lab, _node: lab.partition(on)


def _boot_if_off(lab: Lab, node: str) -> None:
    if not lab.powered(node):
        lab.boot(node)


def _flush(lab: Lab, node: str) -> None:
    lab.exec(node, ["nft", "flush", "ruleset"])


def _nothing(_lab: Lab, _node: str) -> None:
    """The agent repairs this by itself."""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "power-cut": Kind("power is gone, both cables first", Lab.power_cut, _boot_if_off),
        "boot": Kind("power is back", _boot_if_off, _boot_if_off),
        "vlan-down": Kind("the VLAN cable is pulled", _link("vlan", "down"), _link("vlan", "up")),
        "vlan-dead": Kind("the VLAN cable loses every frame", _link("vlan", "dead"), _link("vlan", "up")),
        "public-down": Kind("the public cable is pulled", _link("public", "down"), _link("public", "up")),
        "public-dead": Kind("the public cable loses every frame", _link("public", "dead"), _link("public", "up")),
        "partition": Kind("the nodes do not hear each other on the VLAN", _partition(True), _partition(False)),
        "flush": Kind("a stranger ran nft flush ruleset", _flush, _nothing),
    }
)
SERVICE_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "kill": "SIGKILL to the service's processes",
        "stop": "SIGSTOP: they are there and do nothing",
        "cont": "SIGCONT: they go on",
    }
)
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "cont": signal.SIGCONT}


def kind_named(name: str) -> Kind:
    """The fault called `name`, such as `vlan-dead` or `kill:bird`; LabError with all there are."""
    if name in KINDS:
        return KINDS[name]
    verb, colon, service = name.partition(":")
    if colon and service and verb in SERVICE_KINDS:
        return _service_kind(verb, service.removeprefix(_PREFIX))
    known = ", ".join([*KINDS, *(f"{verb}:SERVICE" for verb in SERVICE_KINDS)])
    raise LabError(f"there is no fault called {name}", cure=f"one of: {known}")


def node_meant(lab: Lab, target: str | None, kind: str) -> str:
    """The node that `target` means: a name, `active`, `standby`, or by default the one that makes sense."""
    if target in lab.nodes:
        return str(target)
    if target is None and kind == "boot":
        return next((node for node in lab.nodes if not lab.powered(node)), lab.nodes[0])
    if target not in (None, ACTIVE, STANDBY):
        raise LabError(f"{target} is not a node of this lab", cure=f"{', '.join(lab.nodes)}, active or standby")
    wanted = target or ACTIVE
    found = [n for n in lab.nodes if (status := lab.status(n)) is not None and status.get("role") == wanted]
    if len(found) != 1:
        raise LabError(f"the lab has {len(found)} nodes that are {wanted} now", cure=f"say {' or '.join(lab.nodes)}")
    return found[0]


def _service_kind(verb: str, service: str) -> Kind:
    def inject(lab: Lab, node: str) -> None:
        lab.kill(node, _full_name(lab, service), _SIGNALS[verb])

    def repair(lab: Lab, node: str) -> None:
        if verb == "kill":
            lab.service(node, _full_name(lab, service), "start")
        else:
            lab.kill(node, _full_name(lab, service), signal.SIGCONT)

    if service == PREPARE.removeprefix(_PREFIX):
        raise LabError(f"{service} runs once at boot and cannot be signalled")
    return Kind(f"{service}: {SERVICE_KINDS[verb]}", inject, repair)


def _full_name(lab: Lab, short: str) -> str:
    return lab.parts.service_prefix + short
