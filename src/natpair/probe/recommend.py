"""From facts to settings, each with its reason, and to warnings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from natpair.core.model import TIMINGS, Bgp, BgpPolicy, Profile
from natpair.probe.analysis import Lever, Tie
from natpair.probe.facts import Facts, Name

FAST_GAP_MS = 30.0
"""`fast` calls a node dead after 60 ms: on a VLAN whose own gaps come to half of that it would be wrong too often."""
BALANCED_GAP_MS = 250.0
FAST_REROUTE_MS = 200.0
_STANDARD_MTU = 1500
_SPARE_HOPS = 4


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of gateway.toml, with the reason for its value."""

    table: str
    key: str
    value: str | int
    reason: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to write into gateway.toml, and what to know."""

    settings: tuple[Setting, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]

    def value(self, key: str) -> str | int | None:
        """The value recommended for a key; None if nothing is."""
        return next((setting.value for setting in self.settings if setting.key == key), None)


def recommend(facts: Facts) -> Recommendation:
    """The settings for a network with these facts; what was not measured keeps its default, and the reason says so."""
    profile = _profile(facts)
    policy = _policy(facts)
    settings = (profile, policy, _hold(facts, policy, Profile(str(profile.value))), _ttl(facts))
    warnings = [line for rule in _WARNINGS for line in rule(facts)]
    remarks = [line for rule in _REMARKS for line in rule(facts)]
    return Recommendation(settings, tuple(warnings), tuple(remarks))


def _profile(facts: Facts) -> Setting:
    gap, update = facts.number(Name.VLAN_WORST_GAP_MS), facts.spread(Name.REROUTE_AFTER_UPDATE)

    def chosen(profile: Profile, reason: str) -> Setting:
        return Setting("pair", "profile", profile.value, reason)

    if gap is None:
        return chosen(Profile.BALANCED, "the default: the VLAN's gaps were not measured")
    if gap > BALANCED_GAP_MS:
        return chosen(Profile.CONSERVATIVE, f"the VLAN held adverts back for {gap:g} ms, half of what balanced waits")
    if gap > FAST_GAP_MS or update is None or update.worst_ms > FAST_REROUTE_MS:
        slow = f"packets follow an UPDATE within {update.worst_ms:g} ms" if update else "rerouting was not measured"
        return chosen(Profile.BALANCED, f"worst gap on the VLAN {gap:g} ms; {slow}")
    reason = f"worst gap on the VLAN {gap:g} ms in a short measurement, rerouting within {update.worst_ms:g} ms"
    return chosen(Profile.FAST, f"{reason}; go back to balanced if roles change without cause")


def _policy(facts: Facts) -> Setting:
    def chosen(policy: BgpPolicy, reason: str) -> Setting:
        return Setting("bgp", "policy", policy.value, reason)

    match facts.value(Name.MED):
        case Lever.HONOURED.value:
            shares = facts.value(Name.TIE) == Tie.SHARED.value
            why = ", and equal routes would be shared over, which splits a NAT" if shares else ""
            return chosen(BgpPolicy.NEWEST_WINS, f"MED is honoured: a promotion beats a stale route{why}")
        case Lever.IGNORED.value:
            why = "MED is ignored: after a power cut a takeover only ties with the stale route until the hold time ends"
            return chosen(BgpPolicy.PRIMARY_SECONDARY, why)
        case Lever.INVERTED.value:
            return chosen(
                BgpPolicy.PRIMARY_SECONDARY, "the higher MED wins here: sending one would prefer the old node"
            )
    return chosen(BgpPolicy.PRIMARY_SECONDARY, "the conservative one: what MED does could not be told")


def _hold(facts: Facts, policy: Setting, profile: Profile) -> Setting:
    accepted = facts.number(Name.HOLD_NEGOTIATED_SECONDS)
    usual = TIMINGS[profile].bgp_hold_seconds
    if accepted is None:
        return Setting("bgp", "hold_seconds", 9, "what lelastic uses: no hold time was agreed on here")
    least = int(accepted)
    if policy.value == BgpPolicy.PRIMARY_SECONDARY.value:
        return Setting(
            "bgp", "hold_seconds", least, "the least that is accepted: it bounds a takeover after a power cut"
        )
    if least > usual:
        return Setting(
            "bgp", "hold_seconds", least, f"the least that is accepted; profile {profile} would ask for {usual}"
        )
    return Setting("bgp", "hold_seconds", usual, f"as profile {profile} has it; {least} s is accepted")


def _ttl(facts: Facts) -> Setting:
    hops, usual = facts.number(Name.HOPS_TO_ROUTE_SERVERS), Bgp().multihop_ttl
    if hops is None:
        return Setting("bgp", "multihop_ttl", usual, "the default: the hops to the route servers were not told")
    wanted = max(usual, int(hops) + _SPARE_HOPS)
    return Setting("bgp", "multihop_ttl", wanted, f"the farthest route server is {int(hops)} hops away")


Rule = Callable[[Facts], Iterator[str]]


def _tie_warning(facts: Facts) -> Iterator[str]:
    honoured = facts.value(Name.MED) == Lever.HONOURED.value
    match facts.value(Name.TIE):
        case Tie.SHARED.value if honoured:
            yield (
                "Equal primaries are shared over: never let two routes tie. No lelastic or FRR beside natpair, and not "
                "bgp.policy = primary-secondary."
            )
        case Tie.SHARED.value:
            yield (
                "Equal primaries are shared over and MED does not decide: from a takeover after a power cut until the "
                "hold time ends, part of the flows goes to the dead node."
            )
        case Tie.OLDER.value if not honoured:
            yield "The older of two equal primaries wins: a takeover after a power cut waits for the hold time to end."
        case Tie.FIXED.value if not honoured:
            yield (
                "One node always wins between equal primaries: when that one loses power, a takeover waits for the "
                "hold time to end."
            )


def _lever_warning(facts: Facts) -> Iterator[str]:
    levers = {name: facts.value(name) for name in (Name.COMMUNITIES, Name.MED, Name.ORIGIN)}
    if None in levers.values():
        return
    honoured = {name for name, value in levers.items() if value == Lever.HONOURED.value}
    if not honoured:
        yield "Neither communities nor MED nor ORIGIN decide: natpair cannot steer this fabric. Do not use it there."
    elif Name.COMMUNITIES not in honoured:
        rest = " MED still decides." if Name.MED in honoured else ""
        yield f"The communities 65000:1 and 65000:2 do not decide here.{rest} Has this region other conventions?"
    if Name.MED not in honoured and honoured:
        left = " and ".join(sorted(name.value for name in honoured))
        yield (
            f"Without MED the levers left are {left}; natpair itself uses communities only, "
            "so please open an issue with this report."
        )


def _session_warning(facts: Facts) -> Iterator[str]:
    if facts.value(Name.GRACEFUL_RESTART_OFFERED) is True:
        yield (
            "The route servers offer graceful restart. natpair does not take it: a helper would keep sending packets "
            "to a dead node."
        )
    power, hold = facts.spread(Name.REROUTE_AFTER_POWER_CUT), facts.number(Name.HOLD_NEGOTIATED_SECONDS)
    if power is not None and hold is not None and power.worst_ms > 1000 * (hold + 2):
        yield f"A dead node's route stayed for {power.worst_ms / 1000:.1f} s, longer than the hold time of {hold:g} s."


def _vlan_warning(facts: Facts) -> Iterator[str]:
    if facts.value(Name.VRRP_UNICAST) is False:
        yield "VRRP unicast does not pass the VLAN: Keepalived, as natpair sets it up, cannot elect there."
    if facts.value(Name.GRATUITOUS_ARP) is False:
        yield (
            "Gratuitous ARP is lost or not believed: after a takeover clients keep sending to the old node until their "
            "own entry expires."
        )
    mtu = facts.number(Name.VLAN_MTU)
    if mtu is not None and mtu < _STANDARD_MTU:
        yield f"The VLAN carries packets of {mtu:g} bytes only: lower the MTU of eth1 on nodes and clients."
    if facts.value(Name.SAME_HOST) is True:
        yield "Both probe machines ran on one physical host: what was measured on the VLAN never left it."


def _vlan_remark(facts: Facts) -> Iterator[str]:
    match facts.value(Name.VRRP_MULTICAST):
        case True:
            yield "VRRP multicast passes too: whatever else speaks VRRP on this VLAN must have another vrrp.router_id."
        case False:
            yield "VRRP multicast does not pass; natpair speaks unicast and does not need it."
    if facts.value(Name.FOREIGN_MAC) is False:
        yield "Frames from other hardware addresses are dropped: no virtual MAC for VRRP. natpair uses none."
    mtu = facts.number(Name.VLAN_MTU)
    if mtu is not None and mtu > _STANDARD_MTU:
        yield f"Packets of {mtu:g} bytes pass the VLAN; what goes on to the internet must still fit 1500."


def _routing_remark(facts: Facts) -> Iterator[str]:
    match facts.value(Name.STANDBY_SENDS_FROM_FIP):
        case True:
            yield "The standby may send from the FIP. natpair does not build on it: its standby relays over the VLAN."
        case False:
            yield "The standby may not send from the FIP: replies must go by the active, which is what relaying does."
    before = facts.value(Name.SESSIONS_BEFORE_SHARE)
    if isinstance(before, str) and before.startswith("0 "):
        yield "No session comes up without a share: share first, as natpair cloud apply does, and only then expect BGP."
    cut = facts.spread(Name.REROUTE_AFTER_POWER_CUT)
    takeover = facts.spread(Name.REROUTE_AFTER_TAKEOVER)
    if cut is not None and takeover is not None:
        yield (
            f"Left alone the fabric leaves a dead node after {cut.worst_ms / 1000:.1f} s; "
            f"a promotion takes the packets within {takeover.worst_ms:g} ms."
        )


_WARNINGS: tuple[Rule, ...] = (_lever_warning, _tie_warning, _session_warning, _vlan_warning)
_REMARKS: tuple[Rule, ...] = (_routing_remark, _vlan_remark)
