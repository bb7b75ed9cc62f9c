"""The composition root: builds the parts, wires them, runs them under one TaskGroup."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from natpair.agent import journal
from natpair.agent.applies import Applies
from natpair.agent.beginning import Begin, raise_priority
from natpair.agent.bindings import Bindings
from natpair.agent.contest import Contest, Twice
from natpair.agent.contradictions import Contradictions
from natpair.agent.control import application, serve
from natpair.agent.daemons import Daemons
from natpair.agent.disk import Disks
from natpair.agent.flow_samples import SyncWatch
from natpair.agent.incarnations import Incarnations
from natpair.agent.lookout import Lookout
from natpair.agent.loop import DecisionLoop, transition_id
from natpair.agent.peerlink import PeerLink
from natpair.agent.reconciler import Reconciler
from natpair.agent.repairer import Known, Repairer, Repairs, kinds_of
from natpair.agent.replies import ReplyWatch
from natpair.agent.sources import Sources
from natpair.agent.standing import Standing
from natpair.agent.vlan import Vlan
from natpair.core.account import Account, Trouble
from natpair.core.actions import Conntrack
from natpair.core.condition import Condition
from natpair.core.conditions import conditions
from natpair.core.desired import Desired, Traffic
from natpair.core.digest import config_hash
from natpair.core.events import AccountSeen, ConntrackDone, Event, PeerHeard, TrafficSwitched, VlanProbed, VrrpChanged
from natpair.core.history import history, last_transition
from natpair.core.machine import adopt, found_serving
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.model import Gateway
from natpair.core.rendered import rendered_digest
from natpair.core.snapshot import announced, snapshot
from natpair.core.state import Health, NodeState, Terms, initial
from natpair.core.status import Status
from natpair.core.wire import Path as Leg
from natpair.drift.items import Kept
from natpair.drift.own_traffic import Wire
from natpair.errors import CommandFailed, DaemonError, NatpairError
from natpair.render.bundle import render_all
from natpair.system import bird, conntrackd, links, machine, nft
from natpair.system.keepalived import NotifyFifo
from natpair.system.nft import Ruleset
from natpair.system.sdnotify import Notifier

_ALIVE_SECONDS = 1.0
_DISK_RETRY_SECONDS = 10.0
_FLUSH_SECONDS = 1.0
"""So long the end of an agent waits for its last words to reach the disk."""
_WATCHER_RETRY_SECONDS = 60.0
_FAILED_PAUSE_SECONDS = 1.0
_FAILURES_BEARABLE = 10
_FAILURES_SECONDS = 60.0
"""A failed part is told for so long; a vital one that fails more often than bearable meanwhile ends the agent."""
_RECALL_SECONDS = 10.0


@dataclass(frozen=True)
class Task:
    """One long-running part of the agent."""

    name: str
    run: Callable[[], Coroutine[object, object, None]]
    vital: bool = True
    """Without it the agent is of no use."""


class TaskFailed(NatpairError):
    """A vital part of the agent fails again and again."""


class Watcher(Protocol):
    """What watches the provider's account, if anything does: `agent.watch`, which only a node that wants it loads."""

    async def run(self, handle: Callable[[Event], None], record: Callable[..., None]) -> None:
        """Watch for ever."""

    def repair(self) -> None:
        """Share again what the last look found missing."""


