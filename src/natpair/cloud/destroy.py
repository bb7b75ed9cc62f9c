"""Remove a pair: delete what natpair created, and leave the rest as it was. The steps are pure.

Everything with the stamp was created by natpair. Of an adopted Linode, only the shares are removed. The file is changed
first: a floating address that is deleted with its Linode becomes "auto" while the account still shows which one it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from natpair.cloud.desired import Wanted, wanted_of
from natpair.cloud.execute import Pace
from natpair.cloud.observed import Found, observe
from natpair.config.auto import AUTO, STAMP, Draft, fill
from natpair.config.load import parse_draft
from natpair.errors import ApiError, NotReady
from natpair.linode import sharing
from natpair.linode.client import LinodeClient

_MOST_TRIES = 3


class UndoKind(StrEnum):
    """What a step removes."""

    FILE = "write-file"
    UNSHARE = "unshare"
    LINODE = "delete-linode"
    FIREWALL = "delete-firewall"
    GROUP = "delete-group"


@dataclass(frozen=True, slots=True)
class UndoStep:
    """One thing to remove; `number` is that of the Linode, firewall or group."""

    kind: UndoKind
    text: str
    number: int | None = None
    addresses: tuple[IPv4Address, ...] = ()
    keys: tuple[str, ...] = ()


def undo_steps(wanted: Wanted, found: Found) -> tuple[UndoStep, ...]:
    """Everything that is left to remove, in order."""
    return tuple(_steps(wanted, found))


def _steps(wanted: Wanted, found: Found) -> Iterator[UndoStep]:
    going = _going(wanted, found)
    yield from _forget_fips(wanted, found, going)
    yield from _unshare(wanted, found)
    for number, label in going.items():
        text = f"delete the Linode {label} ({number}) with its disks and its own addresses"
        yield UndoStep(UndoKind.LINODE, text, number)
    if found.firewall is not None:
        text = f"delete the Cloud Firewall {found.firewall.label} ({found.firewall.id})"
        yield UndoStep(UndoKind.FIREWALL, text, found.firewall.id)
    if found.group is not None:
        text = f"delete the placement group {found.group.label} ({found.group.id})"
        yield UndoStep(UndoKind.GROUP, text, found.group.id)
    yield from _forget_the_rest(wanted, found)


def _going(wanted: Wanted, found: Found) -> dict[int, str]:
    """The Linodes that natpair created, number → label."""
    made = [found.nodes[node.index] for node in wanted.made]
    return {one.instance.id: one.instance.label for one in made if one} | {one.id: one.label for one in found.strays}


def _forget_fips(wanted: Wanted, found: Found, going: dict[int, str]) -> Iterator[UndoStep]:
    owned = {index: found.owners.get(fip) for index, fip in enumerate(wanted.fips) if fip is not None}
    # A reserved address stays on the account when its Linode is deleted.
    lost = {i: one.address for i, one in owned.items() if one and one.linode_id in going and not one.reserved}
    if lost:
        names = " and ".join(map(str, lost.values()))
        text = f'set {names}, deleted with its Linode, to "auto" in gateway.toml'
        yield UndoStep(UndoKind.FILE, text, keys=tuple(f"pair.fips[{index}]" for index in lost))


def _unshare(wanted: Wanted, found: Found) -> Iterator[UndoStep]:
    for node in wanted.nodes:
        there = found.nodes[node.index]
        # Without a stamp natpair has changed nothing, so every share was made by others.
        if node.adopted is None or there is None or wanted.stamp is None:
            continue
        ours = tuple(fip for fip in wanted.known_fips if fip in there.shared)
        if ours:
            text = f"remove the shares of {' and '.join(map(str, ours))} to {node.name} (Linode {there.instance.id})"
            yield UndoStep(UndoKind.UNSHARE, text, there.instance.id, ours)


def _forget_the_rest(wanted: Wanted, found: Found) -> Iterator[UndoStep]:
    # A floating address that the account no longer has was deleted with a Linode.
    lost = [i for i, fip in enumerate(wanted.fips) if fip is not None and fip not in found.owners]
    keys = [STAMP, *(f"pair.fips[{index}]" for index in lost)]
    for node in wanted.made:
        keys += [f"node[{node.index}].public_address"] if node.public_address is not None else []
        keys += [f"node[{node.index}].public_address6"] if node.public_address6 is not None else []
    if wanted.stamp is not None:
        text = f'set what was removed to "auto" in gateway.toml (the stamp was {wanted.stamp})'
        yield UndoStep(UndoKind.FILE, text, keys=tuple(keys))


async def destroy(
    client: LinodeClient,
    draft: Draft,
    save: Callable[[str], None],
    pace: Pace,
    tell: Callable[[UndoStep], None],
) -> tuple[UndoStep, ...]:
    """Remove everything, reading the account again after each step; resumable like `applying.apply`."""
    done: list[UndoStep] = []
    while True:
        wanted = wanted_of(draft, undoing=True)
        found = await observe(client, wanted)
        steps = undo_steps(wanted, found)
        if not steps:
            return tuple(done)
        step = steps[0]
        if done[-_MOST_TRIES:].count(step) == _MOST_TRIES:
            raise NotReady(f"tried {_MOST_TRIES} times without effect: {step.text}", fix="run this again later")
        tell(step)
        if step.kind is UndoKind.FILE:
            text = fill(draft.text, dict.fromkeys(step.keys, AUTO))
            save(text)
            draft = parse_draft(text)
        else:
            await _take_away(client, step, pace)
        done.append(step)


async def _take_away(client: LinodeClient, step: UndoStep, pace: Pace) -> None:
    number = step.number or 0
    match step.kind:
        case UndoKind.UNSHARE:
            await sharing.unshare(client, number, step.addresses, pace.share)
        case UndoKind.LINODE:
            await client.delete_instance(number)
            await _gone(client, number, pace)
        case UndoKind.FIREWALL:
            await client.delete_firewall(number)
        case UndoKind.GROUP:
            await client.delete_placement_group(number)


async def _gone(client: LinodeClient, linode: int, pace: Pace) -> None:
    deadline = time.monotonic() + pace.settle_seconds
    while time.monotonic() < deadline:
        try:
            await client.instance(linode)
        except ApiError as error:
            if error.status == 404:
                return
            raise
        await pace.pause()
    raise NotReady(f"Linode {linode} was deleted but still exists", fix="run this again later")
