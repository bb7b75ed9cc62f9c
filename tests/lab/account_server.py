"""A program: Linode's API, emulated, with the account of the example's pair, on an address of a lab's internet host.

The pair's Linodes have the addresses of examples/gateway.toml; a third Linode owns an address that it shares, too.
Prints one JSON line when it serves: {"nat-a": id, "nat-b": id, "theirs": address}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

TESTS = Path(__file__).parents[1]
FIP = IPv4Address("192.0.2.221")
NODES = {"nat-a": IPv4Address("203.0.113.3"), "nat-b": IPv4Address("203.0.113.4")}
THEIRS = IPv4Address("192.0.2.77")


async def serve(address: str, port: int) -> None:
    from emulator.accounts import Account
    from natpair_lab.emulator.app import Emulator

    account = Account(now=time.time() - 300)
    store = account.api.store
    linodes = {name: account.create(label=name, region="us-ord") for name in (*NODES, "theirs")}
    further = {"type": "ipv4", "public": True}
    fip = account.do("POST", f"/linode/instances/{linodes['nat-a']['id']}/ips", further)
    wanted = {linodes[name]["ipv4"][0]: address for name, address in NODES.items()}
    wanted |= {linodes["theirs"]["ipv4"][0]: THEIRS, fip["address"]: FIP}
    there = {new: store.addresses.pop(IPv4Address(old)) for old, new in wanted.items()}
    store.addresses.update({new: replace(one, address=new) for new, one in there.items()})
    shared = {"linode_id": linodes["nat-b"]["id"], "ips": [str(FIP), str(THEIRS)]}
    account.do("POST", "/networking/ips/share", shared)
    async with Emulator(account.api).serving(address, port):
        sys.stdout.write(json.dumps({name: linodes[name]["id"] for name in NODES}) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
