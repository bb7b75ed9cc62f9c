"""An apply that goes back leaves the machine as it was: compared before and after, over random configurations.

Every way back: undone by itself, cut off and resumed by the next apply or the next boot, never confirmed, rolled back.
More of them by hand: UNDO_SEEDS=40 pytest tests/checks/test_apply_undone_whole.py
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from checks.scratch import Scratch, scratch_node
from checks.test_apply_for_real import LISTENER, UNRESPONSIVE
from golden.cases import CASES
from natpair.core import paths

pytestmark = pytest.mark.root

EXAMPLE = CASES[0]
SEEDS = int(os.environ.get("UNDO_SEEDS", "1"))
CHANGES: dict[str, tuple[tuple[str, str], ...]] = {
    "fip": (('fips = ["192.0.2.221"]', 'fips = ["192.0.2.5", "192.0.2.6"]'),),
    "servers": (('region = "us-ord"', 'route_servers = ["2001:db8:9::1"]'),),
    "profile": (('profile = "balanced"', 'profile = "fast"'),),
    "flows": (("[bgp]", "[nat]\nudp_seconds = 400\ntcp_established_seconds = 8000\n[bgp]"),),
    "vip": (("192.168.1.1/24", "192.168.1.2/24"),),
    "uplink": (
        ('"eth0"\npublic_address = "203.0.113.3/24"', '"eth2"\npublic_address = "203.0.113.43/24"'),
        ('"2001:db8:100::3/64"', '"2001:db8:100::43/64"'),
    ),
    "vlan": (('"eth1"\nprivate_address = "192.168.1.3/24"', '"eth3"\nprivate_address = "192.168.1.43/24"'),),
    "own": (('"192.168.1.3/24"', '"192.168.1.44/24"'),),
    "peer": (('"192.168.1.4/24"', '"192.168.1.45/24"'),),
}
STRANGERS = (
    "ip address add 10.9.9.9/24 dev eth1",
    "ip route add 10.8.0.0/16 via 10.9.9.1 metric 1000",
    "ip route add blackhole 192.0.2.77/32 metric 1000",
    "ip rule add pref 90 from 10.9.0.0/16 lookup main",
    "ip neigh add 10.9.9.1 lladdr 02:00:00:00:00:09 dev eth1 nud permanent",
    "tc qdisc add dev eth2 clsact",
    "nft add table inet strangers",
)
AGENT = """
import asyncio
from pathlib import Path
from natpair.config.load import find_node, load
from natpair.core.paths import APPLIED
from natpair.apply import leftovers
from natpair.system import links
from natpair.system.links import RelayRoutes
gateway = load(Path(sys.argv[1]))
me = find_node(gateway, name="nat-a"); peer = gateway.peer_of("nat-a").private_address.ip
async def work():
    await RelayRoutes(gateway.pair.fips, peer, me.private_interface).add()
    leftovers.note_peer(me.private_interface, str(peer))
    await links.pin_neighbour(me.private_interface, peer, "02:00:00:00:00:04")
