"""What the kernel and the agent hold, against the files: found without changing anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from natpair.core import paths
from natpair.core.model import Node
from natpair.core.placement import misplaced, strays
from natpair.core.rendered import RenderedFile
from natpair.core.status import Status
from natpair.errors import CommandFailed, Unsupported
from natpair.system import machine, nft, sysctl
from natpair.system.process import run

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as the files say: where, what it should be, what it is."""

    place: str
    wanted: str
    found: str


def drift(
    bundle: Sequence[RenderedFile],
    node: Node,
    fips: Sequence[IPv4Address],
    config_hash: str,
    status: Status | None,
) -> list[Drift]:
    """Everything that differs on this machine; `status` is what the agent says, None without an agent."""
    texts = {file.path: file.text for file in bundle}
    lacking = {node.private_interface, node.public_interface} - set(machine.interfaces())
    found = [
        *_sysctls(texts.get(paths.SYSCTL, "")),
        *_ruleset(status),
        *_blackholes(fips),
        *_addresses(node),
        *_agent(config_hash, status),
    ]
    # One line for a missing interface, not one for each thing that would be on it.
    about = [one for one in found if not any(_is_about(one, name) for name in lacking)]
    return [
        *(Drift(f"interface {name}", "there", "does not exist on this machine") for name in sorted(lacking)),
        *about,
    ]


def _is_about(one: Drift, interface: str) -> bool:
    return f"/{interface}/" in one.place or one.wanted == f"on {interface}"


def _sysctls(text: str) -> Iterator[Drift]:
    for assignment in sysctl.differing(sysctl.parse(text)):
        # An optional one belongs to the machine, which a namespace or a container cannot change.
        if not assignment.optional:
            yield Drift(f"sysctl {assignment.key}", assignment.value, sysctl.current(assignment) or "absent")


def _ruleset(status: Status | None) -> Iterator[Drift]:
    marks: dict[str, str] = {}
    for family in nft.FAMILIES:
        try:
            listing = nft.table(family)
        except (CommandFailed, Unsupported) as error:
            yield Drift(f"nftables table {family} natpair", "loaded", _reason(error))
            continue
        marks |= nft.marks(listing)
    wanted = status.desired.traffic if status else ""
    if wanted and "traffic" in marks and marks["traffic"] != wanted:
        yield Drift("traffic state", wanted, marks["traffic"])


def _reason(error: CommandFailed | Unsupported) -> str:
    return "absent" if "No such file" in error.message else "not readable: " + error.message.splitlines()[0]


def _blackholes(fips: Sequence[IPv4Address]) -> Iterator[Drift]:
    try:
        shown = run(["ip", "-json", "route", "show", "type", "blackhole"], timeout=_SECONDS).stdout
    except (CommandFailed, Unsupported) as error:
        yield Drift("blackhole routes", "readable", error.message)
        return
    there = {str(route["dst"]).removesuffix("/32") for route in json.loads(shown or "[]")}
    for fip in fips:
        if str(fip) not in there:
            yield Drift(f"route blackhole {fip}/32", "there", "absent")


def _addresses(node: Node) -> Iterator[Drift]:
    """Own addresses that are missing, and those that stand on a wrong interface, if beside the right one or not."""
    seen = machine.look().interfaces
    for one in misplaced(node, seen):
        if not one.elsewhere:
            yield Drift(f"address {one.own.ip}", f"on {one.interface}", "absent")
    for own, interface, right in strays(node, seen):
        yield Drift(f"address {own.ip}", f"on {right} alone", f"on {interface}")


def _agent(config_hash: str, status: Status | None) -> Iterator[Drift]:
    if status is None:
        yield Drift("agent", f"runs with configuration {config_hash}", "does not answer")
        return
    if status.config_hash != config_hash:
        yield Drift("agent", f"configuration {config_hash}", f"configuration {status.config_hash}")
    if status.trouble:
        yield Drift("agent", "no trouble", status.trouble)
