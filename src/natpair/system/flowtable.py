"""The live flows of this machine, as `conntrack -L` lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address

from natpair.core.whatif import Flow
from natpair.errors import CommandFailed, Unsupported
from natpair.system.process import run

_SECONDS = 60.0
_LINE = re.compile(
    r"^(?P<protocol>\w+)\s+\d+\s+(?P<left>\d+)\s+(?P<state>[A-Z_]+)?.*?"
    r"src=(?P<source>[\d.]+) dst=[\d.]+.*?src=[\d.]+ dst=(?P<translated>[\d.]+)"
)


def live_flows() -> tuple[Flow, ...]:
    """Every translated IPv4 flow; empty if this machine cannot list them (no root, no conntrack)."""
    try:
        done = run(["conntrack", "-L", "--src-nat", "-f", "ipv4"], timeout=_SECONDS)
    except (CommandFailed, Unsupported):
        return ()
    return tuple(parse(done.stdout))


def parse(listing: str) -> Iterator[Flow]:
    """The flows of a listing; a line of another form is left out."""
    for line in listing.splitlines():
        if match := _LINE.match(line):
            yield Flow(
                protocol=match["protocol"],
                established=match["state"] == "ESTABLISHED",
                source=IPv4Address(match["source"]),
                translated=IPv4Address(match["translated"]),
                left_seconds=int(match["left"]),
            )
