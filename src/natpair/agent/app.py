"""The composition root: builds the parts, wires them, runs them under one TaskGroup.

Each part gets what it needs when it is built, so the order of the lines is the order of dependence. One link is made
last: the decision loop, which gets the events of all parts, is connected to the parts that execute its decisions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from natpair.agent import journal
from natpair.agent.adoption import adopt_if_active
from natpair.agent.applies import Applies
from natpair.agent.beginning import Begin
from natpair.agent.bindings import Bindings
from natpair.agent.cell import StateCell
from natpair.agent.contradictions import Contradictions
from natpair.agent.control import application, serve
from natpair.agent.daemons import Daemons
from natpair.agent.disk import Disks
from natpair.agent.executor import Executor
from natpair.agent.findings import Findings
from natpair.agent.flow_samples import SyncWatch
from natpair.agent.incarnations import Incarnations
from natpair.agent.lookout import Lookout
from natpair.agent.loop import DecisionLoop
from natpair.agent.memory import Memory
from natpair.agent.notices import Notices
from natpair.agent.peerlink import PeerLink
from natpair.agent.reconciler import Reconciler
from natpair.agent.repairer import Known, Repairer, Repairs, kinds_of
from natpair.agent.replies import ReplyWatch
from natpair.agent.sources import Sources
from natpair.agent.standing import Standing, own_conditions
from natpair.agent.status import StatusReader
from natpair.agent.tasks import Task, TaskBoundary
from natpair.agent.vlan import GatewayProbe, Vlan
from natpair.agent.watchdog import Watchdog
from natpair.core.account import Account, Trouble
from natpair.core.events import AccountSeen, Event
from natpair.core.model import config_hash
from natpair.core.rendered import rendered_digest
from natpair.core.state import NodeState, Terms, initial
from natpair.drift.items import Kept
from natpair.render.bundle import render_all
from natpair.system import machine
from natpair.system.keepalived import NotifyFifo
from natpair.system.sdnotify import Notifier

_FLUSH_SECONDS = 1.0
"""Seconds for which a stopping agent waits until its last events are on disk."""
_WATCHER_RETRY_SECONDS = 60.0
_RECALL_SECONDS = 10.0


class Watcher(Protocol):
    """What watches the provider's account: `agent.account`, which is imported only if `watch.enabled` is set."""

    async def run(self, handle: Callable[[Event], None], record: Callable[..., None]) -> None:
        """Watch for ever."""

    def repair(self) -> None:
        """Share again the FIPs whose shares were missing in the last reading."""


class Agent:
    """All parts of one agent, connected. It keeps those that `run` and the tasks need; other parts hold the rest."""

    def __init__(
        self,
        begin: Begin,
        state: NodeState,
        watcher: Watcher | None = None,
        kinds: Callable[[Known], Sequence[Kept]] = lambda _known: (),
        disks: Disks | None = None,
    ) -> None:
        gateway, node, fifo = begin.gateway, begin.node, begin.fifo
        disks = disks or Disks()
        events = journal.Events(node=node, lane=disks.var)
        record = events.record
        cell = StateCell(state)
        loop = DecisionLoop(cell, events)
        health_due = asyncio.Event()
        boundary = TaskBoundary(record)
        applies = Applies(disks.var, record)
        repairs = Repairs(record)
        contradictions = Contradictions(gateway.private_network, gateway.pair.fips, record)
        reconciler = Reconciler(gateway, node, loop.handle, record, repairs, contradictions, health_due)
        vlan, probe = Vlan(gateway, node, cell, loop.handle), GatewayProbe.of(gateway, node)
        sync = SyncWatch(gateway.private_network, cell)
        link = PeerLink(gateway, node, begin.key, loop.handle, vlan.learn, sync, health_due.set)
        incarnations = Incarnations(record)
        daemons = Daemons(reconciler.bird_says, incarnations.killed)
        bindings = Bindings(gateway, node, cell, record)
        replies = ReplyWatch(gateway, node, probe, cell, health_due)
        lookout = Lookout(gateway, node, cell, health_due)
        repairer = Repairer(kinds(Known(cell, probe, reconciler.pinned, daemons)), repairs, health_due.set)
        others = Findings(disks, daemons, repairer, sync, vlan, link, replies, lookout, boundary).add_to
        sources = Sources(
            gateway, node, cell, fifo, reconciler, vlan, probe, bindings, daemons, contradictions, others, health_due
        )
        repair_shares = _no_repair if watcher is None else watcher.repair
        executor = Executor(cell, loop.handle, vlan, link, disks.var, events, reconciler.settled, repair_shares)
        notices = Notices(link, vlan, bindings, sources, lookout, reconciler, repairer, repairs, executor.speak)
        rendered = rendered_digest(render_all(gateway, node, capabilities=machine.capabilities()))
        status = StatusReader(cell, reconciler, sources, repairs, link, events, executor, applies, rendered)
        cell.subscribe(Memory(disks.var, events).follow)
        cell.subscribe(sources.follow)
        loop.connect(reconciler.want, executor.execute)
        self.cell, self.loop, self.events, self.disks, self.boundary = cell, loop, events, disks, boundary
        self.reconciler, self.repairer, self.executor, self.sources = reconciler, repairer, executor, sources
        self.vlan, self.sync, self.link, self.daemons, self.incarnations = vlan, sync, link, daemons, incarnations
        self.replies, self.lookout, self.contradictions, self.applies = replies, lookout, contradictions, applies
        self.notices, self.status, self.standing = notices, status, Standing(partial(own_conditions, cell), record)
        looked = {
            "ruleset and announcement": reconciler.looked,
            "election": sources.looked,
            "BIRD and conntrackd": daemons.looked,
            "kernel settings, addresses and files": repairer.looked,
            "flow table and key": lookout.looked,
        }
        self.watchdog, self._watcher = Watchdog(Notifier(), cell, looked, sources.read_health, record), watcher

    def tasks(self) -> list[Task]:
        """All tasks that run as long as the agent does."""
        handle, sources, record = self.loop.handle, self.sources, self.events.record
        beat = self.cell.get().terms.beat
        app = application(handle, self.executor, self.status.status)
        found = [
            Task("reconciler", self.reconciler.run),
            Task("repairer", self.repairer.run, vital=False),
            Task("ticks", partial(sources.ticks, handle, beat, self.notices.beat)),
            Task("daemons", partial(self.daemons.run, handle, sources.interval, sources.wake)),
            Task("incarnations", self.incarnations.run, vital=False),
            Task("samples", self.sync.send_samples, vital=False),
            Task("judgements", self.sync.check_samples, vital=False),
            Task("health", partial(sources.health, handle)),
            Task("election", partial(sources.election, handle)),
            Task("VIP", partial(sources.vip, handle)),
            Task("looks", sources.looks, vital=False),
            Task("lookout", self.lookout.run, vital=False),
            Task("replies", self.replies.run, vital=False),
            Task("arrivals", partial(sources.arrivals, handle)),
            Task("conntrackd jobs", self.executor.run_jobs),
            Task("reservations", self.executor.run_reservations, vital=False),
            Task("applies", self.applies.run, vital=False),
            Task("disk", partial(self.disks.watch, record, sources.wake), vital=False),
            Task("contradictions", partial(self.contradictions.run, self.reconciler.settled), vital=False),
            Task("conditions", self.standing.run, vital=False),
            Task("history", partial(_recall, self), vital=False),
            Task("watchdog", self.watchdog.run),
            Task("control", partial(serve, app)),
        ]
        if self._watcher is not None:
            run, failed = partial(self._watcher.run, handle, record), partial(_watch_failed, handle)
            found.append(Task("account", run, vital=False, pause_seconds=_WATCHER_RETRY_SECONDS, on_failure=failed))
        return found


