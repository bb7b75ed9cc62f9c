"""All kinds of drill as one table: whom the event hits, what it does, who should be active then, and the bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from natpair.core.model import Gateway
from natpair_lab.drill import bounds, events
from natpair_lab.drill.stage import Durations, Injection, Stage
from natpair_lab.testbed.fabric import Knobs
from natpair_lab.testbed.world import Lab


class KindName(StrEnum):
    """The word on the command line."""

    CRASH = "crash"
    PLANNED = "planned"
    BACK_AND_FORTH = "back-and-forth"
    VLAN = "vlan"
    STANDBY_VLAN = "standby-vlan"
    UPLINK = "uplink"
    PARTITION = "partition"
    AGENT_KILL = "agent-kill"
    AGENT_STOP = "agent-stop"
    FLUSH = "flush"
    RETURN = "return"
    SPEAKER_KILL = "speaker-kill"


class Side(StrEnum):
    """Which node an event hits."""

    ACTIVE = "active"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the bars depend on beside the kind."""

    gateway: Gateway
    fabric: Knobs
    durations: Durations


Limits = Callable[[Conditions], Mapping[str, float]]
Inject = Callable[[Stage], Injection]
Restore = Callable[[Lab, str], None]
Prepare = Callable[[Lab, str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of drill. `survivor_serves`: who should be active afterwards, the survivor or the node that was hit.

    `patient` is for pairs that take long: a minute for the stream to work again, and half of one for each flow then.
    """

    name: KindName
    story: str
    hits: Side
    survivor_serves: bool
    inject: Inject
    limits: Limits
    restore: Restore = events.nothing
    prepare: Prepare | None = None
    after_seconds: float = 4.0
    patient: bool = False


def _crash(conditions: Conditions) -> Mapping[str, float]:
    timing = conditions.gateway.timing
    worst = bounds.CRASH_MS[conditions.gateway.pair.profile] + conditions.fabric.converge_ms
    if conditions.fabric.ignore_med:
        # To such a fabric the survivor's route only ties with the dead node's, until that one's session times out.
        worst = max(worst, timing.bgp_hold_seconds * 1000 + 1000 + conditions.fabric.converge_ms)
    return {**bounds.ALWAYS, "outage_ms": worst, "role_changes": 1}


def _planned(_: Conditions) -> Mapping[str, float]:
    smooth = {"packets_lost": 0, "flows_broken": 0, "stalled_new": 0, "new_refused": 0}
    return {**bounds.ALWAYS, **smooth, "excess_ms": bounds.PLANNED_EXCESS_MS, "role_changes": 1}


def _back_and_forth(_: Conditions) -> Mapping[str, float]:
    return {**bounds.ALWAYS, "moved_back_ms": bounds.BACK_AND_FORTH_MS, "role_changes": 2}


def _leg(conditions: Conditions) -> Mapping[str, float]:
    table = bounds.DEAD_LINK_MS if conditions.durations.dead else bounds.LINK_MS
    worst = table[conditions.gateway.pair.profile] + conditions.fabric.converge_ms
    return {**bounds.ALWAYS, "outage_ms": worst, "role_changes": 1}


def _untouched(_: Conditions) -> Mapping[str, float]:
    return {**bounds.ALWAYS, **bounds.UNTOUCHED}


def _partition(_: Conditions) -> Mapping[str, float]:
    claimants = bounds.TWO_CLAIMANTS_MS
    # A client may believe the wrong claimant for as long as there are two, and not a moment longer.
    return {**bounds.ALWAYS, "two_claimants_ms": claimants, "outage_ms": claimants, "role_changes": 1}


def _flush(_: Conditions) -> Mapping[str, float]:
    return {**bounds.ALWAYS, "repaired_ms": bounds.FLUSH_MS, "outage_ms": bounds.FLUSH_MS, "role_changes": 0}


def _speaker(_: Conditions) -> Mapping[str, float]:
    return {**bounds.ALWAYS, "outage_ms": bounds.SPEAKER_MS, "role_changes": 1}


def _return(conditions: Conditions) -> Mapping[str, float]:
    return {**_untouched(conditions), "standby_not_synced": 0}


_TABLE = (
    Kind(
        KindName.CRASH,
        "the active node loses power",
        Side.ACTIVE,
        survivor_serves=True,
        inject=events.power_cut,
        limits=_crash,
        restore=events.reboot,
    ),
    Kind(
        KindName.PLANNED,
        "the active node hands over on request",
        Side.ACTIVE,
        survivor_serves=True,
        inject=events.switchover,
        limits=_planned,
        restore=events.restart_election,
    ),
    Kind(
        KindName.BACK_AND_FORTH,
        "two switchovers, there and back within 5 s",
        Side.ACTIVE,
        survivor_serves=False,
        inject=events.there_and_back,
        limits=_back_and_forth,
    ),
    Kind(
        KindName.VLAN,
        "the active node's VLAN leg goes down",
        Side.ACTIVE,
        survivor_serves=True,
        inject=events.vlan_down,
        limits=_leg,
        restore=events.replug,
    ),
    Kind(
        KindName.STANDBY_VLAN,
        "the standby's VLAN leg dies, carrier up",
        Side.STANDBY,
        survivor_serves=True,
        inject=events.standby_vlan_dead,
        limits=_untouched,
        restore=events.replug,
        after_seconds=8.0,
    ),
    Kind(
        KindName.UPLINK,
        "the active node's public leg goes down",
        Side.ACTIVE,
        survivor_serves=True,
        inject=events.uplink_down,
        limits=_leg,
        restore=events.replug,
    ),
    Kind(
        KindName.PARTITION,
        "the VLAN is cut between the nodes, then healed",
        Side.STANDBY,
        survivor_serves=True,
        inject=events.split,
        limits=_partition,
    ),
    Kind(
        KindName.AGENT_KILL,
        "the active node's agent is killed",
        Side.ACTIVE,
        survivor_serves=False,
        inject=events.agent_killed,
        limits=_untouched,
    ),
    Kind(
        KindName.AGENT_STOP,
        "the active node's agent is frozen",
        Side.ACTIVE,
        survivor_serves=False,
        inject=events.agent_stopped,
        limits=_untouched,
    ),
    Kind(
        KindName.FLUSH,
        "another tool flushes the active node's ruleset",
        Side.ACTIVE,
        survivor_serves=False,
        inject=events.ruleset_flushed,
        limits=_flush,
    ),
    Kind(
        KindName.RETURN,
        "the node that lost power comes back",
        Side.STANDBY,
        survivor_serves=True,
        inject=events.powered_on,
        limits=_return,
        restore=events.reboot,
        prepare=events.cut_before,
    ),
    Kind(
        KindName.SPEAKER_KILL,
        "the active node's BGP speaker is killed",
        Side.ACTIVE,
        survivor_serves=False,
        inject=events.speaker_killed,
        limits=_speaker,
    ),
)

KINDS: Mapping[KindName, Kind] = {kind.name: kind for kind in _TABLE}
"""Every kind by its word. Where a standby is hit, the survivor is the active node, which should stay so."""
