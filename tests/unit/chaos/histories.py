"""Builders of histories: one in which all is well, and changes to it, so that each test states only what it breaks."""

from __future__ import annotations

from dataclasses import replace

from natpair.errors import NatpairError
from natpair_lab.chaos.checker import Finding, check
from natpair_lab.chaos.fault import Fault, Invariant, Limits
from natpair_lab.chaos.history import Aftermath, History, Offer, Resources, StatusSeen
from natpair_lab.drill.records import FlowRecord, Leak, Link, RouteChange, Seen, UdpRecord
from unit.drill.drill_samples import END, EVENT, MS, SECOND, START, flow, stream

FIP = "192.0.2.221"
A, B = "nat-a", "nat-b"


def nothing(_scene: object) -> None:
    raise NatpairError("no test injects anything")


def fault(**changes: object) -> Fault:
    base = Fault(99, "a fault", 1000, nothing, invariants=tuple(Invariant))
    return replace(base, **changes)  # type: ignore[arg-type]


def limits(**changes: object) -> Limits:
    return replace(Limits(), **changes)  # type: ignore[arg-type]


def connections() -> tuple[FlowRecord, ...]:
    """A new connection every 50 ms until the flows are asked for proof."""
    moments = range(START, EVENT + SECOND, 50 * MS)
    return tuple(flow(opened=m, address=f"{FIP}:{20000 + n}") for n, m in enumerate(moments))


def statuses(active: str = A) -> tuple[StatusSeen, ...]:
    """Both agents every 200 ms: one active, the other standby."""
    return tuple(
        StatusSeen(moment, node, "active" if node == active else "standby", "65000:1" if node == active else "65000:2")
        for moment in range(START, END + 1, 200 * MS)
        for node in (A, B)
    )


def history(**changes: object) -> History:
    """Nothing happened: nat-a was active all the time, and nobody noticed any event."""
    used = (Resources(A, 100_000, 100, 1000), Resources(B, 100_000, 100, 1000))
    base = History(
        fault="99",
        nodes=(A, B),
        active=A,
        baseline_ns=START,
        event_ns=EVENT,
        calm_ns=EVENT,
        repair_ns=EVENT + 3 * SECOND,
        probe_ns=EVENT + SECOND,
        end_ns=END,
        fips=(FIP,),
        own_addresses=frozenset({"203.0.113.3", "203.0.113.4", "192.168.1.3", "192.168.1.4"}),
        vip_start=(A,),
        path_start=(A,),
        udp=stream(),
        aftermath=Aftermath(EVENT + 4 * SECOND, (A,), (A,), 50, 0),
        flows=(flow(address=f"{FIP}:5000"),),
        connections=connections(),
        offers=(Offer(START, (A,)),),
        statuses=statuses(),
        before=used,
        after=used,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def found(invariant: Invariant, record: History, **changes: object) -> Finding:
    """What one invariant says of a history."""
    (finding,) = check(record, fault(invariants=(invariant,), **changes))
    return finding


def at(milliseconds: float) -> int:
    """A moment after the event."""
    return EVENT + int(milliseconds * MS)


def leak(source: str, *, leaving: bool = True) -> Seen[Leak]:
    return Seen(at(5), A, Link.PUBLIC, leaving, Leak(source, "198.51.100.10", 6))


def lost(*silences: tuple[int, int]) -> UdpRecord:
    return stream(tuple((a * MS, b * MS) for a, b in silences))


def moved(milliseconds: float, *nodes: str) -> RouteChange:
    return RouteChange(at(milliseconds), nodes)
