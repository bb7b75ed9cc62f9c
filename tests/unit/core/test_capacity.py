"""Room for flows: what the kernel's counts say, and who has most."""

from __future__ import annotations

import pytest

from natpair.agent.lookout import statistics
from natpair.core.capacity import Capacity, Crowd, crowd_of

KERNEL = """entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop
00000005  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 0000000a 0000000b 00000000
00000005  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000010 00000001 00000000
"""


def read(*readings: tuple[int, int], pace: float = 1.0) -> Capacity:
    capacity = Capacity()
    for number, (failed, dropped) in enumerate(readings):
        capacity = capacity.read(failed, dropped, number * pace)
    return capacity


def test_the_kernels_file_is_read_over_all_cpus() -> None:
    assert statistics(KERNEL) == (26, 12)


def test_a_file_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="insert_failed"):
        statistics("entries found\n0 0\n")


@pytest.mark.parametrize(
    ("readings", "refusing", "overflowing"),
    [
        ([(7, 7)], False, False),
        ([(7, 7), (9, 9), (11, 11)], False, False),
        ([(7, 7), (20, 20)], True, False),
        ([(7, 7), (10, 10), (13, 13)], True, False),
        ([(7, 7), (7, 60)], False, True),
        ([(7, 7), (90, 90), (90, 90), (90, 90), (90, 90)], False, False),
        ([(90, 90), (3, 3)], False, False),
    ],
    ids=["history", "races", "ports", "slowly", "full", "over", "new-counters"],
)
def test_what_the_counts_say(readings: list[tuple[int, int]], refusing: bool, overflowing: bool) -> None:
    capacity = read(*readings)
    assert (capacity.refusing, capacity.overflowing) == (refusing, overflowing)


def test_the_largest_crowd_is_found_and_named() -> None:
    crowd = ("192.0.2.221", 6, "198.51.100.10", 443)
    found = crowd_of([crowd] * 9 + [("192.0.2.221", 17, "198.51.100.10", 53)], 70_000)
    assert found == Crowd(*crowd, about=63_000)
    assert str(found) == "192.0.2.221 has about 63,000 flows to 198.51.100.10 port 443 (TCP)"
    assert crowd_of([], 70_000) is None
