"""What can be broken on the way between hosts: pure text for the switches, no packet of a host is touched.

Everything is done at the switch side, so that a node notices no more than it would of a real fault: a dead
cable keeps its carrier, a cut one loses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from natpair.errors import LabError

TABLE = "natpair_lab"
_PER_MILLE = 1000


class LinkState(StrEnum):
    """A cable: fine, without carrier, or with a carrier and no packets."""

    UP = "up"
    DOWN = "down"
    DEAD = "dead"


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
            raise LabError(f"a loss of {per_mille} in a thousand is not possible", cure="say 0 to 1000")
        loss = {p: n for p, n in self.loss.items() if p != port} | ({port: per_mille} if per_mille else {})
        return replace(self, loss=MappingProxyType(loss))

    def without(self, port: str) -> SwitchFaults:
        """These faults with a new cable in `port`."""
        return self.with_dead(port, False).with_loss(port, 0)


def ruleset(faults: SwitchFaults) -> str:
    """The nft transaction that makes a switch drop exactly what `faults` says."""
    entering = [f'iifname "{port}" drop' for port in faults.dead]
    leaving = [f'oifname "{port}" drop' for port in faults.dead]
    entering += [f'iifname "{port}" {_dice(n)}drop' for port, n in faults.loss.items()]
    leaving += [f'oifname "{port}" {_dice(n)}drop' for port, n in faults.loss.items()]
    between: list[str] = []
    if faults.partition is not None:
        one, other = faults.partition
        between = [f'iifname "{one}" oifname "{other}" drop', f'iifname "{other}" oifname "{one}" drop']
    return f"""\
add table bridge {TABLE}
delete table bridge {TABLE}
table bridge {TABLE} {{
{_chain("entering", "prerouting priority -300", entering)}
{_chain("between", "forward priority 0", between)}
{_chain("leaving", "postrouting priority 0", leaving)}
}}
"""


def _dice(per_mille: int) -> str:
    # nft refuses a comparison that is always true.
    return "" if per_mille == _PER_MILLE else f"numgen random mod {_PER_MILLE} < {per_mille} "


def _chain(name: str, hook: str, rules: list[str]) -> str:
    body = "".join(f"    {rule}\n" for rule in rules)
    return f"  chain {name} {{\n    type filter hook {hook}; policy accept;\n{body}  }}"
