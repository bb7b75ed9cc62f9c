"""Talking to the fabric's daemons: BIRD's control sockets, the rule that makes it slow, its best paths."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from natpair.core.model import Gateway
from natpair.errors import LabError
from natpair.lab import fabric
from natpair.lab.fabric import FabricFiles, Knobs
from natpair.lab.host import InitRef
from natpair.lab.netns import batch
from natpair.lab.topology import FABRIC_RULE, FABRIC_TABLE
from natpair.system.process import run

_SECONDS = 5.0
_REPLY_END = re.compile(rb"^(\d{4}) .*\n\Z", re.MULTILINE)


def bird(ref: InitRef, daemon: str, command: str) -> str:
    """Give one of the fabric's BIRDs a command; its reply. LabError if it is mute or refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_SECONDS)
        try:
            line.connect(str(ref.path(fabric.control_socket(daemon))))
            _reply(line)
            line.sendall(command.encode() + b"\n")
            text = _reply(line)
        except OSError as error:
            raise LabError(f"{daemon} of the lab's fabric does not answer: {error}") from error
    refusals = [row for row in text.splitlines() if row[:1] in "89" and row[:4].isdigit()]
    if refusals:
        raise LabError(f"{daemon} of the lab's fabric refuses {command}: {'; '.join(refusals)}")
    return text


def reconfigure(ref: InitRef, netns: str, files: FabricFiles, knobs: Knobs) -> None:
    """Make running daemons follow the new `files`, sessions kept where BIRD can keep them."""
    # Every table holds the same at this moment: the rule only chooses between at once and after the delay.
    batch([f"rule del pref {FABRIC_RULE}"], netns=netns, force=True)
    if knobs.converge_ms == 0:
        batch([f"rule add pref {FABRIC_RULE} lookup {FABRIC_TABLE}"], netns=netns)
    run(["ip", "netns", "exec", netns, "nft", "-f", "-"], stdin=files.files["sessions.nft"], timeout=10)
    for daemon in files.daemons:
        bird(ref, daemon, "configure")


def best_paths(netns: str, gateway: Gateway, fip: IPv4Address, knobs: Knobs) -> tuple[str, ...]:
    """The nodes that packets for `fip` go to now, in the order of the file; none if they go nowhere."""
    table = "main" if knobs.converge_ms else str(FABRIC_TABLE)
    shown = run(
        ["ip", "-n", netns, "-j", "-4", "route", "show", "table", table, "exact", f"{fip}/32"], timeout=10, ok=(0, 2)
    ).stdout
    hops = {hop for route in json.loads(shown or "[]") for hop in _hops(route)}
    return tuple(node.name for node in gateway.node if hops & {node.public_address6.ip, node.public_address.ip})


def _hops(route: dict[str, Any]) -> Iterator[IPv4Address | IPv6Address]:
    for hop in route.get("nexthops", [route]):
        if "via" in hop:
            yield IPv6Address(hop["via"]["host"])
        elif "gateway" in hop:
            yield IPv4Address(hop["gateway"])


def _reply(line: socket.socket) -> str:
    text = b""
    while not _REPLY_END.search(text):
        piece = line.recv(65536)
        if not piece:
            raise OSError("it hung up")
        text += piece
    return text.decode(errors="replace")
