"""A pair in an emulated account, for whatever watches it: two Linodes, a FIP of the first, shared to the second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from emulator.accounts import Account
from natpair.core.events import AccountSeen, Event
from natpair.core.model import Gateway
from natpair.linode import sharing
from natpair.linode.transport import Limits
from natpair_lab.emulator.app import Emulator
from natpair_lab.emulator.faults import Fault
from samples import gateway, text_with

TOKEN = "canary3f9c4470be"  # noqa: S105 - nobody's
# For what must work, on however busy a machine; and for what hangs.
LONG = Limits(try_seconds=5, total_seconds=8, tries=3, first_wait_seconds=0.01, longest_wait_seconds=0.02)
SHORT = Limits(
    try_seconds=0.5,
    total_seconds=0.8,
    tries=2,
    first_wait_seconds=0.01,
    longest_wait_seconds=0.02,
    answer_bytes=512 * 1024,
)
QUICK_PATIENCE = sharing.Patience(settle_seconds=0.1, look_every_seconds=0.02)


@dataclass
class Told:
    """What a watcher said, in order."""

    events: list[Event] = field(default_factory=list)
    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def record(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    @property
    def last(self) -> AccountSeen:
        found = [event for event in self.events if isinstance(event, AccountSeen)]
        assert found, self.events
        return found[-1]


@dataclass
class WatchedPair:
    """The emulator, who is who in it, and a gateway.toml that fits."""

    account: Account
    emulator: Emulator
    url: str
    linodes: dict[str, int]
    fip: IPv4Address
    replacements: tuple[tuple[str, str], ...]
    token_file: Path

    def extra(self, **watch: Any) -> str:
        settings = {"enabled": "true", "interval_seconds": 2, "maintenance_lead_seconds": 600} | watch
        lines = [f"{key} = {value}" for key, value in settings.items()]
        api = f'\n[linode]\napi_url = "{self.url}/v4"\ntoken_file = "{self.token_file}"\n'
        return "\n".join([api, "[watch]", *lines, ""])

    def text(self, **watch: Any) -> str:
        return text_with(*self.replacements, extra=self.extra(**watch))

    def gateway(self, **watch: Any) -> Gateway:
        return gateway(*self.replacements, extra=self.extra(**watch))

    def shares(self, node: str) -> set[str]:
        store = self.emulator.api.store
        return {str(address) for address in store.shares.get(self.linodes[node], ())}

    def replace_shares(self, node: str, *addresses: IPv4Address | str) -> None:
        """Somebody else writes the list."""
        body = {"linode_id": self.linodes[node], "ips": [str(address) for address in addresses]}
        self.account.do("POST", "/networking/ips/share", body)

    def maintenance(self, node: str, **fields: Any) -> None:
        self.emulator.control.add_maintenance({"linode_id": self.linodes[node], **fields})

    def fault(self, **fault: Any) -> None:
        self.emulator.control.faults.active.append(Fault(**fault))

    def new_address(self, linode: int) -> IPv4Address:
        made = self.account.do("POST", f"/linode/instances/{linode}/ips", {"type": "ipv4", "public": True})
        return IPv4Address(made["address"])


@asynccontextmanager
async def watched_pair(folder: Path) -> AsyncIterator[WatchedPair]:
    """The pair on a loopback port."""
    account = Account(now=time.time() - 300)
    emulator = Emulator(account.api, clock=lambda: account.now)
    made = {name: account.create(label=name, region="us-ord") for name in ("nat-a", "nat-b")}
    account.now = time.time()
    account.api.advance(account.now)
    linodes = {name: int(linode["id"]) for name, linode in made.items()}
    token_file = folder / "linode.token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    async with emulator.serving() as url:
        pair = WatchedPair(account, emulator, url, linodes, IPv4Address(0), (), token_file)
        pair.fip = await asyncio.to_thread(pair.new_address, linodes["nat-a"])
        pair.replace_shares("nat-b", pair.fip)
        pair.replacements = (
            ('"192.0.2.221"', f'"{pair.fip}"'),
            ('"203.0.113.3/24"', f'"{made["nat-a"]["ipv4"][0]}/24"'),
            ('"203.0.113.4/24"', f'"{made["nat-b"]["ipv4"][0]}/24"'),
        )
        yield pair
