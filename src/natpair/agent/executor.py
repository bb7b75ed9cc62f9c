"""The executor: carries out the core's actions, with one handler for each kind.

Slow work is queued and done by the two tasks `run_jobs` and `run_reservations`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial, singledispatchmethod

from natpair.agent import journal
from natpair.agent.cell import StateCell
from natpair.agent.disk import Lane
from natpair.agent.peerlink import PeerLink
from natpair.agent.vlan import Vlan
from natpair.core.actions import (
    Action,
    Conntrack,
    Journal,
    Note,
    ProbeVlan,
    ReassertVip,
    RepairShares,
    Reply,
    Reserve,
    SaveDrained,
    Speak,
    WakeAt,
)
from natpair.core.events import ConntrackDone, Event, Tick
from natpair.core.history import TOLD, Transition
from natpair.core.messages import PeerMessage
from natpair.core.state import message_of
from natpair.errors import DaemonError
from natpair.system import conntrackd

_SETTLE_SECONDS = 1.0
"""Seconds a conntrackd job waits at most until traffic and announcement have been switched."""
_FAILED_PAUSE_SECONDS = 1.0
_DISK_RETRY_SECONDS = 10.0


class Executor:
    """`settled` is set while the reconciler has nothing to do; `var` is the lane of /var.

    `repair_shares` asks the account watch for a repair; it does nothing on a node that does not watch the account.
    """

    def __init__(
        self,
        cell: StateCell,
        handle: Callable[[Event], None],
        vlan: Vlan,
        link: PeerLink,
        var: Lane,
        events: journal.Events,
        settled: asyncio.Event,
        repair_shares: Callable[[], None],
    ) -> None:
        self._cell = cell
        self._handle = handle
        self._vlan = vlan
        self._link = link
        self._var = var
        self._events = events
        self._settled = settled
        self._repair_shares = repair_shares
        self._log = journal.event_log()
        self._jobs: asyncio.Queue[Conntrack] = asyncio.Queue()
        self._ceilings: asyncio.Queue[int] = asyncio.Queue()
        self._replies: dict[int, Callable[[Reply], None]] = {}
        self.last_transition: Transition | None = None

    def execute(self, actions: Iterable[Action]) -> None:
        """Carry out `actions` in their order."""
        for action in actions:
            self._act(action)

    def expect_reply(self, number: int, callback: Callable[[Reply], None]) -> None:
        """Call `callback` when request `number` has its answer."""
        self._replies[number] = callback

    def message(self) -> PeerMessage:
        """The heartbeat to send now."""
        return message_of(self._cell.get(), time.monotonic())

    def speak(self) -> None:
        """Send the peer our message on both paths."""
        self._link.send(self.message())

    @singledispatchmethod
    def _act(self, action: Action) -> None:
        raise TypeError(f"no handler for {action!r}")

    @_act.register
    def _(self, _action: Speak) -> None:
        self.speak()

    @_act.register
    def _(self, action: ProbeVlan) -> None:
        self._vlan.probe(action.nonce)

    @_act.register
    def _(self, _action: ReassertVip) -> None:
        self._vlan.claim_vip()

    @_act.register
    def _(self, action: Conntrack) -> None:
        self._jobs.put_nowait(action)

    @_act.register
    def _(self, action: Reserve) -> None:
        self._ceilings.put_nowait(action.ceiling)

    @_act.register
    def _(self, action: SaveDrained) -> None:
        self._var.put("drained", partial(journal.save_drained, action.drained))

    @_act.register
    def _(self, action: WakeAt) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(max(0.0, action.at - time.monotonic()) + 0.001, self._handle, Tick())

    @_act.register
    def _(self, action: Reply) -> None:
        if (callback := self._replies.pop(action.number, None)) is not None:
            callback(action)

    @_act.register
    def _(self, _action: RepairShares) -> None:
        self._repair_shares()

    @_act.register
    def _(self, action: Note) -> None:
        self._events.record("note", text=action.text)
        self._log.warning("note", text=action.text)

    @_act.register
    def _(self, action: Journal) -> None:
        state = self._cell.get()
        said = state.peer.said
        self._events.transition = journal.transition_id(node=state.terms.me, epoch=action.epoch)
        moved = {"before": action.before, "after": action.after, "cause": action.cause, "epoch": action.epoch}
        self._events.record("transition", **moved, peer_epoch=said.epoch if said is not None else 0)
        self._log.info("transition", **moved)
        if action.after.value in TOLD:
            self.last_transition = Transition(
                action.before.value, action.after.value, action.cause, action.epoch, time.time()
            )

    async def run_jobs(self) -> None:
        """Do conntrackd's jobs one after the other."""
        while True:
            job = await self._jobs.get()
            # A resync would compete for the CPU with the switch of traffic and announcement.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_SECONDS):
                    await self._settled.wait()
            try:
                await conntrackd.job(job.job)
                ok = True
            except DaemonError:
                ok = False
                await asyncio.sleep(_FAILED_PAUSE_SECONDS)
            self._events.record("step", step=f"conntrackd-{job.job.value}", ok=ok)
            self._handle(ConntrackDone(job.job, job.tag, ok))

    async def run_reservations(self) -> None:
        """Reserve epochs on the disk in the background. A takeover never waits for it."""
        while True:
            ceiling = await self._ceilings.get()
            try:
                await self._var.ask("epoch", partial(journal.reserve_generation, ceiling), None)
            except OSError as error:
                # A full disk must not end the agent. The epochs reserved so far last for hundreds of promotions.
                self._events.record("step", step="reservation-failed", detail=str(error))
                await asyncio.sleep(_DISK_RETRY_SECONDS)
                self._ceilings.put_nowait(ceiling)
