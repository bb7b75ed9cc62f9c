"""Sessions: none before the share, how many after it, the hold time both sides agree on, the way to the servers."""

from __future__ import annotations

import asyncio
import time

from natpair.core.regions import route_servers
from natpair.errors import NotReady
from natpair.probe.facts import Fact, Name, all_missing, missing
from natpair.probe.ground import Ground
from natpair.probe.hands import Sessions, until
from natpair.probe.wire import Open

HOLD_TRIED = (3, 6, 9)
"""Hold times to ask for, until one is accepted: 3 is the least (RFC 4271 section 4.2), 9 what lelastic uses."""
_MOST_HOPS = 30
_GRACEFUL_RESTART = 64
_LATE_SECONDS = 20.0
"""When the sessions of one server in four are late, the rest need not wait longer than this for them."""
_HOLD_REFUSED = "hold time"


async def _all_sessions(ground: Ground) -> list[Sessions]:
    return list(await asyncio.gather(*(hand.sessions() for hand in ground.hands)))


def _words(found: list[Sessions]) -> str:
    return f"{sum(s.established for s in found)} of {sum(s.total for s in found)}"


async def measure_sessions(ground: Ground) -> list[Fact]:
    """Start BIRD unshared, look, share, look again."""
    for hand in ground.hands:
        await hand.start_bird(HOLD_TRIED[0])
    before = await _before_share(ground)
    ground.progress("sharing the FIP to both nodes and waiting for the BGP sessions")
    begin = time.monotonic()
    await ground.site.share()
    try:
        hold = await _with_accepted_hold(ground)
    except NotReady as error:
        rest = (Name.SESSIONS_AFTER_SHARE, Name.SHARE_TO_SESSIONS_SECONDS, Name.HOLD_NEGOTIATED_SECONDS)
        why = f"{error.message}; last errors: {'; '.join(_errors(await _all_sessions(ground))) or 'none'}"
        return [before, *all_missing(rest, why)]
    took = time.monotonic() - begin
    found = await _all_sessions(ground)
    agreed = [s.hold_seconds for s in found if s.hold_seconds is not None]
    return [
        before,
        Fact(Name.SESSIONS_AFTER_SHARE, _words(found), f"{took:.1f} s after the share; hold time {hold} s asked for"),
        Fact(Name.SHARE_TO_SESSIONS_SECONDS, round(took, 1), f"until {_words(found)} were established"),
        Fact(Name.HOLD_NEGOTIATED_SECONDS, max(agreed), f"{hold} s asked for; BIRD's hold timers on all sessions")
        if agreed
        else missing(Name.HOLD_NEGOTIATED_SECONDS, "BIRD shows no hold timer"),
        *_offers([said for hand in ground.hands for said in await hand.opens()]),
        await _hops(ground),
    ]


async def _before_share(ground: Ground) -> Fact:
    seconds = ground.pace.before_share_seconds
    ground.progress(f"checking for {seconds:g} s that no session comes up without a share")
    end = time.monotonic() + seconds
    found = await _all_sessions(ground)
    while time.monotonic() < end and any(s.established < s.total for s in found):
        await asyncio.sleep(min(1.0, seconds / 10))
        found = await _all_sessions(ground)
    return Fact(Name.SESSIONS_BEFORE_SHARE, _words(found), f"after up to {seconds:g} s; the FIP not shared to any node")


async def _with_accepted_hold(ground: Ground) -> int:
    """Wait for all sessions, with the shortest hold time that the route servers take."""
    for hold in HOLD_TRIED:
        for hand in ground.hands:
            await hand.start_bird(hold)
        if await _established(ground):
            return hold
        ground.progress(f"the route servers refuse a hold time of {hold} s")
    raise NotReady(f"the route servers refuse hold times of {', '.join(map(str, HOLD_TRIED))} s")


async def _established(ground: Ground) -> bool:
    """True when the sessions stand, False when the hold time was refused; NotReady when time runs out."""
    some_since: float | None = None
    refused = False

    async def settled() -> bool:
        nonlocal some_since, refused
        found = await _all_sessions(ground)
        refused = not any(s.established for s in found) and any(_HOLD_REFUSED in e.lower() for e in _errors(found))
        if all(s.established for s in found):
            some_since = some_since or time.monotonic()
        late = some_since is not None and time.monotonic() - some_since > _LATE_SECONDS
        return refused or late or all(s.established == s.total for s in found)

    await until(settled, ground.pace.session_seconds, "the establishment of BGP sessions")
    return not refused


def _errors(found: list[Sessions]) -> list[str]:
    return sorted({error for sessions in found for error in sessions.errors})


def _offers(opens: list[Open]) -> list[Fact]:
    if not opens:
        names = (Name.HOLD_OFFERED_SECONDS, Name.GRACEFUL_RESTART_OFFERED)
        return all_missing(names, "no OPEN of a route server was seen")
    holds = sorted({said.hold_seconds for said in opens})
    restarts = [said for said in opens if _GRACEFUL_RESTART in said.capabilities]
    codes = sorted({code for said in opens for code in said.capabilities})
    seen = f"{len(opens)} OPEN messages; capabilities {', '.join(map(str, codes))}"
    return [
        Fact(Name.HOLD_OFFERED_SECONDS, min(holds), f"{seen}; hold times {', '.join(map(str, holds))}"),
        Fact(Name.GRACEFUL_RESTART_OFFERED, bool(restarts), f"{len(restarts)} of {len(opens)} OPEN messages offer it"),
    ]


async def _hops(ground: Ground) -> Fact:
    hand = ground.hands[0]
    servers = [str(server) for server in route_servers(ground.site.gateway)]
    found: dict[str, int | None] = {}
    for server in servers:
        arguments = ("--destination", server, "--count", str(_MOST_HOPS))
        found[server] = await hand.send("hops", *arguments, seconds=_MOST_HOPS)
        if found[server] is None:  # silent to one echo means silent to all: do not wait for three more
            break
    hops = [count for count in found.values() if count is not None]
    if not hops:
        return missing(Name.HOPS_TO_ROUTE_SERVERS, "the route servers do not answer echo requests")
    told = ", ".join(f"{server}: {count if count is not None else 'no answer'}" for server, count in found.items())
    return Fact(Name.HOPS_TO_ROUTE_SERVERS, max(hops), f"least hop limit with an echo reply: {told}")
