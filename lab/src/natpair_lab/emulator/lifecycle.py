"""The life of a Linode: its transitional states, and what happens as time passes.

provisioning or rebuilding → booting → running; running → shutting_down → offline; running → rebooting → running. In a
transitional state the Linode is busy. If a World makes machines real, `waits` holds a step back until the World has
returned.
"""

from __future__ import annotations

from dataclasses import replace

from natpair_lab.emulator.model import Linode, Status
from natpair_lab.emulator.refused import busy, invalid
from natpair_lab.emulator.state import Pending, Stale, Step, Store, entity_of
from natpair_lab.emulator.world import Boot, ShutDown


def require_settled(linode: Linode) -> None:
    """400 `Linode busy.` unless the Linode is running or offline."""
    if not linode.status.settled:
        raise busy()


def go_stale(store: Store, linode: Linode) -> None:
    """Show the next readers the status from before an order."""
    policy = store.policy
    store.stale[linode.id] = Stale(linode.status, policy.stale_reads, store.now + policy.stale_seconds)


def set_status(store: Store, linode_id: int, status: Status) -> Linode:
    """Record a new state."""
    store.linodes[linode_id] = replace(store.linodes[linode_id], status=status, updated=store.now)
    return store.linodes[linode_id]


def provision(store: Store, linode: Linode, *, boot: bool, action: str = "linode_create") -> None:
    """Start to provision a Linode, new or rebuilt; if it is to boot, that follows automatically."""
    event = store.add_event(action, entity_of(linode), status="started")
    due = store.now + store.timing.provision_seconds
    store.pending.append(Pending(due, linode.id, Step.PROVISIONED, event))
    if boot:
        boot_event = store.add_event("linode_boot", entity_of(linode), status="scheduled")
        store.pending.append(Pending(due, linode.id, Step.RUNNING, boot_event))


def boot(store: Store, linode: Linode) -> None:
    """Power on a Linode that is off."""
    require_settled(linode)
    if linode.status is Status.RUNNING:
        raise invalid(f"Linode {linode.id} already booted.")
    go_stale(store, linode)
    _start(store, linode, store.add_event("linode_boot", entity_of(linode), status="started"), Status.BOOTING)


def reboot(store: Store, linode: Linode) -> None:
    """Power off and on; a Linode that is off is only booted."""
    require_settled(linode)
    event = store.add_event("linode_reboot", entity_of(linode), status="started")
    if linode.status is Status.RUNNING:
        store.notices.append(ShutDown(linode.id))
    _start(store, linode, event, Status.REBOOTING)


def shutdown(store: Store, linode: Linode) -> None:
    """Shut down in an orderly way; nothing happens if the Linode is off."""
    require_settled(linode)
    if linode.status is Status.OFFLINE:
        return
    event = store.add_event("linode_shutdown", entity_of(linode), status="started")
    set_status(store, linode.id, Status.SHUTTING_DOWN)
    store.notices.append(ShutDown(linode.id))
    due = store.now + store.timing.shutdown_seconds
    store.pending.append(Pending(due, linode.id, Step.STOPPED, event, waits=True))


def _start(store: Store, linode: Linode, event_id: int, status: Status) -> None:
    linode = set_status(store, linode.id, status)
    store.notices.append(Boot(store.view(linode)))
    due = store.now + store.timing.boot_seconds
    store.pending.append(Pending(due, linode.id, Step.RESTARTED, event_id, waits=True))


def advance(store: Store, now: float, *, waiting: frozenset[int] = frozenset()) -> None:
    """Carry out every step that is due by now. The World is still working on the Linodes in `waiting`."""
    store.now = max(store.now, now)
    for pending in [one for one in store.pending if one.due <= store.now]:
        if pending.waits and pending.linode_id in waiting:
            continue
        store.pending.remove(pending)
        _carry_out(store, pending)


def _carry_out(store: Store, pending: Pending) -> None:
    linode = store.linodes[pending.linode_id]
    match pending.step:
        case Step.PROVISIONED:
            follows = any(one.linode_id == linode.id for one in store.pending)
            set_status(store, linode.id, Status.BOOTING if follows else Status.OFFLINE)
            store.end_event(pending.event_id)
        case Step.RUNNING:
            store.end_event(pending.event_id, "started")
            _start(store, linode, pending.event_id, Status.BOOTING)
        case Step.RESTARTED:
            set_status(store, linode.id, Status.RUNNING)
            store.end_event(pending.event_id)
        case Step.STOPPED:
            set_status(store, linode.id, Status.OFFLINE)
            store.end_event(pending.event_id)


def fail(store: Store, linode_id: int, message: str) -> None:
    """The World failed: the Linode is offline, and its event says why."""
    for pending in [one for one in store.pending if one.linode_id == linode_id]:
        store.pending.remove(pending)
        store.end_event(pending.event_id, "failed", message)
    if linode_id in store.linodes:
        set_status(store, linode_id, Status.OFFLINE)


def next_due(store: Store) -> float | None:
    """When the next step is due, or None if all Linodes have settled."""
    return min((pending.due for pending in store.pending), default=None)
