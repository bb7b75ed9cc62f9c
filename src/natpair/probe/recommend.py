"""From facts to settings, each with its reason, and to warnings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from natpair.core.model import TIMINGS, Bgp, BgpPolicy, Profile
from natpair.probe.analysis import Lever, Tie
from natpair.probe.facts import Facts, Name

FAST_GAP_MS = 30.0
"""`fast` declares a node dead after 60 ms. If the VLAN's own gaps reach half of that, it would be wrong too often."""
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
        """The recommended value for a key; None if there is none."""
        return next((setting.value for setting in self.settings if setting.key == key), None)


def recommend(facts: Facts) -> Recommendation:
    """The settings for a network with these facts. A setting without a measurement keeps its default."""
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
        return chosen(Profile.CONSERVATIVE, f"the VLAN delayed adverts by {gap:g} ms; balanced needs less than 250 ms")
    if gap > FAST_GAP_MS or update is None or update.worst_ms > FAST_REROUTE_MS:
        slow = f"rerouting within {update.worst_ms:g} ms of an UPDATE" if update else "rerouting was not measured"
        return chosen(Profile.BALANCED, f"worst gap on the VLAN {gap:g} ms; {slow}")
    reason = f"worst gap on the VLAN {gap:g} ms in a short measurement, rerouting within {update.worst_ms:g} ms"
    return chosen(Profile.FAST, f"{reason}; use balanced if the role moves without cause")


def _policy(facts: Facts) -> Setting:
    def chosen(policy: BgpPolicy, reason: str) -> Setting:
        return Setting("bgp", "policy", policy.value, reason)

    match facts.value(Name.MED):
        case Lever.HONOURED.value:
            shares = facts.value(Name.TIE) == Tie.SHARED.value
            why = "; without it the load would be shared over equal routes, which breaks NAT" if shares else ""
            return chosen(BgpPolicy.NEWEST_WINS, f"MED is honoured: a promotion is preferred to a stale route{why}")
        case Lever.IGNORED.value:
            why = "MED is ignored: after a power cut the new route equals the stale one until the hold time ends"
            return chosen(BgpPolicy.PRIMARY_SECONDARY, why)
        case Lever.INVERTED.value:
            return chosen(
                BgpPolicy.PRIMARY_SECONDARY, "the higher MED wins here: with MED the old node would be preferred"
            )
    return chosen(BgpPolicy.PRIMARY_SECONDARY, "the safe choice, because the effect of MED could not be determined")


def _hold(facts: Facts, policy: Setting, profile: Profile) -> Setting:
    accepted = facts.number(Name.HOLD_NEGOTIATED_SECONDS)
    usual = TIMINGS[profile].bgp_hold_seconds
    if accepted is None:
        return Setting("bgp", "hold_seconds", 9, "the value of lelastic, because no hold time was negotiated here")
    least = int(accepted)
    if policy.value == BgpPolicy.PRIMARY_SECONDARY.value:
        return Setting(
            "bgp", "hold_seconds", least, "the lowest accepted value: it limits the outage after a power cut"
        )
    if least > usual:
        return Setting(
            "bgp", "hold_seconds", least, f"the lowest accepted value; the default of profile {profile} is {usual}"
        )
    return Setting("bgp", "hold_seconds", usual, f"the default of profile {profile}; {least} s is accepted")


def _ttl(facts: Facts) -> Setting:
    hops, usual = facts.number(Name.HOPS_TO_ROUTE_SERVERS), Bgp().multihop_ttl
    if hops is None:
        return Setting(
            "bgp", "multihop_ttl", usual, "the default: the number of hops to the route servers is not known"
        )
    wanted = max(usual, int(hops) + _SPARE_HOPS)
    return Setting("bgp", "multihop_ttl", wanted, f"the farthest route server is {int(hops)} hops away")


Rule = Callable[[Facts], Iterator[str]]


def _tie_warning(facts: Facts) -> Iterator[str]:
    honoured = facts.value(Name.MED) == Lever.HONOURED.value
    match facts.value(Name.TIE):
        case Tie.SHARED.value if honoured:
            yield (
                "Load is shared over two equal primary routes: do not let two routes be equal. Do not run lelastic or "
                "FRR together with natpair, and do not use bgp.policy = primary-secondary."
            )
        case Tie.SHARED.value:
            yield (
                "Load is shared over two equal primary routes, and MED has no effect: after a power cut, part of the "
                "flows goes to the dead node until the hold time ends."
            )
        case Tie.OLDER.value if not honoured:
            yield "Of two equal primary routes the older wins: after a power cut, traffic stops for the hold time."
        case Tie.FIXED.value if not honoured:
            yield (
                "Of two equal primary routes, that of one node always wins: if that node loses power, traffic stops "
                "until the hold time ends."
            )


