"""The live flows of this machine, as `conntrack` lists them, and those that have to go."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from natpair.core.whatif import Flow
from natpair.errors import CommandFailed, Unsupported
from natpair.system.process import arun, run

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


async def contradicting() -> tuple[IPv4Address, ...]:
    """To which addresses replies would go for the clients' flows that the leak guard lately stopped."""
    done = await arun(["nft", "-j", "list", "set", "ip", "natpair", "astray"], timeout=_SECONDS)
    sets = (entry["set"] for entry in json.loads(done.stdout)["nftables"] if "set" in entry)
    found = (element for each in sets for element in each.get("elem", ()))
    return tuple(IPv4Address(e["elem"]["val"] if isinstance(e, dict) else e) for e in found)


async def delete(clients: IPv4Network, translated: IPv4Address) -> int:
    """Delete the flows of `clients` that are translated to `translated`; how many there were."""
    argv = ["nice", "-n", "19", "conntrack", "-D", "-f", "ipv4", "-s", str(clients), "--reply-dst", str(translated)]
    done = await arun(argv, timeout=_SECONDS, ok=(0, 1))
    return len(done.stdout.splitlines())
