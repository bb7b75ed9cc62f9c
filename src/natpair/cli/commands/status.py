"""`natpair status`: the pair as this node's agent sees it, problems first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import click

from natpair.cli import client
from natpair.cli.output import duration, emit_json, emit_line, say, symbols, table
from natpair.core.condition import Severity
from natpair.core.status import Role, Status
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
    help="How long --wait waits at most.",
)
@click.option("--watch", "watched", is_flag=True, help="Keep refreshing the output until interrupted.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two refreshes of --watch.",
)
@click.option("--verbose", "-v", is_flag=True, help="Also show the epochs, which number the promotions.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; with --watch one per line.")
def command(wait: bool, timeout: float, watched: bool, interval: float, verbose: bool, as_json: bool) -> None:
    """Show both nodes, what is wrong and how to fix it.

    Exit code 69 if the agent does not respond. Traffic still flows then: check Keepalived and BIRD. With --wait, exit
    code 75 if the pair is not ready in time.
    """
    if wait:
        from natpair.cli.waiting import wait_until_ready

        wait_until_ready(timeout)
    if watched:
        _watch(interval, verbose, as_json)
        return
    if as_json:
        emit_json(client.status_document())
        return
    for line in lines(client.status(), verbose=verbose):
        say(line)


def _watch(interval: float, verbose: bool, as_json: bool) -> None:
    from natpair.cli.output import watch
    from natpair.system.wait import ticks

    if as_json:
        for _ in ticks(interval):
            emit_line(client.status_document())
        return
    watch(Watched(client.status, time.time, verbose=verbose), interval)


class Watched:
    """The frames of --watch. While the agent does not respond, a frame shows its last status and the age of it."""

    def __init__(self, ask: Callable[[], Status], clock: Callable[[], float], *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._ask = ask
        self._clock = clock
        self._last: Status | None = None

    def __call__(self) -> Sequence[str]:
        """The lines of the present frame."""
        sign, problem = symbols(), ""
        try:
            self._last = self._ask()
        except AgentUnreachable as error:
            problem = f"{sign.bad} {error.message}\n    {error.fix}"
        stamp = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(self._clock()))
        if self._last is None:
            return [stamp, problem]
        age = max(0.0, self._clock() - (self._last.time or self._clock()))
        seen = f"{stamp}  seen from {self._last.node} {age:.1f} s ago"
        return [seen, *([problem, ""] if problem else [""]), *lines(self._last, verbose=self._verbose)]


def lines(status: Status, *, verbose: bool = False) -> list[str]:
    """The status as text, problems first."""
    sign = symbols()
    signs = {Severity.CRITICAL: sign.bad, Severity.WARNING: sign.warning, Severity.INFO: sign.info}
    found = [f"{signs[c.severity]} {c.severity}: {c.text}\n    {c.fix}" for c in status.conditions]
    # INFO is what an operator requested, not a problem.
    well = all(c.severity is Severity.INFO for c in status.conditions)
    head = [*([f"{sign.good} all is well"] if well else []), *found]
    return [*head, "", table(_rows(status, verbose), ("", status.node, status.peer)), "", *_facts(status)]


def _rows(status: Status, verbose: bool) -> list[tuple[str, str, str]]:
    peer = status.peer_view
    age = min(peer.heard_private_ms, peer.heard_public_ms)

    def theirs(said: object) -> str:
        return str(said) if peer.fresh else "?"

    return [
        ("role", status.role, str(peer.role) if peer.fresh else f"unknown for {age / 1000:.1f} s"),
        ("VRRP", status.vrrp, theirs(peer.vrrp)),
        *([("epoch", str(status.epoch), theirs(peer.epoch))] if verbose else []),
        ("flows", _flows(status), theirs(f"{peer.flows or 0:,}")),
        ("in sync", _synced(status.role, status.synced), theirs(_synced(peer.role, peer.synced))),
        ("drained", _word(status.drained), theirs(_word(peer.drained))),
        ("heard", "itself", f"{age / 1000:.1f} s ago"),
    ]


def _flows(status: Status) -> str:
    flows, most = status.flows, status.most_flows
    return f"{flows:,} of {most:,} ({100 * flows // most} %)" if most else f"{flows:,}"


def _synced(role: Role | None, value: bool | None) -> str:
    return "-" if role is Role.ACTIVE else _word(value)


def _word(value: bool | None) -> str:
    return "yes" if value else "no"


def _facts(status: Status) -> list[str]:
    bgp, last, account, said = status.bgp, status.last_transition, status.account, status.announcement
    med = "without MED" if said is None or said.med is None else f"with MED {said.med}"
    lines = [
        f"traffic {status.traffic}, announced as {f'{said.community} {med}' if said else 'nothing'}",
        f"BGP {bgp.established} of {bgp.total} sessions Established",
    ]
    if last:
        lines.append(f"last change {_clock(last.time)}: {last.before} to {last.after}, {last.cause}")
    if account:
        seen = account.seen_ms
        lines.append("account not seen yet" if seen is None else f"account seen {seen / 1000:.0f} s ago")
    if status.trouble:
        lines.append(f"trouble: {status.trouble}")
    return [*lines, *_history(status)]


def _history(status: Status) -> list[str]:
    """One line about the last hour, and the command that shows more."""
    past = status.history
    if past is None:  # an agent of an earlier version
        return []
    counts = (
        (past.role_changes, "role change"),
        (past.repairs, "repair"),
        (past.daemon_ends, "daemon restart"),
        (past.refused_claims, "refused claim"),
    )
    said = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count)
    since = past.role_since
    for_long = "" if since is None else f" since {_clock(since)} ({duration(status.time - since)})"
    return [f"{status.role}{for_long}; last hour: {said or 'nothing happened'}: natpair events"]


def _clock(seconds: float) -> str:
    """A UTC time, with the date if it is more than a day ago."""
    recent = abs(time.time() - seconds) < _DAY_SECONDS
    return time.strftime("%H:%M:%SZ" if recent else "%Y-%m-%d %H:%MZ", time.gmtime(seconds))
