"""The state of a lab on disk, so that another process can attach to the lab or remove it.

`lab.json` is written before each thing that it names is made, so `down` finds everything after a crash.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType

from natpair.system.files import write_atomic
from natpair_lab.testbed.fabric import Knobs, Shares
from natpair_lab.testbed.switches import SwitchFaults
from natpair_lab.testbed.topology import Design

FILE = "lab.json"
BUILDING = "building"
UP = "up"


@dataclass(frozen=True, slots=True)
class LabState:
    """One lab: its phase, its network namespaces, its fabric and its faults."""

    name: str
    phase: str
    netns: tuple[str, ...]
    knobs: Knobs = field(default_factory=Knobs)
    shares: Shares = field(default_factory=lambda: MappingProxyType({}))
    faults: Mapping[str, SwitchFaults] = field(default_factory=lambda: MappingProxyType({}))
    design: Design = Design.NATPAIR

    def with_fault(self, switch: str, faults: SwitchFaults) -> LabState:
        """This state with the faults of one switch replaced."""
        return replace(self, faults=MappingProxyType({**self.faults, switch: faults}))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock this lab's state until the block is done, so that reading and writing is one step."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(folder: Path, state: LabState) -> None:
    """Replace the state file in `folder`."""
    document = {
        "name": state.name,
        "design": state.design,
        "phase": state.phase,
        "netns": state.netns,
        "knobs": asdict(state.knobs),
        "shares": {str(fip): nodes for fip, nodes in state.shares.items()},
        "faults": {
            switch: {"dead": f.dead, "partition": f.partition, "loss": dict(f.loss)}
            for switch, f in state.faults.items()
        },
    }
    write_atomic(folder / FILE, json.dumps(document, indent=1) + "\n", sync=False)


def read(folder: Path) -> LabState | None:
    """The state in `folder`; None if there is none or it is incomplete."""
    try:
        raw = json.loads((folder / FILE).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return LabState(
        name=raw["name"],
        phase=raw["phase"],
        netns=tuple(raw["netns"]),
        knobs=Knobs(**raw["knobs"]),
        shares=MappingProxyType({IPv4Address(fip): tuple(nodes) for fip, nodes in raw["shares"].items()}),
        faults=MappingProxyType({switch: _faults(f) for switch, f in raw["faults"].items()}),
        design=Design(raw["design"]),
    )


def _faults(raw: dict[str, object]) -> SwitchFaults:
    dead, partition, loss = raw["dead"], raw["partition"], raw["loss"]
    assert isinstance(dead, list) and isinstance(loss, dict)  # noqa: S101, PT018 - our own file
    pair = (str(partition[0]), str(partition[1])) if isinstance(partition, list) else None
    return SwitchFaults(tuple(map(str, dead)), pair, MappingProxyType({str(p): int(n) for p, n in loss.items()}))
