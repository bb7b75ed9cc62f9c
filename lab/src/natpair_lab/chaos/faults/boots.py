"""Both nodes boot at nearly the same moment: what came of it by kernels, fabric, a client and the agents.

A boot is told apart from the ones before and after it: a sum over many of them could hide two changes in one.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import OUTBOUND_FIRST, Fault, Limits
from natpair_lab.chaos.history import VipChange, unlike_a_pair
from natpair_lab.chaos.observer import owners
from natpair_lab.testbed.host import program

SERVES_MS = 5000.0
SYNCED_MS = 15_000.0
"""From the end of the second boot: the machines' own start is not the pair's doing."""
ALLOWED_CHANGES = 1
_SKEWS_SECONDS = (0.05, 0.5, 3.0)
"""Most often a boot is a matter of seconds; the tightest races are worth as many tries."""
_PATIENCE_SECONDS = 20.0
_SETTLE_SECONDS = 2.0
"""A role that moves once more does so soon after the standby is there to take it."""


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot. Times count from the moment when both nodes had power; None: it did not happen.

    `up_ms` is when both supervisors had started all, `changes` how often each node's kernel got or lost the VIP.
    """

    number: int
    first: str
    second: str
    skew_ms: float
    up_ms: float
    ping_ms: float | None
    serves_ms: float | None
    synced_ms: float | None
    changes: Mapping[str, int]
    unlike: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What a check calls it."""
        return f"boot {self.number}, {self.second} {self.skew_ms:.0f} ms later"


Tell = Callable[[Boot], None]


def untold(_boot: Boot) -> None:
    """Nobody follows the boots one by one."""


def changes(news: Iterable[VipChange], node: str, from_ns: int, to_ns: int) -> int:
    """How often `node`, without the VIP at `from_ns`, got or lost it until `to_ns`; news that repeats is none."""
    owned, count = False, 0
    for change in sorted(news, key=lambda change: change.time_ns):
        if change.node == node and from_ns <= change.time_ns <= to_ns and change.owned is not owned:
            owned, count = change.owned, count + 1
    return count


def wrong_with(boot: Boot) -> tuple[str, ...]:
    """What a boot must not be: a node whose role changed more than once, not exactly one taker, no pair at its end."""
    wrong = [
        f"{node} got or lost the VIP {count} times" for node, count in boot.changes.items() if count > ALLOWED_CHANGES
    ]
    takers = [node for node, count in boot.changes.items() if count]
    if len(takers) != 1:
        wrong.append(f"the VIP was taken by {' and by '.join(takers) or 'no node'}")
    return (*wrong, *boot.unlike)


def boots(times: int, seed: int, tell: Tell = untold) -> Callable[[Context], None]:
    """An injection: both nodes lose power and come back at nearly the same moment, so many times, by a seed's skews."""

    def inject(context: Context) -> None:
        chance = random.Random(seed)  # noqa: S311 - a repeatable draw, no secret
        for number in range(1, times + 1):
            skew = chance.random() * chance.choice(_SKEWS_SECONDS)
            first, second = chance.sample(context.lab.nodes, 2)
            boot = _one(context, number, (first, second), skew)
            _note(context, boot)
            tell(boot)

    return inject


def _note(context: Context, boot: Boot) -> None:
    serves = None if boot.serves_ms is None or boot.ping_ms is None else max(boot.serves_ms, boot.ping_ms) - boot.up_ms
    synced = None if boot.synced_ms is None else boot.synced_ms - boot.up_ms
    context.check(f"{boot.name}: one active, and a client is served", serves, SERVES_MS)
    context.check(f"{boot.name}: synced standby", synced, SYNCED_MS)
    wrong = wrong_with(boot)
    context.require(f"{boot.name}: at most one change of role each", not wrong, "; ".join(wrong))


def _one(context: Context, number: int, nodes: tuple[str, str], skew: float) -> Boot:
    for node in context.lab.nodes:
        context.power_cut(node)
    off_ns = time.monotonic_ns()
    with ThreadPoolExecutor(3) as threads:
        booting = threads.submit(context.boot, nodes[0])
        context.pass_time(skew)
        power_ns = time.monotonic_ns()
        served = threads.submit(_client_served, context)
        threads.submit(context.boot, nodes[1]).result()
        booting.result()
        up = _ms_since(power_ns)
        serves = _until(
            context, lambda: len(have := owners(context.lab)) == 1 and context.lab.best_path() == have, power_ns
        )
        context.wait_ready()
        synced = _until(context, lambda: not unlike_a_pair(context.observer.aftermath(None)), power_ns)
        ping = _ping_ms(served, power_ns)
    context.pass_time(_SETTLE_SECONDS)
    news, now = context.observer.news(), time.monotonic_ns()
    moved = {node: changes(news, node, off_ns, now) for node in context.lab.nodes}
    unlike = tuple(unlike_a_pair(context.observer.aftermath(None)))
    return Boot(number, *nodes, skew * 1000, up, ping, serves, synced, moved, unlike)


def _client_served(context: Context) -> int | None:
    """When the internet first answered a client's ping; None if it did not."""
    client, _ = context.lab.topology.clients[0]
    argv = program("natpair_lab.testbed.ping", _PATIENCE_SECONDS, context.lab.topology.internet[0].ip)
    code = context.lab.popen(client, argv, stdout=subprocess.DEVNULL).wait(_PATIENCE_SECONDS * 2)
    return time.monotonic_ns() if code == 0 else None


def _ping_ms(served: Future[int | None], since_ns: int) -> float | None:
    moment = served.result()
    return None if moment is None else (moment - since_ns) / 1e6


def _until(context: Context, condition: Callable[[], object], since_ns: int) -> float | None:
    return None if context.wait(condition, _PATIENCE_SECONDS) is None else _ms_since(since_ns)


def _ms_since(moment_ns: int) -> float:
    return (time.monotonic_ns() - moment_ns) / 1e6


def boots_fault(times: int, seed: int, tell: Tell = untold) -> Fault:
    """Fault 56 with so many boots: exactly one node takes the VIP in each, and keeps it. `tell` hears of each."""
    return Fault(
        56,
        "both nodes boot at once, with random skew",
        15_000,
        boots(times, seed, tell),
        limits=Limits(transitions=times, path_ms=5000, flow_kinds=OUTBOUND_FIRST, broken_ratio=1),
        scale=f"{times} times in place of 50",
        alone=True,
    )


BOTH_BOOT = boots_fault(3, 56)