class Agent:
    """All parts of one agent, wired. It is the `Effects` of its `DecisionLoop`."""

    def __init__(
        self,
        gateway: Gateway,
        node: str,
        state: NodeState,
        key: bytes,
        watcher: Watcher | None = None,
        kinds: Callable[[Known], Sequence[Kept]] = lambda _known: (),
        disks: Disks | None = None,
    ) -> None:
        self.disks = disks or Disks()
        self.events = journal.Events(node=node, lane=self.disks.var)
        self.applies = Applies(self.disks.var, self.events.record)
        self.repairs = Repairs(self.events.record)
        self.repairer = Repairer(kinds(self), self.repairs, lambda: self.sources.wake())
        self.reconciler = Reconciler(gateway, node, self._on_step, self._on_traffic, self.repairs)
        self.contest = Contest(
            lambda: self.vlan.claim_once(),
            lambda: self.loop.state.holds_vip,
            lambda: self.loop.state.peer_mac,
            lambda: self.loop.state.peer.active(self._terms, time.monotonic()) is not None,
        )
        self.twice = Twice(gateway.node_named(node).private_address.ip, lambda: self.loop.state.peer_mac)
        self.vlan = Vlan(
            gateway,
            node,
            lambda nonce, count: self.loop.handle(VlanProbed(nonce, count)),
            self.contest.seen,
            self.twice.seen,
        )
        self.sync = SyncWatch(
            gateway.private_network,
            lambda sample: self.link.attach(sample),
            lambda: self.loop.state.claims_active,
        )
        self.link = PeerLink(gateway, node, key, self._on_message, self.sync.asked, lambda: self.sources.wake())
        self.incarnations = Incarnations(self.events.record)
        self.daemons = Daemons(self.reconciler.bird_says, self._on_kill)
        self.standing = Standing(self._own_conditions, self.events.record)
        self.failures: dict[str, tuple[float, str]] = {}
        """Parts of the agent that failed: when last, and of what."""
        self.bindings = Bindings(gateway, node, lambda: self.loop.state.phase, self.events.record)
        self.sources = Sources(
            gateway, node, self.reconciler, self.vlan, self._others, self.bindings.deaf, self.daemons.keepalived_said
        )
        self.replies = ReplyWatch(
            gateway, node, self.sources.way_out, lambda: self.loop.state, lambda: self.sources.wake()
        )
        self.lookout = Lookout(gateway, node, lambda: self.loop.state.claims_active, lambda: self.sources.wake())
        self.loop = DecisionLoop(state, self, self.events)
        self.contradictions = Contradictions(gateway.private_network, gateway.pair.fips, self.events.record)
        self.sources.on_leak = self.contradictions.look
        self._jobs: asyncio.Queue[Conntrack] = asyncio.Queue()
        self._ceilings: asyncio.Queue[int] = asyncio.Queue()
        self._terms = state.terms
        self._watcher = watcher
        self._waiting = False
        self._notifier = Notifier()
        self.rendered = rendered_digest(render_all(gateway, node, capabilities=machine.capabilities()))
        """What this version of natpair makes of the configuration: an apply compares it with what it puts in place."""

    def _others(self, health: Health) -> Health:
        """`health` with what the other tasks have found."""
        sampled, lacking = self.sync.lacking()
        established, total = self.daemons.bgp
        return replace(
            health,
            conntrackd=self.daemons.conntrackd,
            cached=self.daemons.cached,
            bgp_established=established,
            bgp_total=total,
            plain_sessions=self.daemons.plain_sessions,
            astray=self.repairer.astray,
            barred=self.repairer.barred,
            sampled=sampled,
            lacking=lacking,
            mac=self.vlan.mac,
            contested=self.contest.by(),
            **self._disk(),
            failed_parts=self._failed(),
            foreign_version=self.link.foreign_version,
            replies=self.replies.verdicts,
            asking=self.replies.asking,
            reached=self.replies.reached,
            most_flows=self.lookout.seen.most_flows,
            refusing=self.lookout.seen.refusing,
            overflowing=self.lookout.seen.overflowing,
            crowd=self.lookout.seen.crowd,
            key_mode=self.lookout.seen.key_mode,
            key_missing=self.lookout.seen.key_missing,
            misplaced=self.lookout.seen.misplaced,
            twice=self.twice.found(),
            rollback_at=self.lookout.seen.rollback_at,
            keys_differ=self.link.keys_differ,
            large_lost=self.link.large_lost,
            clock_ahead=self.link.clock_ahead,
        )

    def _disk(self) -> dict[str, Any]:
        stall = self.disks.stalled(time.monotonic())
        if stall is not None:
            return {"disk_path": stall.path, "disk_seconds": stall.seconds}
        refused = next(iter(self.disks.var.failures().values()), "")
        return {"disk_path": self.disks.var.path, "disk_error": refused} if refused else {}

    def may_hold_vip(self) -> bool:
        """Known: by Keepalived's word, or on the way to it or from it."""
        state = self.loop.state
        return state.vrrp is VrrpRole.MASTER or state.claims_active or state.phase is Phase.PREPARING

    def wire(self) -> Wire:
        """Known: from ARP, from the ruleset in force, and from BIRD."""
        gateway, macs = self.sources.next_hop
        return Wire(gateway, macs, self.reconciler.pinned, self.daemons.bgp[0] > 0)

    def _on_kill(self, name: str) -> None:
        self.incarnations.will_end(name, "did not respond, and was killed by natpair")
        self._on_step(f"{name}-killed-for-silence", 0.0)

    def _on_step(self, name: str, seconds: float) -> None:
        self.events.record("step", step=name, took_ms=round(seconds * 1000, 2))
        if name == "repaired":
            self.sources.wake()
        if name in {"repaired", "traffic-local"}:
            self.contradictions.look(unguarded=name == "repaired")

    def _on_traffic(self, seen: Ruleset) -> None:
        self.loop.handle(TrafficSwitched(local=seen.traffic is Traffic.LOCAL, duplicate=seen.duplicate))

    def _on_message(self, path: Leg, message: PeerMessage) -> None:
        self.vlan.learn(message.clients)
        known = self.loop.state.peer_mac
        self.loop.handle(PeerHeard(path, message))
        if (mac := self.loop.state.peer_mac) != known:
            self.disks.var.put("peer-mac", lambda: journal.save_peer_mac(mac))

    def want(self, wish: Desired) -> None:
        """Effects: hand the wish to the reconciler."""
        self.reconciler.want(wish)
        waiting = wish.announcement.primary and wish.traffic is Traffic.RELAY
        if waiting and not self._waiting:
            self.sources.preparing.set()
        elif not waiting:
            self.sources.preparing.clear()
        self._waiting = waiting

    def send(self, message: PeerMessage) -> None:
        """Effects: speak on both paths."""
        self.link.send(message)

    def probe_vlan(self, nonce: int) -> None:
        """Effects: ask the clients."""
        self.vlan.probe(nonce)

    def claim_vip(self) -> None:
        """Effects: gratuitous ARP."""
        self.vlan.claim_vip(lambda: self.loop.state.claims_active)

    def conntrack(self, job: Conntrack) -> None:
        """Effects: queue a conntrackd job."""
        self._jobs.put_nowait(job)

    def reserve(self, ceiling: int) -> None:
        """Effects: reserve generations behind the takeover's back."""
        self._ceilings.put_nowait(ceiling)

    def save_drained(self, drained: bool) -> None:
        """Effects: write the operator's wish down behind the takeover's back."""
        self.disks.var.put("drained", lambda: journal.save_drained(drained))

    def repair_shares(self) -> None:
        """Effects: let the watcher mend what it has just told."""
        if self._watcher is not None:
            self._watcher.repair()

    def status(self) -> Status:
        """What follows from the state, and what was read back of the machine."""
        seen = self.reconciler.observed
        return replace(
            snapshot(self.loop.state, time.monotonic()),
            time=time.time(),
            rendered=self.rendered,
            traffic=seen.ruleset.traffic.value if seen.ruleset else "none",
            announcement=announced(seen.announcement) if seen.announcement else None,
            counters=self.sources.counters,
            trouble=self.reconciler.trouble,
            foreign_changes=self.reconciler.foreign_changes,
            repairs=tuple(self.repairs.latest),
            rejected_heartbeats=self.link.rejected,
            events_dropped=self.events.dropped,
            last_transition=self.loop.last_transition or last_transition(self.events.recent),
            history=history(self.events.recent, time.time()),
            unconfirmed=self.applies.status(),
        )

    def tasks(self) -> list[Task]:
        """Everything that runs as long as the agent does."""
        loop, sources, watcher = self.loop, self.sources, self._watcher
        return [
            Task("reconciler", self.reconciler.run),
            Task("repairer", self.repairer.run, vital=False),
            Task("ticks", lambda: sources.ticks(loop.handle, self._terms.beat, self._beat)),
            Task("daemons", lambda: self.daemons.run(loop.handle, sources.interval, sources.wake)),
            Task("incarnations", self.incarnations.run, vital=False),
            Task("samples", self.sync.send_samples, vital=False),
            Task("judgements", self.sync.judge_samples, vital=False),
            Task("health", lambda: sources.health(loop.handle)),
            Task("election", lambda: sources.election(loop.handle)),
            Task("VIP", lambda: sources.vip(loop.handle, lambda: self.loop.state.holds_vip)),
            Task("looks", sources.looks, vital=False),
            Task("lookout", self.lookout.run, vital=False),
            Task("replies", self.replies.run, vital=False),
            Task("arrivals", lambda: sources.arrivals(loop.handle)),
            Task("conntrackd jobs", self._run_jobs),
            Task("reservations", self._run_reservations, vital=False),
            Task("applies", self.applies.run, vital=False),
            Task("disk", lambda: self.disks.watch(self.events.record, self.sources.wake), vital=False),
            Task("contradictions", lambda: self.contradictions.run(self.reconciler.settled), vital=False),
            Task("conditions", self.standing.run, vital=False),
            Task("history", self._recall, vital=False),
            Task("watchdog", self._run_watchdog),
            Task("control", lambda: serve(application(loop, self.status))),
            *([Task("account", lambda: self._run_watcher(watcher), vital=False)] if watcher is not None else []),
        ]

    async def keep_running(self, task: Task) -> None:
        """The task boundary: a part of the agent that fails is started again, and the failure is a condition.

        TaskFailed for a vital part that fails again and again: a new agent may do better.
        """
        recent: deque[float] = deque(maxlen=_FAILURES_BEARABLE)
        while True:
            try:
                await task.run()
                return
            except Exception as error:  # noqa: BLE001 - the task boundary: no part takes the others with it
                why = _told(error)
            now = time.monotonic()
            self.failures[task.name] = (now, why)
            self.events.record("task-failed", task=task.name, why=why)
            again = len(recent) == recent.maxlen and now - recent[0] < _FAILURES_SECONDS
            if task.vital and again:
                raise TaskFailed(f"the agent's part '{task.name}' fails again and again: {why}")
            recent.append(now)
            await asyncio.sleep(_FAILED_PAUSE_SECONDS)

    def _own_conditions(self) -> list[Condition]:
        state = self.loop.state
        # What the peer alone sees stands in the peer's event log.
        return [one for one in conditions(state, time.monotonic()) if one.node == state.terms.me]

    def _failed(self) -> tuple[str, ...]:
        now = time.monotonic()
        return tuple(f"{name}: {why}" for name, (at, why) in self.failures.items() if now - at < _FAILURES_SECONDS)

    async def _recall(self) -> None:
        with contextlib.suppress(OSError):  # a disk that hangs: what this agent has seen has to do
            await self.disks.var.ask("recall", self.events.recall, _RECALL_SECONDS)

    def _beat(self) -> None:
        # Interfaces may come late or come back: opening what is open already costs nothing.
        self.link.open()
        self.vlan.open()
        self._look_at_interfaces()
        self.link.send(self.loop.message())

    def _look_at_interfaces(self) -> None:
        self.bindings.look()
        if self.vlan.renew() and self.loop.state.claims_active:
            self.claim_vip()  # clients know the VIP under the old MAC

    async def _run_jobs(self) -> None:
        while True:
            job = await self._jobs.get()
            # A resync takes CPU time of the very moment in which traffic and announcement are switched.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ALIVE_SECONDS):
                    await self.reconciler.settled.wait()
            try:
                await conntrackd.job(job.job)
                ok = True
            except DaemonError:
                ok = False
                await asyncio.sleep(_ALIVE_SECONDS)
            self.events.record("step", step=f"conntrackd-{job.job.value}", ok=ok)
            self.loop.handle(ConntrackDone(job.job, job.tag, ok))

    async def _run_reservations(self) -> None:
        while True:
            ceiling = await self._ceilings.get()
            try:
                await self.disks.var.ask("epoch", partial(journal.reserve_generation, ceiling), None)
            except OSError as error:
                # A full disk must not end an agent; what is reserved already lasts for hundreds of promotions.
                self.events.record("step", step="reservation-failed", detail=str(error))
                await asyncio.sleep(_DISK_RETRY_SECONDS)
                self._ceilings.put_nowait(ceiling)

    async def _run_watcher(self, watcher: Watcher) -> None:
        while True:
            try:
                await watcher.run(self.loop.handle, self.events.record)
            except Exception as error:  # noqa: BLE001 - the task boundary: what the account does ends no agent
                why, cure = f"{type(error).__name__}: {error}", "this is a bug in natpair: open an issue with this line"
                self.events.record("step", step="account-watch-failed", detail=why)
                self.loop.handle(AccountSeen(None, None, None, (Trouble("the watch", why, cure, refused=True),)))
            await asyncio.sleep(_WATCHER_RETRY_SECONDS)

    async def _run_watchdog(self) -> None:
        self._notifier.ready("started")
        if reason := raise_priority():
            self.events.record("step", step="no-real-time-priority", detail=reason)
        while True:
            # From the loop that decides: if it hangs, the supervisor gets nothing to hear.
            state = self.loop.state
            self._notifier.alive(f"{state.phase.value}, epoch {state.epoch}, VRRP {state.vrrp.value}")
            await asyncio.sleep(_ALIVE_SECONDS)

    def watch(self, fifo: NotifyFifo) -> None:
        """Let the FIFO and the kernel's notices wake us."""
        self.sources.watches_sync = lambda: not self.loop.state.claims_active
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_exception)
        fifo.roles()  # what is in it now is history
        loop.add_reader(fifo.fd, self._on_fifo, fifo)
        link_notices, rule_notices = links.notice_sockets()
        loop.add_reader(link_notices.fileno(), self._on_links, link_notices)
        loop.add_reader(rule_notices.fileno(), self._on_rules, rule_notices)

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback failed: a bug, which asyncio survives by itself."""
        error = context.get("exception")
        why = _told(error) if isinstance(error, Exception) else str(context.get("message"))
        self.failures["a callback"] = (time.monotonic(), why)
        self.events.record("task-failed", task="a callback", why=why)
        loop.default_exception_handler(context)

    def _on_fifo(self, fifo: NotifyFifo) -> None:
        for role in fifo.roles():
            self.sources.lines_told += 1
            self.events.record("fifo", role=role.value)
            self.loop.handle(VrrpChanged(role))

    def _on_links(self, notices: socket.socket) -> None:
        links.drain(notices)
        self._look_at_interfaces()
        self.sources.wake()
        self.sources.look_at_vip.set()
        self.lookout.addresses_changed()
        self.reconciler.look_again()
        self.repairer.wake()

    def _on_rules(self, notices: socket.socket) -> None:
        self.repairs.authors = links.ruleset_authors(links.drain(notices))
        self.reconciler.look_again()
        self.repairer.wake_for_rules()


async def run(begin: Begin, watcher: Watcher | None = None, config: str | None = None) -> None:
    """Run the agent until SIGTERM or SIGINT. Stopping changes nothing on an active node.

    On another it ends the node's part in the election at once: a VIP that came meanwhile would find nobody.

    `config`: the file that the configuration came from, None for the one that was applied last.
    """
    gateway, node = begin.gateway, begin.node
    terms = Terms.of(gateway, node, config_hash(gateway))
    state = initial(terms, time.monotonic(), reserved=journal.reserved_generation(), drained=journal.is_drained())
    left = journal.recall()
    state = replace(state, account=Account(handed=left.handed), peer_mac=left.peer_mac or journal.peer_mac())
    disks = Disks()
    log = journal.LogStream(disks.log)
    journal.log_to(log)
    logging.basicConfig(stream=log, format="%(levelname)s %(name)s %(message)s")

    def kinds(known: Known) -> Sequence[Kept]:
        return kinds_of(gateway, node, config, known, disks.etc.ask)

    agent = Agent(gateway, node, state, begin.key, watcher, kinds, disks)
    agent.contradictions.given_up = journal.given_up(gateway.pair.fips)
    await _adopt(agent)
    agent.watch(begin.fifo)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(agent.keep_running(task), name=task.name) for task in agent.tasks()]
        await stop.wait()
        for task in running:
            task.cancel()
    if not agent.loop.state.claims_active:
        agent.reconciler.stand_aside()
    agent.link.close()
    await agent.reconciler.close()
    begin.fifo.close()
    disks.flush(_FLUSH_SECONDS)


def _told(error: Exception) -> str:
    """An error in one line, with the place it comes from."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


