"""The complete measurement, on any site. If a part fails, its facts are not measured and the rest continues."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from natpair.errors import NatpairError
from natpair.probe import routing
from natpair.probe.analysis import Lever
from natpair.probe.facts import Fact, Facts, Name, all_missing, missing
from natpair.probe.ground import Ground, Progress
from natpair.probe.sessions import HOLD_TRIED, measure_sessions
from natpair.probe.site import Pace, Site
from natpair.probe.vlan import measure_vlan
from natpair.render.bird import Word

_SESSION_FACTS = (
    Name.SESSIONS_BEFORE_SHARE,
    Name.SESSIONS_AFTER_SHARE,
    Name.SHARE_TO_SESSIONS_SECONDS,
    Name.HOLD_NEGOTIATED_SECONDS,
    Name.HOLD_OFFERED_SECONDS,
    Name.GRACEFUL_RESTART_OFFERED,
    Name.HOPS_TO_ROUTE_SERVERS,
)
_VLAN_FACTS = (
    Name.VRRP_UNICAST,
    Name.VRRP_MULTICAST,
    Name.VLAN_WORST_GAP_MS,
    Name.GRATUITOUS_ARP,
    Name.FOREIGN_MAC,
    Name.VLAN_MTU,
)
_LEVERS = (Name.COMMUNITIES, Name.MED, Name.ORIGIN, Name.TIE)

STANDING_PRIMARY = Word(primary=True, med=routing.WORSE_MED)
STANDING_SECONDARY = Word(primary=False, med=4_294_967_294)
TAKING_OVER = Word(primary=True, med=routing.BETTER_MED)
"""The three words of natpair's own takeover: an old primary, the standby, and the standby promoted."""


@dataclass(slots=True)
class Findings:
    """Facts as they come in, kept also when the probe is ended half-way."""

    facts: list[Fact] = field(default_factory=list)

    def so_far(self) -> Facts:
        """All of them, with a reason for those that are missing."""
        return Facts(tuple(self.facts)).complete()

    def value(self, name: Name) -> object:
        """The value of a fact measured before."""
        return Facts(tuple(self.facts)).value(name)


async def _gather(findings: Findings, names: tuple[Name, ...], work: Callable[[], Awaitable[list[Fact]]]) -> None:
    """Add what `work` finds; when it fails, that its facts are missing and why."""
    found: list[Fact] = []
    try:
        found = await work()
    except* NatpairError as group:  # also one alone, and those of a stream and its change together
        found = all_missing(names, str(_first(group)))
    findings.facts += found
    have = {fact.name for fact in found}
    findings.facts += all_missing([name for name in names if name not in have], "what it builds on was not measured")


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def measure(site: Site, pace: Pace, eye_folder: str, findings: Findings, progress: Progress) -> None:
    """Measure everything into `findings`."""
    ground = Ground.at(site, pace, eye_folder, progress)
    progress("copying the probe's programs to the machines")
    for hand in ground.hands:
        await hand.prepare()
    await ground.eye.prepare()
    await _gather(findings, _VLAN_FACTS, lambda: measure_vlan(ground))
    await _gather(findings, (Name.SAME_HOST,), lambda: _same_host(site))
    await _gather(findings, _SESSION_FACTS, lambda: measure_sessions(ground))
    if findings.value(Name.SESSIONS_AFTER_SHARE) is None:
        return
    await measure_routing(ground, findings)


async def measure_without_fip(
    site: Site, pace: Pace, eye_folder: str, findings: Findings, progress: Progress, why: str
) -> None:
    """Measure what needs no FIP, for an account that may not have one; `why` goes with everything else."""
    ground = Ground.at(site, pace, eye_folder, progress)
    for hand in ground.hands:
        await hand.prepare()
    await _gather(findings, _VLAN_FACTS, lambda: measure_vlan(ground))
    await _gather(findings, (Name.SAME_HOST,), lambda: _same_host(site))
    have = {fact.name for fact in findings.facts}
    findings.facts += all_missing([name for name in Name if name not in have], why)


async def measure_routing(ground: Ground, findings: Findings) -> None:
    """What needs sessions: times first, because they say how long to wait for a choice, then the choices."""
    update, withdrawal = Name.REROUTE_AFTER_UPDATE, Name.REROUTE_AFTER_WITHDRAWAL
    ground.progress("measuring how fast packets follow an UPDATE and a withdrawal")
    words = (routing.WEAK, None)
    await _gather(findings, (update,), lambda: _one(routing.measure_update(ground, update, words, routing.STRONG)))
    await _gather(findings, (withdrawal,), lambda: _one(routing.measure_withdrawal(ground)))
    await _gather(findings, _LEVERS, lambda: routing.measure_levers(ground))
    await _gather(findings, (Name.REROUTE_AFTER_TAKEOVER,), lambda: _one(_takeover(ground, findings)))
    sends, cut = Name.STANDBY_SENDS_FROM_FIP, Name.REROUTE_AFTER_POWER_CUT
    await _gather(findings, (sends,), lambda: _one(routing.measure_standby_sends(ground)))
    agreed = findings.value(Name.HOLD_NEGOTIATED_SECONDS)
    hold = agreed if isinstance(agreed, int) else HOLD_TRIED[0]
    await _gather(findings, (cut,), lambda: _one(routing.measure_power_cut(ground, hold)))


async def _takeover(ground: Ground, findings: Findings) -> Fact:
    if findings.value(Name.MED) != Lever.HONOURED.value:
        return missing(Name.REROUTE_AFTER_TAKEOVER, "MED is not honoured: a better UPDATE beats no standing primary")
    ground.progress("measuring how fast a promotion replaces an existing primary route")
    words = (STANDING_PRIMARY, STANDING_SECONDARY)
    return await routing.measure_update(ground, Name.REROUTE_AFTER_TAKEOVER, words, TAKING_OVER)


async def _same_host(site: Site) -> list[Fact]:
    same = await site.same_host()
    if same is None:
        return [missing(Name.SAME_HOST, "the platform does not tell")]
    return [Fact(Name.SAME_HOST, same, "the Linodes' host_uuid")]


async def _one(fact: Awaitable[Fact]) -> list[Fact]:
    return [await fact]
