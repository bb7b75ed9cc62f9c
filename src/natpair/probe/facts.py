"""What the probe measures, as values: each fact with its evidence, or the reason why it was not measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from natpair.probe.analysis import Spread

Value = str | int | float | bool | Spread | None


class Name(StrEnum):
    """Every fact, in the order of the report."""

    SESSIONS_BEFORE_SHARE = "sessions_before_share"
    SESSIONS_AFTER_SHARE = "sessions_after_share"
    SHARE_TO_SESSIONS_SECONDS = "share_to_sessions_seconds"
    HOLD_NEGOTIATED_SECONDS = "hold_negotiated_seconds"
    HOLD_OFFERED_SECONDS = "hold_offered_seconds"
    GRACEFUL_RESTART_OFFERED = "graceful_restart_offered"
    HOPS_TO_ROUTE_SERVERS = "hops_to_route_servers"
    COMMUNITIES = "communities"
    MED = "med"
    ORIGIN = "origin"
    TIE = "tie"
    REROUTE_AFTER_UPDATE = "reroute_after_update"
    REROUTE_AFTER_TAKEOVER = "reroute_after_takeover"
    REROUTE_AFTER_WITHDRAWAL = "reroute_after_withdrawal"
    REROUTE_AFTER_POWER_CUT = "reroute_after_power_cut"
    STANDBY_SENDS_FROM_FIP = "standby_sends_from_fip"
    VRRP_UNICAST = "vrrp_unicast"
    VRRP_MULTICAST = "vrrp_multicast"
    VLAN_WORST_GAP_MS = "vlan_worst_gap_ms"
    GRATUITOUS_ARP = "gratuitous_arp"
    FOREIGN_MAC = "foreign_mac"
    VLAN_MTU = "vlan_mtu"
    SAME_HOST = "same_host"


WORDS: Mapping[Name, str] = MappingProxyType(
    {
        Name.SESSIONS_BEFORE_SHARE: "BGP sessions before the FIP is shared",
        Name.SESSIONS_AFTER_SHARE: "BGP sessions after the FIP is shared",
        Name.SHARE_TO_SESSIONS_SECONDS: "time from the share to all sessions, seconds",
        Name.HOLD_NEGOTIATED_SECONDS: "negotiated BGP hold time, seconds",
        Name.HOLD_OFFERED_SECONDS: "hold time that the route servers offer, seconds",
        Name.GRACEFUL_RESTART_OFFERED: "graceful restart offered by the route servers",
        Name.HOPS_TO_ROUTE_SERVERS: "hops to the farthest route server",
        Name.COMMUNITIES: "communities 65000:1 and 65000:2",
        Name.MED: "MED",
        Name.ORIGIN: "ORIGIN",
        Name.TIE: "winner of two equal primary routes",
        Name.REROUTE_AFTER_UPDATE: "time from UPDATE to rerouted packets",
        Name.REROUTE_AFTER_TAKEOVER: "time from a better UPDATE beside the old primary to rerouted packets",
        Name.REROUTE_AFTER_WITHDRAWAL: "time from withdrawal to rerouted packets",
        Name.REROUTE_AFTER_POWER_CUT: "time from power cut to rerouted packets, without a takeover",
        Name.STANDBY_SENDS_FROM_FIP: "the standby can send from the FIP",
        Name.VRRP_UNICAST: "VRRP unicast passes the VLAN",
        Name.VRRP_MULTICAST: "VRRP multicast passes the VLAN",
        Name.VLAN_WORST_GAP_MS: "worst gap that the VLAN adds between adverts, milliseconds",
        Name.GRATUITOUS_ARP: "gratuitous ARP passes the VLAN and is accepted",
        Name.FOREIGN_MAC: "frames from a foreign MAC address pass the VLAN",
        Name.VLAN_MTU: "largest IPv4 packet on the VLAN, bytes",
        Name.SAME_HOST: "both probe machines on one physical host",
    }
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact. `value` None means not measured, and `not_measured` says why."""

    name: Name
    value: Value
    evidence: str = ""
    not_measured: str = ""

    @property
    def words(self) -> str:
        """The fact's name for people."""
        return WORDS[self.name]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was found out."""

    facts: tuple[Fact, ...] = ()

    def value(self, name: Name) -> Value:
        """A fact's value; None if it was not measured."""
        return next((fact.value for fact in self.facts if fact.name is name), None)

    def spread(self, name: Name) -> Spread | None:
        """The value of a fact that is a time; None if it was not measured."""
        value = self.value(name)
        return value if isinstance(value, Spread) else None

    def number(self, name: Name) -> float | None:
        """The value of a fact that is a number; None if it was not measured."""
        value = self.value(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def complete(self) -> Facts:
        """In the report's order, with an entry for each fact that nobody got to."""
        found = {fact.name: fact for fact in self.facts}
        return Facts(tuple(found.get(name, missing(name, "the probe ended before it")) for name in Name))


def missing(name: Name, why: str) -> Fact:
    """A fact that was not measured."""
    return Fact(name, None, not_measured=why)


def all_missing(names: Iterable[Name], why: str) -> list[Fact]:
    """Facts that were not measured for one reason."""
    return [missing(name, why) for name in names]
