"""What differs from the rendered files, for `natpair diff`: the agent's findings, and those of a direct comparison."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from natpair.core.model import Node
from natpair.core.placement import strays
from natpair.core.repair import Wrong
from natpair.core.status import Status
from natpair.drift.items import Kept
from natpair.errors import CommandFailed, NatpairError, Unsupported
from natpair.system import machine, nft


def drift(kinds: Sequence[Kept], node: Node, config_hash: str, status: Status | None) -> list[Wrong]:
    """Everything that differs on this machine. `status` is the agent's status, None without an agent."""
    missing = sorted({node.private_interface, node.public_interface} - set(machine.interfaces()))
    return [
        *(Wrong(f"interface {name}", "does not exist on this machine", "there") for name in missing),
        *asyncio.run(looked(kinds)),
        *_ruleset(status),
        *(
            Wrong(f"address {own.ip}", f"on {interface}", f"on {right} alone")
            for own, interface, right in strays(node, machine.look().interfaces)
        ),
        *_agent(config_hash, status),
    ]


async def looked(kinds: Sequence[Kept]) -> list[Wrong]:
    """What each kind finds. Nothing is repaired."""
    found: list[Wrong] = []
    for kind in kinds:
        try:
            found += [finding.wrong for finding in await kind.findings()]
        except (NatpairError, OSError) as error:
            found.append(Wrong(type(kind).__name__.lower(), f"cannot be looked at: {error}", "readable"))
    return found


def _ruleset(status: Status | None) -> Iterator[Wrong]:
    marks: dict[str, str] = {}
    for family in nft.FAMILIES:
        try:
            marks |= nft.marks(nft.table(family))
        except (CommandFailed, Unsupported) as error:
            absent = "No such file" in error.message
            found = "absent" if absent else "not readable: " + error.message.splitlines()[0]
            yield Wrong(f"nftables table {family} natpair", found, "loaded")
    wanted = status.desired.traffic if status else ""
    if wanted and marks.get("traffic", wanted) != wanted:
        yield Wrong("traffic state", marks["traffic"], wanted)


def _agent(config_hash: str, status: Status | None) -> Iterator[Wrong]:
    if status is None:
        yield Wrong("agent", "does not answer", f"runs with configuration {config_hash}")
        return
    if status.config_hash != config_hash:
        yield Wrong("agent", f"configuration {status.config_hash}", f"configuration {config_hash}")
    if status.trouble:
        yield Wrong("agent", str(status.trouble), "no trouble")
