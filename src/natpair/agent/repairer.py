"""Watches what nobody but natpair should change, puts it right, and says what it found and who may have done it.

Level-triggered: a notice of the kernel or the clock is a reason to look at everything. What is wanted comes from the
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
"""Sysctls and files give no notice: this is how long a change of them may stay unreadable."""
_AGAIN_SECONDS = 0.5
"""What is wrong for the first time is looked at again so soon: only a second look makes it count."""
_FULL_LOOK_EVERY = 8
"""Looks of which one is at everything, should a notice have been lost; each starts a process for the egress guard."""
_NOTICE_SECONDS = 0.15
"""A notice is looked into so much later: the moment itself may be a takeover's, and notices come in swarms."""
_REMEMBERED = 20
RULESET = "ruleset"
_Look = (CommandFailed, OSError, NatpairError, RuntimeError)
"""What a look or a repair may end in; RuntimeError where no thread can be started."""

Report = Callable[..., None]


class Repairs:
    """What was repaired lately, and what is being fought over. `report` writes the event log."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._ledger = Ledger()
        self.latest: deque[Repaired] = deque(maxlen=_REMEMBERED)
        self.authors: tuple[str, ...] = ()
        """Programs that the kernel names as the last to have changed a ruleset: after a repair our own `nft`."""

    def may_repair(self, thing: str) -> bool:
        """Whether `thing` has not been repaired too often lately."""
        return self._ledger.may_repair(thing, time.monotonic())

    def repaired(self, wrong: Wrong, authors: tuple[str, ...] = ()) -> None:
        """Write a repair down, with all who may have made it necessary; `authors` are known to have been at it."""
        before, now = self.gave_up, time.monotonic()
        self._ledger = self._ledger.repaired(wrong.thing, now)
        names = tuple(dict.fromkeys((*authors, *suspects.running())))
        self.latest.append(Repaired(time.time(), wrong.thing, wrong.found, wrong.wanted, names))
        self._report("repair", thing=wrong.thing, found=wrong.found, put=wrong.wanted, suspects=list(names))
        for thing in sorted({*self.gave_up} - {*before}):
            self._report("repair-gave-up", thing=thing, suspects=list(names))

    def note_stuck(self, wrong: Wrong) -> None:
        """Write down what is wrong and is not repaired, once."""
        names = list(suspects.running())
        self._report("repair-not-done", thing=wrong.thing, found=wrong.found, wanted=wrong.wanted, suspects=names)

    @property
    def gave_up(self) -> tuple[str, ...]:
        """Things that somebody changes back again and again."""
        return self._ledger.gave_up(time.monotonic())


class Repairer:
    """Looks at all kinds of things on each notice and every two seconds."""

    def __init__(self, kinds: Sequence[Kept], repairs: Repairs, news: Callable[[], None] = lambda: None) -> None:
        self._kinds = kinds
        self._repairs = repairs
        self._news = news
        self._passages = tuple(kind for kind in kinds if isinstance(kind, Passage))
        self._awake = asyncio.Event()
        self._wrong: dict[str, Wrong] = {}
        self._stuck: frozenset[str] = frozenset()
        self.looked = asyncio.Event()
        """Set once everything was looked at."""

    def wake(self) -> None:
        """Something may have changed."""
        self._awake.set()

    def wake_for_rules(self) -> None:
        """A ruleset has changed, be it ours or another's."""
        for kind in self._passages:
            kind.changed()
        self.wake()

    @property
    def barred(self) -> tuple[str, ...]:
        """Chains of others that may drop what clients send."""
        return tuple(name for kind in self._passages for name in kind.barred)

    @property
    def unrepaired(self) -> tuple[str, ...]:
        """What is wrong and stays so: fought over, or not to be repaired."""
        return tuple(sorted({*self._repairs.gave_up, *self._stuck}))

    async def run(self) -> None:
        """Keep until cancelled."""
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
        """One look, and what follows from it; if not at everything, at what gives no notice and what was wrong.

        While an apply is at work, what could be repaired is its own to change, and to bring back.
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
        # Once may be the order of things: a route whose address came back a moment later.
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
    """What the rest of the agent knows, for kinds that cannot be checked without."""

    cell: StateCell
    probe: GatewayProbe
    pinned: Callable[[], str]
    """The MAC that the ruleset in force pins the peer's address to."""
    daemons: Daemons

    def may_hold_vip(self) -> bool:
        """This node is or becomes the elected one: Keepalived says so, or it is on the way to it or from it."""
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
    """What can be looked at without anything that only a running agent knows; `only_look` leaves no trace."""
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
    """The kinds for a look from outside the agent, which changes nothing."""
    public = gateway.node_named(node).public_interface
    routes = Routes(gateway.pair.fips, public, BLACKHOLE_METRIC, only_look=True)
    return standing_kinds(gateway, node, bundle, routes, only_look=True)


def _unchanged(config: str | None, ours: str) -> Callable[[], bool]:
    """Whether the files on disk are still this agent's to keep: nobody has applied another configuration."""

    def check() -> bool:
        if lock.under_way():
            return False
        try:
            return config_hash(parse(read_if_there(Path(config or config_in_force())) or "")) == ours
        except (ConfigError, UnicodeDecodeError):
            return False

    return check


def tell(path: str) -> None:
    """Tell the daemon whose file was put back, if it may have read the other one."""
    steps = set(reload.steps_for({path})) & {reload.Step.KEEPALIVED, reload.Step.BIRD, reload.Step.UNITS}
    for step in steps:
        reload.perform(step)
    if path == paths.CONNTRACKD_CONF and conntrackd.started_within(LOOK_SECONDS + 1):
        # It reads its file only when it starts, and a restart costs a resync: only if it must be.
        reload.perform(reload.Step.CONNTRACKD)
