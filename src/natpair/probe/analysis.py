"""What a stream of numbered datagrams says about the fabric. Pure: answers in, verdicts out.

The stream is the clock. Who answers a datagram is where the fabric sent it, and an answer carries the age of its
node's last change, so a change has a place on the asker's clock without any two clocks agreeing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from natpair.probe.wire import ANSWER, UNASKED

_MS_NS = 1_000_000
SHARED_FROM = 0.05
"""From this part of the answers on, the second node is no straggler: load is shared."""
_ENOUGH_ANSWERS = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as `stream` prints it."""

    sequence: int
    received_ns: int
    node: int
    mark: int
    elapsed_us: int
    kind: int = ANSWER


@dataclass(frozen=True, slots=True)
class Watched:
    """One stream: when each datagram was sent, and what came back."""

    sent_ns: tuple[int, ...]
    answers: tuple[Answer, ...]

    def answered(self, node: int | None = None) -> list[Answer]:
        """Answers to our questions in the order of the questions, of one node or of both."""
        wanted = (a for a in self.answers if a.kind == ANSWER and node in {None, a.node})
        return sorted(wanted, key=lambda a: a.sequence)

    def unasked(self, node: int) -> int:
        """How many datagrams came from the FIP without a question, sent by that node."""
        return sum(a.kind == UNASKED and a.node == node for a in self.answers)


class Winner(StrEnum):
    """Where packets for the FIP go."""

    FIRST = "first"
    SECOND = "second"
    SHARED = "shared"
    NOBODY = "nobody"


def winner(seen: Watched) -> Winner:
    """Who answers: the first node of the file, the second, both, or nobody."""
    counts = Counter(answer.node for answer in seen.answered())
    total = counts[0] + counts[1]
    if total < _ENOUGH_ANSWERS:
        return Winner.NOBODY
    if min(counts[0], counts[1]) >= SHARED_FROM * total:
        return Winner.SHARED
    return Winner.FIRST if counts[0] > counts[1] else Winner.SECOND


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one time, in milliseconds."""

    median_ms: float
    worst_ms: float
    runs: int


def spread(values: Sequence[float]) -> Spread | None:
    """Median and worst; None for no values."""
    return Spread(round(median(values), 1), round(max(values), 1), len(values)) if values else None


def after_update(seen: Watched, node: int, mark: int) -> float | None:
    """Milliseconds from a node's UPDATE to the first packet that reaches it, both on that node's own clock."""
    first = next((a for a in seen.answered(node) if a.mark == mark & 0xFFFF), None)
    return None if first is None else first.elapsed_us / 1000


def after_withdrawal(seen: Watched, old: int, new: int, mark: int) -> float | None:
    """Milliseconds from the old node's withdrawal to the first datagram that the new one answers.

    The withdrawal is placed by the old node's last answers. When it got no packet after it, the rerouting was quicker
    than the stream is dense, and the time since its last answer bounds it.
    """
    took_over = next((a for a in seen.answered(new)), None)
    if took_over is None:
        return None
    lasts = [a for a in seen.answered(old) if a.sequence < took_over.sequence]
    if not lasts:
        return None
    marked = [a for a in lasts if a.mark == mark & 0xFFFF]
    known = marked[0] if marked else lasts[-1]
    begin = _arrival_ns(seen, known) - (known.elapsed_us * 1000 if marked else 0)
    return max(0.0, (_arrival_ns(seen, took_over) - begin) / _MS_NS)


def silence(seen: Watched, old: int, new: int) -> float | None:
    """Milliseconds between the last datagram that the old node answered and the first that the new one did."""
    took_over = next((a for a in seen.answered(new)), None)
    lasts = [a for a in seen.answered(old) if took_over is not None and a.sequence < took_over.sequence]
    if took_over is None or not lasts:
        return None
    return (seen.sent_ns[took_over.sequence] - seen.sent_ns[lasts[-1].sequence]) / _MS_NS


def _arrival_ns(seen: Watched, answer: Answer) -> float:
    """When the question reached the node: half-way between question and answer."""
    return (seen.sent_ns[answer.sequence] + answer.received_ns) / 2


class Lever(StrEnum):
    """What an attribute does to the fabric's choice."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    INVERTED = "inverted"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Contest:
    """Two announcements side by side: which node's should win (None: they are equal), whose came first, who won."""

    better: int | None
    first: int
    won: Winner


_OF_NODE = (Winner.FIRST, Winner.SECOND)


def lever(contests: Iterable[Contest]) -> Lever:
    """What an attribute does, by contests that had each node better, and each of them first.

    Ignored means: the result is the same whichever node is better. Only with both orders of arrival can that be told
    from a fabric that keeps the older route or takes the newer one.
    """
    held = [c for c in contests if c.better is not None]
    seen = {(c.better, c.first): set[Winner]() for c in held}
    for contest in held:
        seen[contest.better, contest.first].add(contest.won)
    if len(seen) < 4 or any(c.won is Winner.NOBODY for c in held):
        return Lever.UNCLEAR
    if all(c.won is _OF_NODE[c.better or 0] for c in held):
        return Lever.HONOURED
    if all(c.won is _OF_NODE[1 - (c.better or 0)] for c in held):
        return Lever.INVERTED
    if all(len(seen[0, first]) == 1 and seen[0, first] == seen[1, first] for first in (0, 1)):
        return Lever.IGNORED
    return Lever.UNCLEAR


class Tie(StrEnum):
    """What the fabric does with two equal primaries."""

    OLDER = "older"
    NEWER = "newer"
    FIXED = "fixed"
    SHARED = "load-shared"
    UNCLEAR = "unclear"


def tie(contests: Iterable[Contest]) -> Tie:
    """Who wins between equals, by contests in which each node was the first."""
    held = [c for c in contests if c.better is None]
    won = {c.won for c in held}
    if {c.first for c in held} != {0, 1} or Winner.NOBODY in won:
        return Tie.UNCLEAR
    if won == {Winner.SHARED}:
        return Tie.SHARED
    if all(c.won is _OF_NODE[c.first] for c in held):
        return Tie.OLDER
    if all(c.won is _OF_NODE[1 - c.first] for c in held):
        return Tie.NEWER
    return Tie.FIXED if len(won) == 1 else Tie.UNCLEAR
