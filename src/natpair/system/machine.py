"""Reads this machine's addresses, interfaces and program versions."""

from __future__ import annotations

import json
import re
import socket
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

from natpair.core.guess import Interface, Seen
from natpair.core.rendered import Capabilities
from natpair.errors import CommandFailed, Unsupported
from natpair.system.process import run

_SECONDS = 10.0
_LATE_MASTER_SINCE = (2, 2, 8)


def own_addresses() -> frozenset[IPv4Address]:
    """Every IPv4 address on any interface."""
    links = json.loads(run(["ip", "-json", "-4", "address", "show"], timeout=_SECONDS).stdout or "[]")
    return frozenset(IPv4Address(entry["local"]) for link in links for entry in link.get("addr_info", ()))


def look() -> Seen:
    """The interfaces of this machine with their addresses, and which of them the default route leaves by."""
    links = json.loads(run(["ip", "-json", "address", "show"], timeout=_SECONDS).stdout or "[]")
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "default"], timeout=_SECONDS).stdout or "[]")
    found = []
    for link in links:
        own = [entry for entry in link.get("addr_info", ()) if entry.get("scope") == "global"]
        four = tuple(IPv4Interface(f"{e['local']}/{e['prefixlen']}") for e in own if e["family"] == "inet")
        six = tuple(IPv6Interface(f"{e['local']}/{e['prefixlen']}") for e in own if e["family"] == "inet6")
        if link["ifname"] != "lo":
            found.append(Interface(link["ifname"], four, six))
    return Seen(tuple(found), next((str(route["dev"]) for route in routes), None))


def interfaces() -> tuple[str, ...]:
    """The names of the network interfaces, without loopback."""
    # Not from /sys/class/net, which shows the network namespace in which it was mounted.
    return tuple(sorted(name for _, name in socket.if_nameindex() if name != "lo"))


def capabilities() -> Capabilities:
    """What the installed Keepalived supports beyond 2.2.7; nothing if its version cannot be read."""
    try:
        done = run(["keepalived", "--version"], timeout=_SECONDS)
    except (CommandFailed, Unsupported):
        return Capabilities()
    return Capabilities(keepalived_late_master_steps_down=_version(done.stderr + done.stdout) >= _LATE_MASTER_SINCE)


def _version(text: str) -> tuple[int, ...]:
    match = re.search(r"Keepalived v(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in match.groups()) if match else ()
