"""The bars that a drill is checked by, and the check. Pure. Every bound means "at most"; a missing figure fails it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from natpair.core.model import Profile
from natpair_lab.drill.result import Failure, RunResult, Summary

MIN_PACKETS_PER_SECOND = 500.0
MIN_BASELINE_FLOWS = 1
OVER_ALL_RUNS = ("flows_broken_ratio",)

ALWAYS: Mapping[str, float] = {
    "resets": 0,
    "leaked_packets": 0,
    "address_changed": 0,
    "flows_broken_ratio": 0.001,
    "wrong_active": 0,
    "event_refused": 0,
    "taps_lost": 0,
}
"""What no event may cause. `taps_lost`: a tap that missed packets proves nothing if it saw none."""

UNTOUCHED: Mapping[str, float] = {"packets_lost": 0, "flows_broken": 0, "role_changes": 0}
"""The event must have no effect on clients."""

CRASH_MS: Mapping[Profile, float] = {Profile.FAST: 200, Profile.BALANCED: 900, Profile.CONSERVATIVE: 4500}
"""Worst outage of a power cut. Conservative: three adverts of 1 s, skew (256-100)/256 s, and half a second."""

LINK_MS: Mapping[Profile, float] = {Profile.FAST: 1000, Profile.BALANCED: 1500, Profile.CONSERVATIVE: 5000}
"""Worst outage when a link of the active node loses carrier."""

DEAD_LINK_MS: Mapping[Profile, float] = {Profile.FAST: 2500, Profile.BALANCED: 2500, Profile.CONSERVATIVE: 6000}
"""The same with the carrier still up: only a probe can notice (500 ms x 3 by default)."""

FLUSH_MS = 1000.0
SPEAKER_MS = 1000.0
PLANNED_EXCESS_MS = 50.0
TWO_CLAIMANTS_MS = 3000.0
BACK_AND_FORTH_MS = 5000.0


def check(limits: Mapping[str, float], runs: Sequence[RunResult], summary: Summary) -> tuple[Failure, ...]:
    """Every bound that did not hold, run by run, then those over all runs."""
    failures = [
        Failure(name, limit, value, number)
        for number, run in enumerate(runs)
        for name, limit in limits.items()
        if name not in OVER_ALL_RUNS and exceeds(value := run.figure(name), limit)
    ]
    failures += [failure for number, run in enumerate(runs) for failure in _worthless(run, number)]
    if "flows_broken_ratio" in limits and exceeds(summary.flows_broken_ratio, limits["flows_broken_ratio"]):
        failures.append(Failure("flows_broken_ratio", limits["flows_broken_ratio"], summary.flows_broken_ratio))
    return tuple(failures)


def exceeds(value: float | None, limit: float) -> bool:
    """Whether a bound fails: the figure is above the limit, is not a number, or was never measured."""
    return value is None or not value <= limit


def _worthless(run: RunResult, number: int) -> list[Failure]:
    """A run that measured too little must not pass because it saw nothing."""
    found = []
    if run.packets_per_second < MIN_PACKETS_PER_SECOND:
        found.append(Failure("packets_per_second", MIN_PACKETS_PER_SECOND, run.packets_per_second, number))
    if run.flows_total < MIN_BASELINE_FLOWS:
        found.append(Failure("flows_total", MIN_BASELINE_FLOWS, run.flows_total, number))
    return found
