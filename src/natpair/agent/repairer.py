"""Repairs what only natpair should change, and records what it found and which programs may have changed it.

Level-triggered: a notice of the kernel or the clock starts a check of everything. What is expected comes from the
rendered files and the model; the ruleset, BIRD's role and the track files belong to the `Reconciler`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from natpair.agent.cell import StateCell
from natpair.agent.daemons import Daemons
from natpair.agent.vlan import GatewayProbe
from natpair.apply import lock, reload
from natpair.apply.settle import config_in_force
from natpair.config.load import parse
from natpair.core import paths
from natpair.core.messages import Phase, VrrpRole
from natpair.core.model import Gateway, config_hash
from natpair.core.rendered import RenderedFile
from natpair.core.repair import Ledger, Wrong
from natpair.core.status import Repaired
from natpair.drift import suspects
from natpair.drift.foreign_chains import Passage
from natpair.drift.items import Addresses, Aside, Files, Finding, Guard, Kept, Routes, Rules, Sysctls, at_once
from natpair.drift.own_traffic import Neighbours, Strangers, Ways, Wire
from natpair.errors import CommandFailed, ConfigError, NatpairError
from natpair.render.base import Sides
from natpair.render.bundle import render_all
from natpair.render.host import BLACKHOLE_METRIC
from natpair.render.nftables import off_limits
from natpair.system import conntrackd, machine
from natpair.system.files import read_if_there

LOOK_SECONDS = 2.0
"""Seconds between two checks. The kernel sends no notice for sysctls and files, so a change may go unnoticed for so
long."""
_AGAIN_SECONDS = 0.5
"""Seconds until a new finding is checked again. It only counts if the second check finds it, too."""
_FULL_LOOK_EVERY = 8
"""One in so many checks covers everything, in case a notice was lost. Such a check starts a process for the egress
guard."""
_NOTICE_SECONDS = 0.15
"""Delay before reacting to a kernel notification. They come in bursts, often during a takeover."""
_REMEMBERED = 20
RULESET = "ruleset"
_Look = (CommandFailed, OSError, NatpairError, RuntimeError)
"""Errors of a check or a repair. RuntimeError means that no thread can be started."""

Report = Callable[..., None]


class Repairs:
    """Recent repairs, and things that are changed again after each repair. `report` writes the event log."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._ledger = Ledger()
        self.latest: deque[Repaired] = deque(maxlen=_REMEMBERED)
        self.authors: tuple[str, ...] = ()
        """The programs that last changed a ruleset, as the kernel names them. After a repair that is our own `nft`."""

    def may_repair(self, thing: str) -> bool:
        """Whether `thing` has not been repaired too often lately."""
        return self._ledger.may_repair(thing, time.monotonic())

    def repaired(self, wrong: Wrong, authors: tuple[str, ...] = ()) -> None:
        """Record a repair, with the programs that may have made it necessary. `authors` are known to have
        changed it.
        """
        before, now = self.gave_up, time.monotonic()
        self._ledger = self._ledger.repaired(wrong.thing, now)
        names = tuple(dict.fromkeys((*authors, *suspects.running())))
        self.latest.append(Repaired(time.time(), wrong.thing, wrong.found, wrong.wanted, names))
        self._report("repair", thing=wrong.thing, found=wrong.found, put=wrong.wanted, suspects=list(names))
        for thing in sorted({*self.gave_up} - {*before}):
            self._report("repair-gave-up", thing=thing, suspects=list(names))

    def note_stuck(self, wrong: Wrong) -> None:
        """Record once what is wrong and is not repaired."""
        names = list(suspects.running())
        self._report("repair-not-done", thing=wrong.thing, found=wrong.found, wanted=wrong.wanted, suspects=names)

    @property
    def gave_up(self) -> tuple[str, ...]:
        """Things that are changed again after each repair."""
        return self._ledger.gave_up(time.monotonic())