def _lever_warning(facts: Facts) -> Iterator[str]:
    levers = {name: facts.value(name) for name in (Name.COMMUNITIES, Name.MED, Name.ORIGIN)}
    if None in levers.values():
        return
    honoured = {name for name, value in levers.items() if value == Lever.HONOURED.value}
    if not honoured:
        yield "Communities, MED and ORIGIN have no effect: natpair does not work in this region. Do not use it here."
    elif Name.COMMUNITIES not in honoured:
        rest = " MED has an effect." if Name.MED in honoured else ""
        yield f"The communities 65000:1 and 65000:2 have no effect here.{rest} This region may use other communities."
    if Name.MED not in honoured and honoured:
        left = " and ".join(sorted(name.value for name in honoured))
        yield (
            f"Without MED, only {left} can be used; natpair itself uses only communities. "
            "Please open an issue with this report."
        )


def _session_warning(facts: Facts) -> Iterator[str]:
    if facts.value(Name.GRACEFUL_RESTART_OFFERED) is True:
        yield (
            "The route servers offer graceful restart. natpair does not use it, because they would keep sending "
            "packets to a dead node."
        )
    power, hold = facts.spread(Name.REROUTE_AFTER_POWER_CUT), facts.number(Name.HOLD_NEGOTIATED_SECONDS)
    if power is not None and hold is not None and power.worst_ms > 1000 * (hold + 2):
        yield f"A dead node's route stayed for {power.worst_ms / 1000:.1f} s, longer than the hold time of {hold:g} s."


def _vlan_warning(facts: Facts) -> Iterator[str]:
    if facts.value(Name.VRRP_UNICAST) is False:
        yield "VRRP unicast does not pass the VLAN, so Keepalived's election cannot work there."
    if facts.value(Name.GRATUITOUS_ARP) is False:
        yield (
            "Gratuitous ARP is lost or ignored: after a takeover, clients keep sending to the old node until their ARP "
            "entry expires."
        )
    mtu = facts.number(Name.VLAN_MTU)
    if mtu is not None and mtu < _STANDARD_MTU:
        yield f"The VLAN carries packets of at most {mtu:g} bytes: lower the MTU of eth1 on nodes and clients."
    if facts.value(Name.SAME_HOST) is True:
        yield "Both probe machines were on one physical host, so VLAN traffic between them did not leave it."


def _vlan_remark(facts: Facts) -> Iterator[str]:
    match facts.value(Name.VRRP_MULTICAST):
        case True:
            yield "VRRP multicast passes too: any other VRRP on this VLAN needs a different vrrp.router_id."
        case False:
            yield "VRRP multicast does not pass; natpair uses unicast and does not need it."
    if facts.value(Name.FOREIGN_MAC) is False:
        yield "Frames from other MAC addresses are dropped, so a virtual MAC for VRRP is impossible. natpair uses none."
    mtu = facts.number(Name.VLAN_MTU)
    if mtu is not None and mtu > _STANDARD_MTU:
        yield f"Packets of {mtu:g} bytes pass the VLAN; packets to the internet must still fit into 1500 bytes."


def _routing_remark(facts: Facts) -> Iterator[str]:
    match facts.value(Name.STANDBY_SENDS_FROM_FIP):
        case True:
            yield "The standby can send from the FIP. natpair does not depend on it: its standby relays over the VLAN."
        case False:
            yield "The standby cannot send from the FIP, so it must relay replies to the active node, as natpair does."
    before = facts.value(Name.SESSIONS_BEFORE_SHARE)
    if isinstance(before, str) and before.startswith("0 "):
        yield "No BGP session comes up without a share: share the FIP first, as natpair cloud apply does."
    cut = facts.spread(Name.REROUTE_AFTER_POWER_CUT)
    takeover = facts.spread(Name.REROUTE_AFTER_TAKEOVER)
    if cut is not None and takeover is not None:
        yield (
            f"Without a takeover, packets leave a dead node after {cut.worst_ms / 1000:.1f} s; "
            f"with a promotion, within {takeover.worst_ms:g} ms."
        )


_WARNINGS: tuple[Rule, ...] = (_lever_warning, _tie_warning, _session_warning, _vlan_warning)
_REMARKS: tuple[Rule, ...] = (_routing_remark, _vlan_remark)
