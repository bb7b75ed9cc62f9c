"""`natpair status`: the pair as this node's agent sees it, problems first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from natpair.cli.client import request
from natpair.cli.output import emit_json, say, symbols, table


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
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(wait: bool, timeout: float, as_json: bool) -> None:
    """Show both nodes, what is wrong and what to do about it.

    Exit code 69 if the agent does not answer; packets still flow then, ask `keepalived` and `birdc`. With --wait exit
    code 75 if the pair is not ready in time.
    """
    if wait:
        from natpair.cli.waiting import wait_until_ready

        wait_until_ready(timeout)
    _code, document = request("GET", "/v1/status")
    if as_json:
        emit_json(document)
        return
    for line in lines(document):
        say(line)


def lines(document: Mapping[str, Any]) -> list[str]:
    """The status as text, problems first."""
    sign = symbols()
    found = [f"{sign.bad} {c['severity']}: {c['text']}\n    {c['cure']}" for c in document["conditions"]]
    head = found or [f"{sign.good} all is well"]
    return [*head, "", table(_rows(document), ("", document["node"], document["peer"])), "", *_facts(document)]


def _rows(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    peer = document["peer_view"]
    known = peer["fresh"]
    age = min(peer["heard_private_ms"], peer["heard_public_ms"])
    unknown = f"unknown for {age / 1000:.1f} s"
    return [
        ("role", document["role"], str(peer.get("role")) if known else unknown),
        ("VRRP", document["vrrp"], str(peer.get("vrrp")) if known else "?"),
        ("epoch", str(document["epoch"]), str(peer.get("epoch")) if known else "?"),
        ("flows", str(document["flows"]), str(peer.get("flows")) if known else "?"),
        ("in sync", _yes(document["synced"], document["role"]), _yes(peer.get("synced"), peer.get("role"))),
        ("drained", _word(document["drained"]), _word(peer.get("drained"))),
    ]


def _yes(value: object, role: object) -> str:
    return "-" if role == "active" else _word(value)


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
        lines.append(f"last change: {last['before']} to {last['after']}, {last['cause']}")
    account = document.get("account")
    if account:
        seen = account["seen_ms"]
        lines.append("account not seen yet" if seen is None else f"account seen {seen / 1000:.0f} s ago")
    if document["trouble"]:
        lines.append(f"trouble: {document['trouble']}")
    return lines