class Repairer:
    """Checks everything that is kept, on each notice and every two seconds."""

    def __init__(self, kinds: Sequence[Kept], repairs: Repairs, news: Callable[[], None] = lambda: None) -> None:
        self._kinds = kinds
        self._repairs = repairs
        self._news = news
        self._passages = tuple(kind for kind in kinds if isinstance(kind, Passage))
        self._awake = asyncio.Event()
        self._wrong: dict[str, Wrong] = {}
        self._stuck: frozenset[str] = frozenset()
        self.looked = asyncio.Event()
        """Set once everything was checked."""

    def wake(self) -> None:
        """Check soon, because something may have changed."""
        self._awake.set()

    def wake_for_rules(self) -> None:
        """Check soon, because a ruleset has changed, ours or another tool's."""
        for kind in self._passages:
            kind.changed()
        self.wake()

    @property
    def barred(self) -> tuple[str, ...]:
        """The other tools' chains that may drop clients' packets."""
        return tuple(name for kind in self._passages for name in kind.barred)

    @property
    def unrepaired(self) -> tuple[str, ...]:
        """What stays wrong: changed again after each repair, or impossible to repair."""
        return tuple(sorted({*self._repairs.gave_up, *self._stuck}))

    async def run(self) -> None:
        """Check and repair until cancelled."""
        for number in itertools.count():
            noticed = self._awake.is_set() or number % _FULL_LOOK_EVERY == 0
            self._awake.clear()
            before = self.unrepaired, self.barred
            await self.look(everything=noticed)
            if before != (self.unrepaired, self.barred):
                self._news()
            soon = self._wrong.keys() - self._stuck or any(kind.restless for kind in self._passages)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_SECONDS if soon else LOOK_SECONDS):
                    await self._awake.wait()
                    await asyncio.sleep(_NOTICE_SECONDS)

    async def look(self, *, everything: bool = True) -> None:
        """One check and its repairs. If it does not cover everything, then what sends no notice and what was wrong
        before.

        While an apply runs nothing is repaired, because the apply changes the same things and rolls them back itself.
        """
        wrong: dict[str, Wrong] = {}
        resting = lock.under_way()
        for kind in self._kinds:
            if kind.noticed and not everything and not self._wrong:
                continue
            for finding in await self._findings(kind):
                if resting and finding.repair is not None:
                    continue
                if not await self._repair(finding):
                    wrong[finding.wrong.thing] = finding.wrong
        # One finding may be a normal transition, such as a route whose address comes back a moment later.
        stuck = frozenset(wrong.keys() & self._wrong.keys())
        for thing in sorted(stuck - self._stuck):
            self._repairs.note_stuck(wrong[thing])
        self._wrong, self._stuck = wrong, stuck
        self.looked.set()

    async def _findings(self, kind: Kept) -> list[Finding]:
        try:
            return await kind.findings()
        except _Look:
            return []  # what cannot be looked at now is looked at in two seconds

    async def _repair(self, finding: Finding) -> bool:
        if finding.repair is None or not self._repairs.may_repair(finding.wrong.thing):
            return False
        try:
            await finding.repair()
        except _Look:
            return False
        self._repairs.repaired(finding.wrong)
        return True


@dataclass(frozen=True, slots=True)
class Known:
    """What other parts of the agent know, for the kinds that need it for their check."""

    cell: StateCell
    probe: GatewayProbe
    pinned: Callable[[], str]
    """The MAC that the ruleset in force pins the peer's address to."""
    daemons: Daemons

    def may_hold_vip(self) -> bool:
        """True if this node may hold the VIP: Keepalived is MASTER, or the role is moving to or from this node."""
        state = self.cell.get()
        return state.vrrp is VrrpRole.MASTER or state.claims_active or state.phase is Phase.PREPARING

    def wire(self) -> Wire:
        """The MACs, from ARP and from the ruleset in force, and whether BIRD has a session."""
        gateway, macs = self.probe.next_hop
        return Wire(gateway, macs, self.pinned(), self.daemons.bgp[0] > 0)


def kinds_of(gateway: Gateway, node: str, config: str | None, known: Known, aside: Aside = at_once) -> tuple[Kept, ...]:
    """Everything that is kept on `node`; `config` is the file that the agent was started with.

    `aside` does what may wait for a disk.
    """
    bundle = render_all(gateway, node, capabilities=machine.capabilities())
    routes = Routes(gateway.pair.fips, gateway.node_named(node).public_interface, BLACKHOLE_METRIC)
    return (
        *standing_kinds(gateway, node, bundle, routes),
        Strangers(gateway, node, known.may_hold_vip),
        Neighbours(gateway, node, routes, known.wire),
        Passage(),
        Files(bundle, _unchanged(config, config_hash(gateway)), tell, aside),
    )


def standing_kinds(
    gateway: Gateway, node: str, bundle: Sequence[RenderedFile], routes: Routes, *, only_look: bool = False
) -> tuple[Kept, ...]:
    """The kinds that need nothing from a running agent. With `only_look` the check changes nothing on disk."""
    me, files = gateway.node_named(node), {file.path: file.text for file in bundle}
    return (
        Sysctls(files[paths.SYSCTL] + files[paths.FORWARDING]),
        Addresses(me, gateway.pair.fips, only_look=only_look),
        routes,
        Rules(me, gateway.private_network, off_limits(Sides.of(gateway, node))),
        Ways(gateway, node, only_look=only_look),
        Guard(files[paths.GUARD], me.public_interface),
    )


def found_without_agent(gateway: Gateway, node: str, bundle: Sequence[RenderedFile]) -> tuple[Kept, ...]:
    """The kinds for a check outside the agent, which changes nothing."""
    public = gateway.node_named(node).public_interface
    routes = Routes(gateway.pair.fips, public, BLACKHOLE_METRIC, only_look=True)
    return standing_kinds(gateway, node, bundle, routes, only_look=True)


def _unchanged(config: str | None, ours: str) -> Callable[[], bool]:
    """True if the files on disk still belong to this agent's configuration: no other one has been applied."""

    def check() -> bool:
        if lock.under_way():
            return False
        try:
            return config_hash(parse(read_if_there(Path(config or config_in_force())) or "")) == ours
        except (ConfigError, UnicodeDecodeError):
            return False

    return check


def tell(path: str) -> None:
    """Reload the daemon whose file was put back, because it may have read the wrong one."""
    steps = set(reload.steps_for({path})) & {reload.Step.KEEPALIVED, reload.Step.BIRD, reload.Step.UNITS}
    for step in steps:
        reload.perform(step)
    if path == paths.CONNTRACKD_CONF and conntrackd.started_within(LOOK_SECONDS + 1):
        # conntrackd reads its file only at its start, and a restart costs a resync. So restart it only if necessary.
        reload.perform(reload.Step.CONNTRACKD)
