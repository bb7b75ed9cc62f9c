"""Boots both nodes at nearly the same time and records the result: kernels, fabric, a client, the agents.

Each boot is recorded on its own. A total over many boots could hide two changes of role in one of them.
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
"""Counted from the end of the second boot. The time that a machine itself takes to start is not the pair's."""
ALLOWED_CHANGES = 1
_SKEWS_SECONDS = (0.05, 0.5, 3.0)
"""Each skew is drawn between 0 and one of these, so that the tightest races are tried as often as the others."""
_PATIENCE_SECONDS = 20.0
_SETTLE_SECONDS = 2.0
"""If a role moves once more, it does so soon after the standby is ready."""


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot. Times count from the moment when both nodes had power; None: it did not happen.

    `up_ms` is when both supervisors had started everything. `changes` is how often each node's kernel gained or lost
    the VIP.
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
        """The name of this boot in a check."""
        return f"boot {self.number}, {self.second} {self.skew_ms:.0f} ms later"


Tell = Callable[[Boot], None]


def untold(_boot: Boot) -> None:
    """A listener that ignores each boot."""


def changes(news: Iterable[VipChange], node: str, from_ns: int, to_ns: int) -> int:
    """How often `node`, without the VIP at `from_ns`, gained or lost it until `to_ns`. Repeated events count once."""
    owned, count = False, 0
    for change in sorted(news, key=lambda change: change.time_ns):
        if change.node == node and from_ns <= change.time_ns <= to_ns and change.owned is not owned:
            owned, count = change.owned, count + 1
    return count


def wrong_with(boot: Boot) -> tuple[str, ...]:
    """What was wrong with a boot: a node's role changed more than once, not exactly one taker, no ready pair."""
    wrong = [
        f"{node} got or lost the VIP {count} times" for node, count in boot.changes.items() if count > ALLOWED_CHANGES
    ]
    takers = [node for node, count in boot.changes.items() if count]
    if len(takers) != 1:
        wrong.append(f"the VIP was taken by {' and by '.join(takers) or 'no node'}")
    return (*wrong, *boot.unlike)


def boots(times: int, seed: int, tell: Tell = untold) -> Callable[[Context], None]:
    """An injection: both nodes lose power and return at nearly the same time, `times` times, with skews by a seed."""

    def inject(context: Context) -> None:
        chance = random.Random(seed)  # noqa: S311 - a repeatable draw, not a secret
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
    """When the internet first answered a client's ping; None if it never did."""
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
    """Fault 56 with this many boots: in each, exactly one node takes the VIP and keeps it.

    `tell` is called for each.
    """
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
