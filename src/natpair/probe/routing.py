"""How the fabric chooses: contests between two announcements, and how long it takes to follow a change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from natpair.probe import analysis
from natpair.probe.analysis import Contest, Lever, Tie, Watched, Winner
from natpair.probe.facts import Fact, Name, missing
from natpair.probe.ground import Ground
from natpair.probe.hands import NodeHand, until
from natpair.render.bird import Origin, Word

BETTER_MED, WORSE_MED = 1000, 2000
EQUAL = Word(primary=True)
STRONG = Word(primary=True, med=BETTER_MED, origin=Origin.IGP)
WEAK = Word(primary=False, med=WORSE_MED, origin=Origin.INCOMPLETE)
"""With every attribute at once: a fabric that honours any of them prefers STRONG."""

WORD_PAIRS: dict[Name, tuple[Word, Word]] = {
    Name.COMMUNITIES: (Word(primary=True), Word(primary=False)),
    Name.MED: (Word(med=BETTER_MED), Word(med=WORSE_MED)),
    Name.ORIGIN: (Word(origin=Origin.IGP), Word(origin=Origin.INCOMPLETE)),
}
"""What differs in a contest of each attribute: the better word and the worse one."""

_LIVE_ANSWERS = 5
_LIVE_SECONDS = 15.0


async def withdraw_all(ground: Ground) -> None:
    """Nobody announces anything."""
    await asyncio.gather(*(hand.say(None) for hand in ground.hands))
    await asyncio.sleep(ground.pace.gap_seconds)


async def contest(ground: Ground, better: int | None, first: int, words: tuple[Word, Word]) -> Contest:
    """Let both announce, `first` first; the better word (the first of `words`) is that of node `better`."""
    await withdraw_all(ground)
    for index in (first, 1 - first):
        await ground.hands[index].say(words[0] if better in {None, index} else words[1])
        if index == first:
            await asyncio.sleep(ground.pace.gap_seconds)
    await asyncio.sleep(ground.settle_seconds)
    seen = await ground.eye.watch(ground.pace.window_seconds)
    return Contest(better, first, analysis.winner(seen))


async def measure_levers(ground: Ground) -> list[Fact]:
    """Communities, MED and ORIGIN, and what happens between equals."""
    return [*[await measure_lever(ground, name) for name in WORD_PAIRS], await measure_tie(ground)]


async def measure_lever(ground: Ground, name: Name) -> Fact:
    """What one attribute does: each machine better, each of them first."""
    repeats = range(ground.pace.repeats)
    ground.progress(f"contests of {name.value}: each machine better, each first, {len(repeats)} times")
    words = WORD_PAIRS[name]
    pairs = [(better, first) for _ in repeats for better in (0, 1) for first in (0, 1)]
    return _lever_fact(ground, name, [await contest(ground, better, first, words) for better, first in pairs])


async def measure_tie(ground: Ground) -> Fact:
    """Who wins between equal primaries: each of them first."""
    repeats = range(ground.pace.repeats)
    ground.progress(f"contests of equal primaries, {len(repeats)} times in each order")
    firsts = [first for _ in repeats for first in (0, 1)]
    return _tie_fact(ground, [await contest(ground, None, first, (EQUAL, EQUAL)) for first in firsts])


def _lever_fact(ground: Ground, name: Name, held: list[Contest]) -> Fact:
    verdict = analysis.lever(held)
    evidence = "; ".join(_told(ground, c) for c in held)
    if verdict is Lever.UNCLEAR and all(c.won is Winner.NOBODY for c in held):
        return missing(name, "no datagram to the FIP was answered: does UDP get from here to the FIP and back?")
    return Fact(name, verdict.value, evidence)


def _tie_fact(ground: Ground, held: list[Contest]) -> Fact:
    verdict = analysis.tie(held)
    evidence = "; ".join(_told(ground, c) for c in held)
    if verdict is Tie.UNCLEAR and all(c.won is Winner.NOBODY for c in held):
        return missing(Name.TIE, "no datagram to the FIP was answered")
    return Fact(Name.TIE, verdict.value, evidence)


def _told(ground: Ground, held: Contest) -> str:
    names = [hand.name for hand in ground.hands]
    who = {Winner.FIRST: names[0], Winner.SECOND: names[1], Winner.SHARED: "both", Winner.NOBODY: "nobody"}
    better = "equal" if held.better is None else f"{names[held.better]} better"
    return f"{better}, {names[held.first]} first: {who[held.won]}"


async def watching(
    ground: Ground, at: NodeHand, act: Callable[[], Awaitable[int]], seconds: float, to: NodeHand | None = None
) -> tuple[Watched, int]:
    """Act while a stream runs whose packets arrive at `at`; the stream ends when they arrive at `to`, or in time.

    NotReady, in a group, when they do not arrive at `at` to begin with.
    """
    before = int((await at.tell("status"))["answered"])
    async with asyncio.TaskGroup() as group:
        stream = group.create_task(ground.eye.watch(seconds, to))

        async def live() -> bool:
            answered = int((await at.tell("status"))["answered"])
            return answered >= before + _LIVE_ANSWERS

        await until(live, _LIVE_SECONDS, f"the arrival of packets at {at.name}")
        done = await act()
    return stream.result(), done


async def _standing(ground: Ground, old: NodeHand, new: NodeHand, words: tuple[Word, Word | None]) -> None:
    """Bring about that the packets go to `old`, whatever the fabric honours: it stands alone first."""
    await withdraw_all(ground)
    await old.say(words[0])
    await asyncio.sleep(ground.pace.gap_seconds)
    await new.say(words[1])
    await asyncio.sleep(ground.settle_seconds)


async def measure_update(ground: Ground, name: Name, words: tuple[Word, Word | None], then: Word) -> Fact:
    """Time from an UPDATE of the new machine to the first packet there, on that machine's own clock."""
    values: list[float] = []
    for run in range(ground.pace.timings):
        old, new = _sides(ground, run)
        await _standing(ground, old, new, words)
        seen, mark = await watching(ground, old, partial(new.say, then), ground.pace.reroute_seconds, new)
        took = analysis.after_update(seen, new.index, mark)
        if took is None:
            return missing(name, f"no packet came to {new.name} within {ground.pace.reroute_seconds:g} s")
        values.append(took)
        ground.learn(took)
    return _spread_fact(ground, name, values, "each way in turn; first datagram at the new machine")


