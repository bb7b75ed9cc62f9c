"""What is true in the simulated world, whatever the agents believe: who serves, who could, and what nobody could know.

I13: whenever a node exists that could serve, somebody serves clients within `i13_seconds`. A new fault begins the wait
anew. I2: two claim the role for `i2_seconds` at most. This is asked while each of the two can hear the other: the
messages of a new life are believed only when they echo one of ours.
"""

from __future__ import annotations

from natpair.core.desired import Traffic
from natpair.core.state import UNANSWERED_SECONDS
from natpair.core.wire import Path
from simulation.machine import Machine
from simulation.world import Link, World

I2_SECONDS = 3.0
I13_SECONDS = 10.0
LOST = 1.0
"""A share of lost packets at which nothing gets through."""
FLAPS = 3
"""Promotions in the last 24 s of lasting faults that are still borne."""
WORSE = 2
"""All bounds are that many times as large where chance decides too much, which is so in two cases:

More than half of all packets are lost on the better path of either way. At 90 %, the most that stories lose short of
all, a heartbeat arrives every 1 to 2 s. Three adverts in a row are lost in 73 % of all cases, so VRRP claims the role
all the time, and a challenge of 1 s stays unanswered in 3 %. An agent that restarts has to be heard, and then to hear:
at 20 messages a second that takes more than 3 s in 1.7 % of all cases, more than 6 s in 0.01 %.

Or adverts come later than twice the detection time, which only the fast profile's 60 ms is short enough for: VRRP
cannot tell a late advert from a dead peer, and a challenge waits for 30 ms.
"""


def _worse(world: World) -> int:
    """`WORSE` where chance decides too much, else 1."""
    lossy = any(0.5 < _least_loss(world, sender) < LOST for sender in world.machines)
    detect = min(machine.terms.detect for machine in world.machines.values())
    late = any(world.lines[sender, Path.PRIVATE].extra > 2 * detect for sender in world.machines)
    return WORSE if lossy or late else 1


def i2_seconds(world: World) -> float:
    """How long two may claim the role that can hear each other."""
    return I2_SECONDS * _worse(world)


def i13_seconds(world: World) -> float:
    """Ten seconds. A profile whose hold time is long may need a little more than that to call a peer silent."""
    slowest = max(machine.terms.hold + 1 + 2 * machine.terms.detect for machine in world.machines.values())
    return max(I13_SECONDS, slowest) * _worse(world)


def flaps_borne(world: World) -> int:
    """How many promotions are borne while the faults last."""
    return FLAPS * _worse(world)


def could_serve(world: World, machine: Machine) -> bool:
    """This node, given the role, would serve clients. Its agent's own opinion does not count.

    A drained one need not step in for a node whose repairs somebody undoes: nobody can tell whether that hurts clients.
    Nor for one to which no packets come back (ADR 0030).
    """
    return (
        _healthy(world, machine)
        and machine.awake
        and machine.keepalived_state == "well"
        and (machine.loadable or (machine.kernel[0] is Traffic.LOCAL and _claims(machine)))
        and not (machine.disk.drained and _hurts_perhaps(world, world.other(machine.name)))
    )


def _hurts_perhaps(world: World, active: Machine) -> bool:
    return active.fought or _gets_nothing_back(world, active)


def _claims(machine: Machine) -> bool:
    return machine.state is not None and machine.state.claims_active


def _healthy(world: World, machine: Machine) -> bool:
    """Power, both links, the next hop, the way on from there, route servers, packets that come back, and nobody who
    undoes what is repaired.

    What is dead behind the next hop counts once the sessions' hold time has run out: nobody can know it earlier. That
    holds for lost replies as well if that is why they are lost: without sessions their silence is explained.
    """
    back = (machine.shared and machine.line) or not machine.beyond
    return machine.sessions and back and _forwards(world, machine)