def _no_repair() -> None:
    """A node that does not watch the account has nothing to repair."""


def _watch_failed(handle: Callable[[Event], None], why: str) -> None:
    fix = "this is a bug in natpair: open an issue with this line"
    handle(AccountSeen(None, None, None, (Trouble("the watch", why, fix, refused=True),)))


async def _recall(agent: Agent) -> None:
    with contextlib.suppress(OSError):  # the disk hangs: only the events of this agent are known
        await agent.disks.var.ask("recall", agent.events.recall, _RECALL_SECONDS)


def _watch(agent: Agent, fifo: NotifyFifo) -> None:
    """Let the FIFO and the kernel's notices wake the agent."""
    asyncio.get_running_loop().set_exception_handler(agent.boundary.on_exception)
    fifo.listen(agent.loop.on_notify)
    agent.notices.watch()


async def run(begin: Begin, watcher: Watcher | None = None, config: str | None = None) -> None:
    """Run the agent until SIGTERM or SIGINT. Stopping it changes nothing on an active node.

    On any other node it leaves the election at once, because a VIP without an agent would not be served.

    `config`: the file that the configuration came from; None for the one that was applied last.
    """
    gateway, node = begin.gateway, begin.node
    terms = Terms.of(gateway, node, config_hash(gateway))
    state = initial(terms, time.monotonic(), reserved=journal.reserved_generation(), drained=journal.is_drained())
    left = journal.recall()
    peer = replace(state.peer, mac=left.peer_mac or journal.peer_mac())
    state = replace(state, account=Account(handed=left.handed), peer=peer)
    disks = Disks()
    log = journal.LogStream(disks.log)
    journal.log_to(log)
    logging.basicConfig(stream=log, format="%(levelname)s %(name)s %(message)s")

    def kinds(known: Known) -> Sequence[Kept]:
        return kinds_of(gateway, node, config, known, disks.etc.ask)

    agent = Agent(begin, state, watcher, kinds, disks)
    agent.contradictions.given_up = journal.given_up(gateway.pair.fips)
    await adopt_if_active(agent.cell, await agent.sources.vrrp_role(), agent.events)
    _watch(agent, begin.fifo)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(agent.boundary.keep_running(task), name=task.name) for task in agent.tasks()]
        await stop.wait()
        for task in running:
            task.cancel()
    if not agent.cell.get().claims_active:
        agent.reconciler.stand_aside()
    agent.link.close()
    await agent.reconciler.close()
    begin.fifo.close()
    disks.flush(_FLUSH_SECONDS)