async def measure_withdrawal(ground: Ground) -> Fact:
    """Time from a withdrawal of the old machine to the first datagram that the new one answers."""
    name, values = Name.REROUTE_AFTER_WITHDRAWAL, list[float]()
    for run in range(ground.pace.timings):
        old, new = _sides(ground, run)
        await _standing(ground, old, new, (STRONG, WEAK))
        seen, mark = await watching(ground, old, partial(old.say, None), ground.pace.reroute_seconds, new)
        took = analysis.after_withdrawal(seen, old.index, new.index, mark)
        if took is None:
            return missing(name, f"no packet came to {new.name} within {ground.pace.reroute_seconds:g} s")
        values.append(took)
        ground.learn(took)
    return _spread_fact(ground, name, values, "each way in turn")


async def measure_power_cut(ground: Ground, hold_seconds: int) -> Fact:
    """Time from a power cut of the primary to the first datagram that the standing secondary answers."""
    name, values = Name.REROUTE_AFTER_POWER_CUT, list[float]()
    for run in range(ground.pace.power_cuts):
        old, new = _sides(ground, run)
        ground.progress(f"power cut of {old.name}")
        await _standing(ground, old, new, (STRONG, WEAK))

        cut = partial(_cut, ground, old.name)
        seen, _ = await watching(ground, old, cut, ground.pace.reroute_seconds, new)
        took = analysis.silence(seen, old.index, new.index)
        await _back(ground, old.name, hold_seconds)
        if took is None:
            return missing(name, f"no packet came to {new.name} within {ground.pace.reroute_seconds:g} s")
        values.append(took)
    told = f"hold time {hold_seconds} s; the secondary's route stood already; last answer before to first answer after"
    return _spread_fact(ground, name, values, told)


async def _cut(ground: Ground, name: str) -> int:
    await ground.site.cut_power(name)
    return 0


async def _back(ground: Ground, name: str, hold_seconds: int) -> None:
    """Bring a machine back to where it was before its power was cut."""
    ground.progress(f"waiting for {name} to come back")
    await ground.site.restore_power(name)
    hand = ground.renew(name)
    await hand.prepare()
    await hand.start_bird(hold_seconds)

    async def up() -> bool:
        found = await hand.sessions()
        return found.established > 0

    await until(up, ground.pace.session_seconds, f"the return of {name}'s sessions")


def _sides(ground: Ground, run: int) -> tuple[NodeHand, NodeHand]:
    return (ground.hands[0], ground.hands[1]) if run % 2 == 0 else (ground.hands[1], ground.hands[0])


def _spread_fact(ground: Ground, name: Name, values: list[float], evidence: str) -> Fact:
    every = f"{1000 / ground.pace.rate:g} ms between datagrams"
    listed = ", ".join(f"{value:.0f}" for value in values)
    why = "" if values else "no run was asked for"
    return Fact(name, analysis.spread(values), f"{listed} ms; {evidence}; {every}", why)


async def measure_standby_sends(ground: Ground) -> Fact:
    """Whether datagrams from the FIP get out of a machine that is only the secondary; the primary is the control."""
    name, count = Name.STANDBY_SENDS_FROM_FIP, 20
    primary, standby = ground.hands
    await _standing(ground, primary, standby, (STRONG, WEAK))
    act = partial(_send_unasked, ground, count)
    seen, sent = await watching(ground, primary, act, max(3.0, ground.pace.window_seconds))
    got, control = seen.unasked(standby.index), seen.unasked(primary.index)
    evidence = f"{got} of {count} datagrams arrived from the standby, {control} of {count} from the primary"
    if control < count / 2:
        return missing(name, f"not even those of the primary arrive: {evidence}")
    return Fact(name, got >= count / 2, evidence + f"; the standby could send {sent}")


async def _send_unasked(ground: Ground, count: int) -> int:
    """Let both machines send from the FIP to where its questions come from; how many the standby could."""
    primary, standby = ground.hands
    address, port = (await primary.tell("status"))["last"]
    for hand in (primary, standby):
        sent = await hand.tell("send", address=address, port=port, count=count)
    return int(sent["sent"])