asyncio.run(work())
"""


@pytest.fixture
def machine() -> Iterator[Scratch]:
    with scratch_node(EXAMPLE.gateway().node[0]) as scratch:
        scratch.give_key()
        for name, addresses in (("eth2", ("203.0.113.43/24", "2001:db8:100::43/64")), ("eth3", ("192.168.1.43/24",))):
            scratch.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
            scratch.run("ip", "link", "set", f"far-{name}", "up")
            scratch.run("ip", "link", "set", name, "up")
            for address in addresses:
                scratch.run("ip", "address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
        for command in STRANGERS:
            scratch.run(*command.split())
        settled = 'until [ -z "$(ip -6 address show tentative)" ]; do sleep 0.05; done'
        scratch.run("timeout", "20", "sh", "-c", settled)
        yield scratch


def state(machine: Scratch) -> dict[str, list[str]]:
    """All of the machine that an apply, or an agent under its configuration, may touch."""
    shown = {
        "addresses": "ip -o address | sed 's/valid_lft.*//'",
        "routes": "ip route show table all; ip -6 route show table all",
        "rules": "ip rule",
        "neighbours": "ip neigh show nud permanent",
        "nft": "nft --stateless --terse list ruleset",
        "qdiscs": "tc qdisc show",
        "filters": "for d in eth0 eth1 eth2 eth3; do for w in ingress egress; do tc filter show dev $d $w; done; done",
        "sysctls": "sysctl -a 2>/dev/null | grep ^net | grep -v 'nf_conntrack_count\\|stable_secret\\|fib_notify'",
        "files": "find /etc/natpair /etc/sysctl.d /etc/systemd /etc/modules-load.d /etc/tmpfiles.d -type f "
        "-exec sha256sum {} + | sort -k2",
        "journal": f"ls {paths.APPLY_JOURNAL} {paths.UNCONFIRMED} 2>/dev/null",
    }
    return {name: machine.run("sh", "-c", f"{command}; true").stdout.splitlines() for name, command in shown.items()}


def difference(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """The lines that have gone and those that have come."""
    gone = [f"- {part}: {line}" for part, lines in before.items() for line in lines if line not in after[part]]
    return gone + [f"+ {part}: {line}" for part, lines in after.items() for line in lines if line not in before[part]]


def config(machine: Scratch, dice: random.Random) -> tuple[str, list[str]]:
    """A configuration that differs in some ways from the example, and the options that its apply needs."""
    chosen = ["servers", *dice.sample(sorted(CHANGES.keys() - {"servers"}), dice.randint(2, 5))]
    if {"own", "vlan"} <= set(chosen):
        chosen.remove("vlan")
    text = EXAMPLE.config.read_text()
    for name in chosen:
        for old, new in CHANGES[name]:
            assert old in text, (name, old)
            text = text.replace(old, new)
    options = ["--node", "nat-a", "--yes", *(["--add-address"] if "own" in chosen else [])]
    return machine.write("/run/other.toml", text), [*options]


def undone_by_itself(machine: Scratch, other: str, options: list[str]) -> None:
    agent = subprocess.Popen(
        machine.argv([sys.executable, "-c", LISTENER, paths.AGENT_SOCKET, "standby"]), stdout=subprocess.PIPE, text=True
    )
    try:
        machine.run("timeout", "10", "sh", "-c", f"until [ -S {paths.AGENT_SOCKET} ]; do sleep 0.05; done")
        machine.natpair("apply", other, *options, "--health-seconds", "3", ok=(69,))
    finally:
        agent.kill()
        agent.communicate()
        machine.run("rm", "-f", paths.AGENT_SOCKET)


def _killed(machine: Scratch, other: str, options: list[str]) -> None:
    """By SIGKILL, when all files are renamed and the kernel has been told, but for what BIRD hangs on."""
    unresponsive = subprocess.Popen(
        machine.argv([sys.executable, "-c", UNRESPONSIVE, paths.BIRD_CTL]), stdout=subprocess.PIPE, text=True
    )
    assert unresponsive.stdout is not None
    try:
        assert unresponsive.stdout.readline() == "up\n"
        running = subprocess.Popen(
            machine.argv([sys.executable, "-m", "natpair", "apply", other, *options]), stderr=subprocess.PIPE
        )
        machine.run(
            "timeout", "20", "sh", "-c", "until pgrep --ns $$ --nslist net -x birdc >/dev/null; do sleep 0.05; done"
        )
        running.kill()
        running.communicate(timeout=30)
    finally:
        unresponsive.kill()
        unresponsive.communicate()
        machine.run("rm", "-f", paths.BIRD_CTL)


def killed_and_resumed_by_the_next(machine: Scratch, other: str, options: list[str]) -> None:
    _killed(machine, other, [*options])
    machine.natpair("apply", "/run/this.toml", "--node", "nat-a")


def killed_and_resumed_by_a_boot(machine: Scratch, other: str, options: list[str]) -> None:
    _killed(machine, other, options)
    machine.natpair("prepare")


def never_confirmed(machine: Scratch, other: str, options: list[str]) -> None:
    machine.natpair("apply", other, *options, "--confirm", "5")
    machine.python(AGENT, paths.APPLIED)
    machine.run("timeout", "40", "sh", "-c", f"while [ -e {paths.UNCONFIRMED} ]; do sleep 0.05; done")
    machine.run("timeout", "9", "flock", f"{paths.UNCONFIRMED}.lock", "true")
    machine.python(AGENT, paths.APPLIED)


def rolled_back(machine: Scratch, other: str, options: list[str]) -> None:
    machine.natpair("apply", other, *options)
    machine.python(AGENT, paths.APPLIED)
    machine.natpair("rollback", "--yes")
    machine.python(AGENT, paths.APPLIED)


WAYS: tuple[Callable[[Scratch, str, list[str]], None], ...] = (
    undone_by_itself,
    killed_and_resumed_by_the_next,
    killed_and_resumed_by_a_boot,
    never_confirmed,
    rolled_back,
)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_machine_is_as_it_was(machine: Scratch, way: Callable[..., None], seed: int) -> None:
    machine.natpair("apply", machine.write("/run/this.toml", EXAMPLE.config.read_text()))
    machine.python(AGENT, paths.APPLIED)
    before = state(machine)
    dice = random.Random(f"{way.__name__} {seed}")  # noqa: S311 - no secret
    way(machine, *config(machine, dice))
    assert difference(before, state(machine)) == []


def test_a_first_apply_that_is_undone_leaves_a_machine_that_never_saw_natpair(machine: Scratch) -> None:
    before = state(machine)
    undone_by_itself(machine, str(EXAMPLE.config), ["--node", "nat-a"])
    assert difference(before, state(machine)) == []


def test_what_differs_is_seen(machine: Scratch) -> None:
    """The check must see an address, a route, a neighbour, a sysctl, a filter, a file, or it proves nothing."""
    machine.natpair("apply", str(EXAMPLE.config))
    for part, command in {
        "addresses": "ip address add 203.0.113.44/24 dev eth1",
        "routes": "ip route add blackhole 192.0.2.5/32 metric 1000",
        "neighbours": "ip neigh add 192.168.1.9 lladdr 02:00:00:00:00:09 dev eth1 nud permanent",
        "sysctls": "sysctl -qw net.ipv4.conf.eth3.rp_filter=2",
        "qdiscs": "tc qdisc add dev eth1 clsact",
        "nft": "nft add chain ip natpair more",
        "files": f"touch {paths.ETC}/more",
    }.items():
        before = state(machine)
        machine.run(*command.split())
        assert any(line.startswith(f"+ {part}: ") for line in difference(before, state(machine))), part