def _forwards(world: World, machine: Machine) -> bool:
    return (
        machine.powered
        and machine.frozen_since is None
        and all(world.links[machine.name, path] is Link.UP for path in Path)
        and machine.gateway
        and (machine.beyond or machine.sessions)
        and not machine.fought
    )


def served(world: World) -> bool:
    """Clients are served: the node to which they send has the VIP, translates, and packets come back."""
    target = _gateway_of_clients(world)
    if target is None or target.kernel[0] is not Traffic.LOCAL:
        return False
    if _healthy(world, target):
        return True
    # Without a session of its own the fabric sends to the other node, which relays over the VLAN.
    helper = world.other(target.name)
    relays = helper.kernel[0] is Traffic.RELAY and world.carries(Path.PRIVATE) and _healthy(world, helper)
    return relays and not target.sessions and target.beyond and target.line and _forwards(world, target)


def _gateway_of_clients(world: World) -> Machine | None:
    """Who claimed the VIP last, if it still has it: clients do not ask anew for half a minute."""
    have = [m for m in world.machines.values() if m.vip and m.powered and world.links[m.name, Path.PRIVATE] is Link.UP]
    return next((machine for machine in have if machine.name == world.arp_owner), None)


def nobody_can_know(world: World, able: Machine) -> str:
    """Why no protocol of this design could let `able` serve; empty if one could.

    Keepalived alone elects: a node whose Keepalived is master and whose agent is away cannot be told to let go.
    And of two nodes that do not hear each other on the VLAN, only the clients' answers tell whose link is dead.
    A line that is cut far away shows only in clients' traffic. And whether the fabric brings a FIP to a node shows only
    while it is active: one that got nothing either is not tried again for `UNANSWERED_SECONDS`. One that may still be
    of use, and hears no peer, keeps the role: its trouble may end before the peer is back. A peer that hears it stays
    out.
    """
    rival = world.other(able.name)
    if rival.vip and not rival.awake and rival.frozen_since is None:
        return "the master's agent is away"
    if rival.awake and _claims(rival) and not world.carries(Path.PRIVATE) and not world.answering(able.name):
        return "no client answers"
    if _claims(rival) and _hurts_perhaps(world, rival) and hears(world, able) and not hears(world, rival):
        return "the active node does not hear its peer"
    if _gets_nothing_back(world, rival):
        if not rival.line and not world.clients:
            return "no client talks"
        if _had_nothing_back(world, able):
            return "no packets came back there either"
    return ""


def _gets_nothing_back(world: World, machine: Machine) -> bool:
    """It serves as far as it can, and packets for the FIP do not come back."""
    serves = machine.awake and _claims(machine) and machine.sessions and _forwards(world, machine)
    return serves and not (machine.shared and machine.line)


def settling_since(world: World) -> float:
    """When a node that gets nothing back was promoted: for the hold time packets may be on their way to the other."""
    ends = {promotion.node: promotion.time for promotion in world.promotions}
    return max((at for node, at in ends.items() if _gets_nothing_back(world, world.machines[node])), default=0.0)


def _had_nothing_back(world: World, machine: Machine) -> bool:
    """Nor did it when it was active lately, in truth and to its own knowledge."""
    now, since = world.clock.now, machine.in_vain_at
    lately = since is not None and now < since + UNANSWERED_SECONDS
    return lately and machine.state is not None and machine.state.unanswered(now)


def note_vain(world: World) -> None:
    """Keeps `in_vain_at` of the machines; to be called again and again."""
    for machine in world.machines.values():
        if _gets_nothing_back(world, machine):
            machine.in_vain_at = world.clock.now


def _least_loss(world: World, sender: str) -> float:
    """The share of lost packets on the better path of those that carry anything."""
    shares = [max(world.lines[sender, path].loss, world.loss[path]) for path in Path if world.carries(path)]
    return min(shares, default=LOST)


def hears(world: World, machine: Machine) -> bool:
    """Something of the other node's can reach this one."""
    return _least_loss(world, world.other(machine.name).name) < LOST
