"""What keeps a node from serving, in plain words: the cause of a change of role."""

from __future__ import annotations

from natpair.core.state import NodeState


def ailment(state: NodeState, now: float) -> str:
    """What is wrong with the node itself, most telling first; "unhealthy" if nothing has a name."""
    health, me = state.health, state.terms.me
    chains = [thing.removeprefix("table ") for thing in health.astray if thing.startswith("table ")]
    others = [thing for thing in health.astray if not thing.startswith("table ")]
    named = (
        (not health.private_up, "the private link is down"),
        (state.blind(now), "hears no client on the VLAN, unlike its peer"),
        (not health.public_up, "the public link is down"),
        (not health.gateway, "the public gateway does not answer ARP"),
        (not health.ruleset, "the ruleset is not as rendered"),
        (bool(chains), f"{me}'s client traffic is dropped by {', '.join(chains)}"),
        (bool(others), f"{', '.join(others)} cannot be put right"),
        (bool(health.silent), f"no packets come back for {', '.join(one.fip for one in health.silent)}"),
        (not health.bgp_established and not state.can_serve(now), "no BGP session is Established"),
    )
    return "; ".join(words for holds, words in named if holds) or "unhealthy"
