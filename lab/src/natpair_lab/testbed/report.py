"""Reads a running lab once, as data: what the agents report, what the fabric does, which faults there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from natpair.core.status import Announced, Role, Status
from natpair_lab.testbed import apirecord, netns, state
from natpair_lab.testbed.fabric import Knobs
from natpair_lab.testbed.faults import damage
from natpair_lab.testbed.topology import SWITCHES, Design
from natpair_lab.testbed.world import Lab

SCHEMA = "natpair/lab/v1"
OFF = "off"
UNRESPONSIVE = "unresponsive"
_NOTHING = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """One node. `role` is `off` without power and `unresponsive` if its agent does not answer."""

    name: str
    role: str
    vrrp: str = _NOTHING
    traffic: str = _NOTHING
    epoch: int | str = _NOTHING
    announcement: str = _NOTHING
    sync: str = _NOTHING
    faults: str
    failing: tuple[str, ...]
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class FipSeen:
    """One FIP: the nodes to which the fabric sends it, and those that the share table allows."""

    fip: str
    best_path: tuple[str, ...]
    shared_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApiSeen:
    """Where the emulated account of a lab is served: for this machine, and for the lab's hosts."""

    url: str
    inside: str


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """A lab that is only an account so far; the JSON of `natpair lab status --json` then."""

    schema: str
    name: str
    nodes: tuple[NodeSeen, ...]
    api: ApiSeen


@dataclass(frozen=True, slots=True)
class LabSeen:
    """The whole lab at one time; the JSON of `natpair lab status --json`."""

    schema: str
    name: str
    folder: str
    design: Design
    nodes: tuple[NodeSeen, ...]
    clients: tuple[str, ...]
    internet: tuple[str, ...]
    vip: str
    fips: tuple[FipSeen, ...]
    fabric: Knobs
    fabric_words: str
    api: ApiSeen | None


def look_at_account(name: str) -> AccountSeen | None:
    """The account of the lab called `name`, if there is one and none of its Linodes is a node yet."""
    folder = netns.LABS / name
    api = _api(apirecord.read(folder))
    return None if api is None or state.read(folder) is not None else AccountSeen(SCHEMA, name, (), api)


def look(lab: Lab) -> LabSeen:
    """Query everything in `lab` once."""
    shares = lab.shares()
    return LabSeen(
        schema=SCHEMA,
        name=lab.name,
        folder=str(lab.folder),
        design=lab.design,
        nodes=tuple(_node(lab, name) for name in lab.nodes),
        clients=tuple(str(address.ip) for _, address in lab.topology.clients),
        internet=tuple(str(address.ip) for address in lab.topology.internet),
        vip=str(lab.gateway.pair.vip.ip),
        fips=tuple(FipSeen(fip, lab.best_path(IPv4Address(fip)), nodes) for fip, nodes in shares.items()),
        fabric=lab.knobs(),
        fabric_words=", ".join(_fabric_words(lab.knobs())),
        api=_api(lab.api()),
    )


def _api(record: apirecord.ApiRecord | None) -> ApiSeen | None:
    return None if record is None or not record.alive else ApiSeen(record.url, record.inside)


def _node(lab: Lab, name: str) -> NodeSeen:
    powered = lab.powered(name)
    status = lab.status(name) if powered else None
    faults, failing = ", ".join(_faults(lab, name)) or _NOTHING, tuple(_failing(lab, name)) if powered else ()
    if status is None:
        return NodeSeen(name=name, role=UNRESPONSIVE if powered else OFF, faults=faults, failing=failing)
    return NodeSeen(
        name=name,
        role=status.role,
        vrrp=status.vrrp or _NOTHING,
        traffic=status.traffic or _NOTHING,
        epoch=status.epoch if status.phase else _NOTHING,  # a classic node has neither
        announcement=_announced(status.announcement),
        sync=_sync(status),
        faults=faults,
        failing=failing,
        status=status,
    )


def _announced(said: Announced | None) -> str:
    if said is None:
        return _NOTHING
    return said.community if said.med is None else f"{said.community} MED {said.med}"


def _sync(status: Status) -> str:
    """Whether a standby could take over all flows; an active node has no peer to be in sync with."""
    if status.role is not Role.STANDBY:
        return _NOTHING
    return "synced" if status.synced else "not synced"


def _faults(lab: Lab, name: str) -> Iterator[str]:
    yield from damage(lab, name)
    for switch in SWITCHES if lab.powered(name) else ():
        port, faults = lab.port(name, switch), lab.switch_faults(switch)
        if port in faults.loss:
            yield f"{switch} loses {faults.loss[port] / 10:g} %"


def _failing(lab: Lab, name: str) -> Iterator[str]:
    for service in lab.services(name)["services"]:
        if service["state"] in ("failed", "restarting"):
            yield str(service["name"])


def _fabric_words(knobs: Knobs) -> Iterator[str]:
    if knobs.converge_ms:
        yield f"follows a new best path {knobs.converge_ms} ms late"
    if knobs.ignore_med:
        yield "ignores MED"
    if knobs.load_share:
        yield "shares load over equal routes"
    if knobs.prefer_older:
        yield "keeps the older of equal routes"
    if knobs.hold_sessions:
        yield "refuses sessions without a share"
