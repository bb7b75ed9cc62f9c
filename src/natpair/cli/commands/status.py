"""`natpair status`: the pair as this node's agent sees it, problems first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from natpair.cli.client import request
from natpair.cli.output import duration, emit_json, emit_line, say, symbols, table
from natpair.errors import AgentUnreachable

_DAY_SECONDS = 86_400


@click.command(name="status", epilog="Example: natpair status --json")
@click.option("--wait", is_flag=True, help="Wait until both nodes have a role and the standby is in sync.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86400),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --wait waits.",
)
@click.option("--watch", "watched", is_flag=True, help="Go on, renewing the view, until interrupted.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks of --watch.",
)
@click.option("--verbose", "-v", is_flag=True, help="The epochs as well, by which the nodes tell promotions apart.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; one a line with --watch.")
def command(wait: bool, timeout: float, watched: bool, interval: float, verbose: bool, as_json: bool) -> None:
    """Show both nodes, what is wrong and what to do about it.

    Exit code 69 if the agent does not answer; packets still flow then, ask `keepalived` and `birdc`. With --wait exit
    code 75 if the pair is not ready in time.
    """
    if wait:
        from natpair.cli.waiting import wait_until_ready

        wait_until_ready(timeout)
    if watched:
        _watch(interval, verbose, as_json)
        return
    _code, document = request("GET", "/v1/status")
    if as_json:
        emit_json(document)
        return
    for line in lines(document, verbose=verbose):
        say(line)


def _watch(interval: float, verbose: bool, as_json: bool) -> None:
    from natpair.cli.watch import watch
    from natpair.system.wait import ticks

    if as_json:
        for _ in ticks(interval):
            emit_line(request("GET", "/v1/status")[1])
        return
    watch(Watched(lambda: request("GET", "/v1/status")[1], time.time, verbose=verbose), interval)


class Watched:
    """Frames of a status that goes on: an agent that falls silent leaves its last word, and the age of it."""

    def __init__(
        self, ask: Callable[[], Mapping[str, Any]], clock: Callable[[], float], *, verbose: bool = False
    ) -> None:
        self._verbose = verbose
        self._ask = ask
        self._clock = clock
        self._last: Mapping[str, Any] | None = None

    def __call__(self) -> Sequence[str]:
        """The lines of now."""
        sign, problem = symbols(), ""
        try:
            self._last = self._ask()
        except AgentUnreachable as error:
            problem = f"{sign.bad} {error.message}\n    {error.cure}"
        stamp = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(self._clock()))
        if self._last is None:
            return [stamp, problem]
        age = max(0.0, self._clock() - float(self._last.get("time") or self._clock()))
        seen = f"{stamp}  seen from {self._last['node']} {age:.1f} s ago"
        return [seen, *([problem, ""] if problem else [""]), *lines(self._last, verbose=self._verbose)]


def lines(document: Mapping[str, Any], *, verbose: bool = False) -> list[str]:
    """The status as text, problems first."""
    sign = symbols()
    signs = {"critical": sign.bad, "warning": sign.warning, "info": sign.info}
    found = [f"{signs[c['severity']]} {c['severity']}: {c['text']}\n    {c['cure']}" for c in document["conditions"]]
    # What somebody wants is no trouble: it stands below.
    well = all(c["severity"] == "info" for c in document["conditions"])
    head = [*([f"{sign.good} all is well"] if well else []), *found]
    return [*head, "", table(_rows(document, verbose), ("", document["node"], document["peer"])), "", *_facts(document)]


def _rows(document: Mapping[str, Any], verbose: bool) -> list[tuple[str, str, str]]:
    peer = document["peer_view"]
    known = peer["fresh"]
    age = min(peer["heard_private_ms"], peer["heard_public_ms"])
    unknown = f"unknown for {age / 1000:.1f} s"
    return [
        ("role", document["role"], str(peer.get("role")) if known else unknown),
        ("VRRP", document["vrrp"], str(peer.get("vrrp")) if known else "?"),
        *([("epoch", str(document["epoch"]), str(peer.get("epoch")) if known else "?")] if verbose else []),
        ("flows", _flows(document), f"{peer['flows']:,}" if known else "?"),
        ("in sync", _yes(document["synced"], document["role"]), _yes(peer.get("synced"), peer.get("role"), known)),
        ("drained", _word(document["drained"]), _word(peer.get("drained")) if known else "?"),
        ("heard", "itself", f"{age / 1000:.1f} s ago"),
    ]


def _flows(document: Mapping[str, Any]) -> str:
    flows, most = document["flows"], document.get("most_flows")
    return f"{flows:,} of {most:,} ({100 * flows // most} %)" if most else f"{flows:,}"


def _yes(value: object, role: object, known: bool = True) -> str:
    return "?" if not known else "-" if role == "active" else _word(value)


def _word(value: object) -> str:
    return "yes" if value else "no"


def _facts(document: Mapping[str, Any]) -> list[str]:
    said = document["announcement"] or {"community": "none", "med": None}
    bgp = document["bgp"]
    lines = [
        f"traffic {document['traffic']}, announced as {said['community']} with MED {said['med']}",
        f"BGP {bgp['established']} of {bgp['total']} sessions Established",
    ]
    last = document["last_transition"]
    if last:
        lines.append(f"last change {_clock(last['time'])}: {last['before']} to {last['after']}, {last['cause']}")
    account = document.get("account")
    if account:
        seen = account["seen_ms"]
        lines.append("account not seen yet" if seen is None else f"account seen {seen / 1000:.0f} s ago")
    if document["trouble"]:
        lines.append(f"trouble: {document['trouble']}")
    return [*lines, *_history(document)]


def _history(document: Mapping[str, Any]) -> list[str]:
    """What lately happened, in a line, and where to read more."""
    past = document.get("history")
    if not past:  # an agent of an earlier version
        return []
    counts = (
        (past["role_changes"], "role change"),
        (past["repairs"], "repair"),
        (past["daemon_ends"], "daemon restart"),
        (past["refused_claims"], "refused claim"),
    )
    said = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count)
    since = past["role_since"]
    for_long = "" if since is None else f" since {_clock(since)} ({duration(float(document['time']) - since)})"
    return [f"{document['role']}{for_long}; last hour: {said or 'nothing happened'}: natpair events"]


def _clock(seconds: float) -> str:
    """A moment of the last day as its time, an older one with its date; UTC, as in the event log."""
    recent = abs(time.time() - seconds) < _DAY_SECONDS
    return time.strftime("%H:%M:%SZ" if recent else "%Y-%m-%d %H:%MZ", time.gmtime(seconds))
