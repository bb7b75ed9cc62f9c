"""Boots and rebuilds a Linode, and waits until that is done.

The platform answers at once, works later, and shows the old status for a while: a Linode that was
off may still be `offline` after a boot request. So the work is done when its event ends. With a token that may not
read events, a changed status is used instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from natpair.errors import ApiError, NotReady
from natpair.linode.bodies import Rebuild
from natpair.linode.client import LinodeClient
from natpair.linode.models import Event, Instance

SETTLED = frozenset({"running", "offline"})
_DONE = frozenset({"finished", "notification"})
_NO_RIGHT = frozenset({401, 403})
_REFUSED = 400
_FIX = "look at it in Linode's Cloud Manager, then run it again"


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to look, how long the work may take, and how long it may take to begin."""

    look_every_seconds: float = 2.0
    work_seconds: float = 900.0
    begin_seconds: float = 60.0

    async def pause(self) -> None:
        """Wait between two checks of something that has a deadline."""
        await asyncio.sleep(self.look_every_seconds)


async def settled(client: LinodeClient, linode: int, patience: Patience) -> Instance:
    """The Linode once it is running or off; NotReady if it is not in time."""
    deadline = time.monotonic() + patience.work_seconds
    while (instance := await client.instance(linode)).status not in SETTLED:
        if time.monotonic() >= deadline:
            raise NotReady(f"Linode {linode} is still {instance.status}", fix=_FIX)
        await patience.pause()
    return instance


async def boot(client: LinodeClient, linode: int, patience: Patience) -> None:
    """Start a Linode that is off; returns when it runs. NotReady with the platform's reason when it does not."""
    await _work(client, linode, "linode_boot", lambda: client.boot(linode), "running", patience)


async def rebuild(client: LinodeClient, linode: int, new: Rebuild, patience: Patience) -> Instance:
    """Give a Linode new disks and leave it off; returns when that is done. `new` must not ask for a boot."""

    async def order() -> None:
        await client.rebuild(linode, new)

    await _work(client, linode, "linode_rebuild", order, "offline", patience)
    return await client.instance(linode)


async def _work(
    client: LinodeClient,
    linode: int,
    action: str,
    order: Callable[[], Awaitable[None]],
    wanted: str,
    patience: Patience,
) -> None:
    before = await _newest(client, linode, action)
    try:
        await order()
    except ApiError as error:
        # The answer was lost, or the platform refused because an earlier request, whose answer was lost, was carried
        # out.
        if not await _was_begun(client, linode, action, before, error, wanted, patience):
            raise
    if before is None:
        await _until_changed(client, linode, wanted, patience)
        return
    await _until_over(client, linode, action, before, patience)
    await _until_shown(client, linode, wanted, patience)


async def _newest(client: LinodeClient, linode: int, action: str) -> int | None:
    """The number of the newest event of this kind, 0 if there is none; None if the token may not read events."""
    try:
        events = await client.events(linode=linode, action=action)
    except ApiError as error:
        if error.status in _NO_RIGHT:
            return None
        raise
    return max((event.id for event in events), default=0)


async def _was_begun(
    client: LinodeClient,
    linode: int,
    action: str,
    before: int | None,
    error: ApiError,
    wanted: str,
    patience: Patience,
) -> bool:
    if not error.uncertain:
        return error.status == _REFUSED and wanted == "running" and (await client.instance(linode)).running
    deadline = time.monotonic() + patience.begin_seconds
    while time.monotonic() < deadline:
        if before is not None and (await _newest(client, linode, action) or 0) > before:
            return True
        instance = await client.instance(linode)
        if instance.status not in SETTLED or instance.status == wanted == "running":
            return True
        await patience.pause()
    return False


async def _until_over(client: LinodeClient, linode: int, action: str, before: int, patience: Patience) -> None:
    begin = time.monotonic()
    while True:
        events = [event for event in await client.events(linode=linode, action=action) if event.id > before]
        if not events and (await client.instance(linode)).running and action == "linode_boot":
            return
        newest = max(events, key=lambda event: event.id, default=None)
        if newest is not None and newest.status in _DONE:
            return
        _check(linode, action, newest, time.monotonic() - begin, patience)
        await patience.pause()


def _check(linode: int, action: str, event: Event | None, waited: float, patience: Patience) -> None:
    """NotReady if the work failed, or takes longer than it may."""
    if event is None:
        if waited >= patience.begin_seconds:
            raise NotReady(f"Linode {linode}: the platform did not begin {action}", fix=_FIX)
    elif event.status == "failed":
        raise NotReady(f"Linode {linode}: {action} failed: {event.message or 'no reason is given'}", fix=_FIX)
    elif waited >= patience.work_seconds:
        raise NotReady(f"Linode {linode}: {action} is still {event.status} after {waited:.0f} s", fix=_FIX)


async def _until_shown(client: LinodeClient, linode: int, wanted: str, patience: Patience) -> None:
    """Wait until the status agrees with the event."""
    deadline = time.monotonic() + patience.begin_seconds
    while (now := (await client.instance(linode)).status) != wanted:
        if time.monotonic() >= deadline:
            raise NotReady(f"Linode {linode} is {now}, not {wanted}", fix=_FIX)
        await patience.pause()


async def _until_changed(client: LinodeClient, linode: int, wanted: str, patience: Patience) -> None:
    """Without events: the wanted status counts once another one was seen, or when the work should have begun."""
    begin, seen = time.monotonic(), False
    while True:
        now, waited = (await client.instance(linode)).status, time.monotonic() - begin
        seen = seen or now not in SETTLED
        due = seen or now == "running" or waited >= patience.begin_seconds
        if now == wanted and due:
            return
        if now in SETTLED and due:
            raise NotReady(f"Linode {linode} is {now}, not {wanted}; why cannot be read with this token", fix=_FIX)
        if waited >= patience.work_seconds:
            raise NotReady(f"Linode {linode} is still {now}", fix=_FIX)
        await patience.pause()
