"""Files for an emulated account, and everything that account holds, in a form that two runs can be compared by."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field

from emulator.served import quick_api
from natpair.cloud.applying import Applied, apply
from natpair.cloud.desired import wanted_of
from natpair.cloud.destroy import UndoStep, destroy
from natpair.cloud.execute import Materials, Pace
from natpair.cloud.health import Condition, condition_of
from natpair.cloud.observed import observe
from natpair.cloud.plan import Plan, Step, make_plan
from natpair.cloud.platform import read_offer
from natpair.config.load import parse_draft
from natpair.linode import creating, sharing
from natpair.linode.client import LinodeClient
from natpair.linode.token import Token
from natpair.linode.transport import Limits, Transport
from natpair_lab.emulator.app import Emulator
from natpair_lab.emulator.state import Store, Timing

TEXT = """\
# The pair of the tests.
[pair]
vip = "192.168.1.1/24"
fips = ["auto"]  # one

[[node]]
name = "nat-a"
private_address = "192.168.1.3/24"
public_address = "auto"
public_address6 = "auto"

[[node]]
name = "nat-b"
private_address = "192.168.1.4/24"
public_address = "auto"
public_address6 = "auto"

[bgp]
region = "us-ord"

[install]
source = "https://files.example.org/natpair-0.1.0-py3-none-any.whl"

[cloud]
type = "g6-nanode-1"
"""
LEGACY = TEXT + 'generation = "legacy_config"\n'
QUICK = Limits(
    connect_seconds=2, try_seconds=2, total_seconds=20, tries=60, first_wait_seconds=0.02, longest_wait_seconds=0.1
)
PACE = Pace(
    look_every_seconds=0.02,
    settle_seconds=10,
    create=creating.Patience(settle_seconds=0.3, look_every_seconds=0.02),
    share=sharing.Patience(settle_seconds=0.3, look_every_seconds=0.02),
)


def changed(*pairs: tuple[str, str], text: str = TEXT) -> str:
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


@dataclass
class Desk:
    """Somebody with a gateway.toml and a token."""

    emulator: Emulator
    client: LinodeClient
    text: str = TEXT
    told: list[str] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return self.emulator.api.store

    def _save(self, text: str) -> None:
        self.text = text

    async def apply(self, on_step: Callable[[Step], None] = lambda _: None) -> Applied:
        def tell(step: Step) -> None:
            self.told.append(step.kind.value)
            on_step(step)

        materials = Materials("the key\n", ("ssh-ed25519 AAAA test",), self._save)
        offer = await read_offer(self.client)
        return await apply(self.client, parse_draft(self.text), offer, materials, PACE, tell)

    async def destroy(self) -> tuple[UndoStep, ...]:
        return await destroy(self.client, parse_draft(self.text), self._save, PACE, lambda _: None)

    async def plan(self) -> Plan:
        wanted = wanted_of(parse_draft(self.text))
        return make_plan(wanted, await observe(self.client, wanted))

    async def condition(self) -> Condition:
        wanted = wanted_of(parse_draft(self.text))
        found = await observe(self.client, wanted)
        return condition_of(wanted, found, make_plan(wanted, found))

    def labels(self) -> list[str]:
        return sorted(one.label for one in self.store.linodes.values())

    def node(self, name: str) -> int:
        return next(one.id for one in self.store.linodes.values() if one.label.startswith(name))


@asynccontextmanager
async def desk(text: str = TEXT) -> AsyncIterator[Desk]:
    emulator = Emulator(quick_api(Timing(provision_seconds=0.02, boot_seconds=0.02, shutdown_seconds=0.02)))
    async with (
        emulator.serving() as url,
        Transport(Token("any"), base_url=f"{url}/v4", limits=QUICK) as transport,
    ):
        yield Desk(emulator, LinodeClient(transport), text)


def holdings(store: Store) -> dict[str, object]:
    """Everything the account holds but its history; the records are frozen, so this is a copy."""
    names = ("linodes", "configs", "addresses", "shares", "vlans", "groups", "firewalls", "devices", "maintenance")
    return {name: copy(getattr(store, name)) for name in names}


def shape(store: Store, stamp: str) -> dict[str, object]:
    """What the account holds, without its numbers, addresses and stamp: equal for two runs that made the same."""

    def bare(text: str) -> str:
        return re.sub(r"(?<=installed-)[0-9a-f]{16}", "HASH", text.replace(stamp, "STAMP"))

    names = {number: bare(one.label) for number, one in store.linodes.items()}
    owners = {address: names.get(one.linode_id or 0) for address, one in store.addresses.items()}
    return {
        "linodes": [
            {
                "label": bare(one.label),
                "kind": (one.region, one.type, one.image, one.generation.value, one.status.value),
                "tags": sorted(map(bare, one.tags)),
                "ports": [(port.vlan, port.ipam) for port in store.view(one).ports],
                "helper": store.view(one).network_helper,
                "files": [entry["path"] for entry in json.loads(one.user_data.partition(b"\n")[2])["write_files"]],
            }
            for one in sorted(store.linodes.values(), key=lambda one: one.label)
        ],
        "addresses": sorted(map(str, owners.values())),
        "shares": sorted((names[to], owners[one]) for to, shared in store.shares.items() for one in shared),
        "groups": [(bare(one.label), sorted(names[member] for member in one.members)) for one in store.groups.values()],
        "firewalls": [
            (bare(one.label), list(map(bare, one.tags)), len(one.rules.inbound)) for one in store.firewalls.values()
        ],
        "devices": sorted((one.type.value, names[one.linode_id]) for one in store.devices.values()),
        "vlans": sorted(store.vlans),
    }
