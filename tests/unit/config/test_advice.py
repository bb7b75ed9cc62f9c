"""Advice: what is legal but unwise is named with its key; the example has nothing but its open ssh port."""

from __future__ import annotations

import pytest

from natpair.config.advice import advise
from samples import gateway


def keys(*changes: tuple[str, str], extra: str = "") -> list[str]:
    return [advice.key for advice in advise(gateway(*changes, extra=extra))]


CALM = '[firewall]\nmanagement_sources = ["10.9.0.0/16"]\n'


def test_a_careful_file_gets_none() -> None:
    assert keys(extra=CALM) == []
    assert keys() == ["firewall.management_sources"]


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ("[nat]\nmax_flows = 4000000\n", "nat.max_flows"),
        ("[nat]\nmax_flows = 2000\n", "nat.max_flows"),
        ("[nat]\ntcp_established_seconds = 432000\n", "nat.tcp_established_seconds"),
        ("[nat]\nudp_seconds = 120\n", "nat.udp_seconds"),
        ("[health]\nprobe_interval_ms = 100\nprobe_failures = 1\n", "health.probe_failures"),
        ("[health]\nprobe_interval_ms = 10000\nprobe_failures = 3\n", "health.probe_failures"),
        ("[sync]\nrefresh_seconds = 10\n", "sync.refresh_seconds"),
    ],
)
def test_what_could_be_better(extra: str, key: str) -> None:
    found = advise(gateway(extra=CALM + extra))
    assert key in [advice.key for advice in found]
    assert all(advice.message and advice.accepted for advice in found)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('profile = "balanced"', 'profile = "fast"'), "pair.profile"),
        (('region = "us-ord"', 'region = "us-ord"\nhold_seconds = 90'), "bgp.hold_seconds"),
        (('region = "us-ord"', 'region = "us-ord"\npolicy = "primary-secondary"'), "bgp.policy"),
    ],
)
def test_timers_that_are_legal(change: tuple[str, str], key: str) -> None:
    assert keys(change, extra=CALM) == [key]
