"""A node that cannot serve says why, in plain words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from natpair.core.health import Health
from natpair.core.replies import FipReplies, ReplyState
from natpair.core.rules import ailment
from nodes import NO_BGP, WELL, active, changed


@pytest.mark.parametrize(
    ("health", "words"),
    [
        ({"private_up": False}, "the private link is down"),
        ({"public_up": False}, "the public link is down"),
        ({"gateway": False}, "the public gateway does not answer ARP"),
        ({"ruleset": False}, "the ruleset is not as rendered"),
        (
            {"unrepaired": ("table inet ufw chain fchain",)},
            "nat-a's client traffic is dropped by inet ufw chain fchain",
        ),
        ({"replies": (FipReplies("192.0.2.221", ReplyState.SILENT),)}, "no replies come back for 192.0.2.221"),
        ({"unrepaired": ("ruleset",)}, "ruleset cannot be repaired"),
        ({}, "unhealthy"),
    ],
)
def test_each_ailment_has_its_words(health: dict[str, Any], words: str) -> None:
    assert ailment(active(health=changed(WELL, **health)), 0.0) == words


def test_several_are_all_named_and_a_lost_session_counts_when_it_hurts() -> None:
    state = active(health=replace(NO_BGP, public_up=False))
    assert ailment(changed(state, bgp_lost_at=-60.0), 0.0) == ("the public link is down; no BGP session is Established")
    assert "private" in ailment(active(health=Health()), 0.0)
