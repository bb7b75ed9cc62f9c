"""What the lab's switches drop: nft transactions as pure text, and `load`. No packet inside a host is changed.

Everything is done at the switch, so that a node notices no more than of a real fault: a dead cable keeps its carrier, a
cut one loses it. A switch has three tables, and none overwrites another's rules: cables and the partition between the
nodes, what a chaos fault drops, and (on the public side) which sources a Linode may use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType

from natpair.errors import LabError
from natpair.system.process import run

_PER_MILLE = 1000
_SECONDS = 10


@dataclass(frozen=True, slots=True)
class SwitchFaults:
    """What one switch drops. `loss` maps a port to lost frames in a thousand, in each direction."""

    dead: tuple[str, ...] = ()
    partition: tuple[str, str] | None = None
    loss: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def with_dead(self, port: str, dead: bool) -> SwitchFaults:
        """These faults with `port` dead or not."""
        others = tuple(p for p in self.dead if p != port)
        return replace(self, dead=(*others, port) if dead else others)

    def with_partition(self, ports: tuple[str, str] | None) -> SwitchFaults:
        """These faults with the two `ports` unable to reach each other, or with no partition."""
        return replace(self, partition=ports)

    def with_loss(self, port: str, per_mille: int) -> SwitchFaults:
        """These faults with `per_mille` of the frames from and to `port` lost; 0 ends it."""
        if not 0 <= per_mille <= _PER_MILLE:
            raise LabError(f"a loss of {per_mille} in a thousand is not possible", fix="use 0 to 1000")
        loss = {p: n for p, n in self.loss.items() if p != port} | ({port: per_mille} if per_mille else {})
        return replace(self, loss=MappingProxyType(loss))

    def without(self, port: str) -> SwitchFaults:
        """These faults with a new cable in `port`."""
        return self.with_dead(port, False).with_loss(port, 0)


def ruleset(faults: SwitchFaults) -> str:
    """The nft transaction that makes a switch drop exactly what `faults` says."""
    lossy = {**dict.fromkeys(faults.dead, _PER_MILLE), **{p: n for p, n in faults.loss.items() if p not in faults.dead}}
    one, other = faults.partition or ("", "")
    between = [f'iifname "{a}" oifname "{b}" drop' for a, b in ((one, other), (other, one)) if a]
    return _table(
        "natpair_lab",
        ("entering", "prerouting priority -300", [f'iifname "{port}" {_dice(n)}drop' for port, n in lossy.items()]),
        ("between", "forward priority 0", between),
        ("leaving", "postrouting priority 0", [f'oifname "{port}" {_dice(n)}drop' for port, n in lossy.items()]),
    )


def dropping(forward: Sequence[str], entering: Sequence[str] = ()) -> str:
    """The nft transaction that makes a switch drop what `forward` (between ports) and `entering` match.

    It is for what the lab's cables cannot do: one direction, one protocol, some packets.
    """
    return _table(
        "natpair_chaos",
        ("entering", "prerouting priority -290", [f"{rule} drop" for rule in entering]),
        ("between", "forward priority 10", [f"{rule} drop" for rule in forward]),
    )


@dataclass(frozen=True, slots=True)
class Allowed:
    """The sources that a Linode's port may use: its own addresses and those shared to it."""

    ipv4: Iterable[IPv4Address]
    ipv6: IPv6Address


def sources(ports: Mapping[str, Allowed]) -> str:
    """The nft transaction that makes the public switch allow `ports` only their addresses.

    Frames are dropped on their way into the switch, after any tap, so a drill that looks for leaks still sees them.
    """
    rules = []
    for port, allowed in sorted(ports.items()):
        own = ", ".join(map(str, sorted(set(allowed.ipv4))))
        rules += [
            f'iifname "{port}" ip saddr != {{ {own} }} counter drop',
            f'iifname "{port}" arp saddr ip != {{ 0.0.0.0, {own} }} counter drop',
            f'iifname "{port}" ip6 saddr != {{ ::, fe80::/10, {allowed.ipv6} }} counter drop',
        ]
    return _table("natpair_ports", ("sources", "prerouting priority -290", rules))


def load(switch_netns: str, text: str) -> None:
    """Run an nft transaction in a switch."""
    run(["ip", "netns", "exec", switch_netns, "nft", "-f", "-"], stdin=text, timeout=_SECONDS)


def _table(name: str, *chains: tuple[str, str, Sequence[str]]) -> str:
    """A transaction that replaces the table of that name, or adds it."""
    body = "".join(
        f"  chain {chain} {{\n    type filter hook {hook}; policy accept;\n"
        + "".join(f"    {rule}\n" for rule in rules)
        + "  }\n"
        for chain, hook, rules in chains
    )
    return f"add table bridge {name}\ndelete table bridge {name}\ntable bridge {name} {{\n{body}}}\n"


def _dice(per_mille: int) -> str:
    # nft refuses a comparison that is always true.
    return "" if per_mille == _PER_MILLE else f"numgen random mod {_PER_MILLE} < {per_mille} "
