"""The adapter against Keepalived itself: roles as read back, the FIFO, the track files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from checks.scratch import Scratch
from contract.daemons import call, eventually, running

pytestmark = pytest.mark.root

DUMP = """
from natpair.system import keepalived
try:
    state = await keepalived.dump()
    print(state.role, state.adverts_sent)
except DaemonError:
    print("unresponsive 0")
"""
TRACK = "from natpair.system import keepalived\nkeepalived.write_track(*sys.argv[1:2], int(sys.argv[2]))"
PRIORITY = """
import json
from natpair.system import keepalived
await keepalived.dump()
print(json.load(open(paths.KEEPALIVED_JSON))[0]["data"]["effective_priority"])
"""
LISTEN = """
from natpair.system.keepalived import NotifyFifo, write_track
fifo = NotifyFifo()
fifo.roles()
heard = asyncio.Queue()
asyncio.get_running_loop().add_reader(fifo.fd, lambda: [heard.put_nowait(role) for role in fifo.roles()])
async with asyncio.timeout(15):
    for value, until in ((0, "FAULT"), (1, "MASTER")):
        write_track(paths.TRACK_HEALTH, value)
        while True:
            role = await heard.get()
            print(role)
            if role == until:
                break
"""


def role(machine: Scratch) -> str:
    return call(machine, DUMP).split()[0]


def track(machine: Scratch, name: str, value: int) -> None:
    call(machine, TRACK, f"/run/natpair/track/{name}", str(value))


@pytest.fixture(scope="module", autouse=True)
def log(machine: Scratch) -> Iterator[Callable[[], str]]:
    assert role(machine) == "unresponsive", "before its start"
    with running(machine, "natpair-keepalived") as log:
        eventually(lambda: role(machine), "FAULT")  # there is no health file yet
        yield log


def test_the_health_file_decides_whether_it_may_be_elected(machine: Scratch) -> None:
    track(machine, "health", 1)
    eventually(lambda: role(machine), "MASTER")
    assert "192.168.1.1/32" in machine.run("ip", "address", "show", "eth1").stdout
    track(machine, "health", 0)
    eventually(lambda: role(machine), "FAULT")
    assert "192.168.1.1/32" not in machine.run("ip", "address", "show", "eth1").stdout


def test_adverts_are_counted(machine: Scratch) -> None:
    track(machine, "health", 1)
    eventually(lambda: role(machine), "MASTER")
    first = int(call(machine, DUMP).split()[1])
    assert int(call(machine, DUMP).split()[1]) > first


def test_the_boost_raises_the_priority(machine: Scratch) -> None:
    track(machine, "health", 1)
    track(machine, "boost", 10)
    eventually(lambda: call(machine, PRIORITY), "250")
    track(machine, "boost", 0)
    eventually(lambda: call(machine, PRIORITY), "240")


def test_the_fifo_tells_every_role_in_its_order(machine: Scratch) -> None:
    track(machine, "health", 1)
    eventually(lambda: role(machine), "MASTER")
    assert call(machine, LISTEN).split() == ["FAULT", "BACKUP", "MASTER"]


def test_many_dumps_in_a_row_are_all_whole(machine: Scratch) -> None:
    body = "from natpair.system import keepalived\nfor _ in range(50):\n    await keepalived.dump()\nprint('whole')"
    assert call(machine, body) == "whole"


def test_a_reload_keeps_the_role(machine: Scratch, log: Callable[[], str]) -> None:
    track(machine, "health", 1)
    eventually(lambda: role(machine), "MASTER")
    before = log().count("Entering")
    machine.run("sh", "-c", 'kill -HUP "$(cat /run/natpair/keepalived.pid)"')
    eventually(lambda: "Reloading" in log(), True)
    eventually(lambda: role(machine), "MASTER")
    assert "FAULT" not in "".join(log().split("Entering")[before + 1 :])


def test_an_own_address_that_comes_back_after_the_vip_is_still_what_daemons_speak_from(machine: Scratch) -> None:
    """As `networkctl reconfigure` does it on a machine whose secondary addresses are promoted."""
    machine.run("sysctl", "-qw", "net.ipv4.conf.eth1.promote_secondaries=1")
    track(machine, "health", 1)
    eventually(lambda: role(machine), "MASTER")
    machine.run("ip", "address", "del", "192.168.1.3/24", "dev", "eth1")
    assert "192.168.1.1/" in machine.run("ip", "address", "show", "eth1").stdout
    machine.run("ip", "address", "add", "192.168.1.3/24", "dev", "eth1")
    for target in ("192.168.1.4", "192.168.1.101"):
        assert "src 192.168.1.3 " in machine.run("ip", "route", "get", target).stdout


REPLUG = """
import subprocess
from natpair.agent.bindings import Bindings
from natpair.agent.cell import StateCell
from nodes import standby
from natpair.system import keepalived, links
from contract.daemons import GATEWAY
def ip(*words):
    subprocess.run(["ip", *words], check=True)
steps = []
bindings = Bindings(GATEWAY, "nat-a", StateCell(standby()), lambda event, **fields: steps.append(fields["step"]))
mac = links.identity("eth1").mac
ip("link", "delete", "eth1")
bindings.look()
await asyncio.sleep(1)
ip("link", "add", "eth1", "address", mac, "type", "veth", "peer", "name", "far0")
ip("link", "set", "far0", "up")
ip("link", "set", "eth1", "up")
bindings.look()
await asyncio.sleep(1)
ip("address", "add", "192.168.1.3/24", "dev", "eth1")
await asyncio.sleep(3)
print((await keepalived.dump()).role, len(steps))
bindings.look()
async with asyncio.timeout(10):
    while not await links.has_address(GATEWAY.pair.vip.ip):
        await asyncio.sleep(0.2)
print("MASTER", *steps)
"""


def test_an_interface_that_was_made_anew_leaves_it_deaf_until_it_is_told(machine: Scratch) -> None:
    track(machine, "health", 1)
    eventually(lambda: role(machine), "MASTER")
    assert call(machine, REPLUG).splitlines() == ["BACKUP 0", "MASTER keepalived-reloaded"]


DEAF = """
from natpair.agent.bindings import Bindings
from natpair.agent.cell import StateCell
from nodes import standby
from natpair.system import keepalived
from contract.daemons import GATEWAY
import subprocess
for words in ("link delete eth1", "link add eth1 type veth peer name far0", "link set far0 up", "link set eth1 up",
              "address add 192.168.1.3/24 dev eth1"):
    subprocess.run(["ip", *words.split()], check=True)
# This agent starts afterwards, and knows of nothing.
bindings = Bindings(GATEWAY, "nat-a", StateCell(standby()), lambda event, **fields: print(fields["why"]))
async with asyncio.timeout(30):
    while (dump := await keepalived.dump()).role != "MASTER":
        bindings.deaf(dump)
        await asyncio.sleep(0.5)
print("MASTER")
"""


def test_a_deaf_one_is_found_out_by_what_it_does_not_hear(machine: Scratch) -> None:
    track(machine, "health", 1)
    eventually(lambda: role(machine), "MASTER")
    assert call(machine, DEAF).splitlines() == ["deaf", "MASTER"]