async def _adopt(agent: Agent) -> None:
    """An earlier agent of this boot may have left the node active, and Keepalived may still be MASTER.

    Where it left no word, the kernel is believed: else a node that serves would close, and tell itself that it boots.
    """
    left = journal.recall()
    role = await agent.sources.vrrp_role()
    cause = "adopted from an earlier agent"
    if role is VrrpRole.MASTER and not left.active:
        left, cause = await _found(agent), "adopted as found: it has the VIP and translates"
    if left.active and role is VrrpRole.MASTER:
        agent.loop.state = adopt(
            agent.loop.state, left.epoch, time.monotonic(), boosted=left.boosted, fenced=left.fenced
        )
        moved = {"before": Phase.BOOTING, "after": Phase.ACTIVE, "cause": cause}
        agent.events.transition = transition_id(node=agent.loop.state.terms.me, epoch=left.epoch)
        agent.events.record("transition", epoch=left.epoch, **moved)


async def _found(agent: Agent) -> journal.Remembered:
    """What the kernel and BIRD show of a node whose Keepalived is MASTER."""
    ruleset, announced = None, None
    with contextlib.suppress(CommandFailed):
        ruleset = await nft.read()
    with contextlib.suppress(DaemonError):
        _, announced = await bird.reading()
    local = ruleset is not None and ruleset.traffic is Traffic.LOCAL
    state = replace(agent.loop.state, vrrp=VrrpRole.MASTER)
    epoch = found_serving(state, local=local, announced=announced)
    if epoch is None:
        return journal.Remembered()
    return journal.Remembered(active=True, epoch=epoch, handed=journal.recall().handed)
