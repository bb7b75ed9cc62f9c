"""`natpair apply` on a throw-away machine: the kernel and the real daemons are told, and told again on the way back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from checks.scratch import Scratch, scratch_node
from golden.cases import CASES
from natpair.core import paths
from natpair.render.base import Sides
from natpair.render.nftables import peer_guard

pytestmark = pytest.mark.root

EXAMPLE = CASES[0]
UNRESPONSIVE = """
import socket, sys, time
line = socket.socket(socket.AF_UNIX); line.bind(sys.argv[1]); line.listen()
print("up", flush=True); time.sleep(60)
"""


@pytest.fixture
def machine() -> Iterator[Scratch]:
    with scratch_node(EXAMPLE.gateway().node[0]) as scratch:
        scratch.give_key()
        yield scratch


def variant(machine: Scratch, *changes: tuple[str, str]) -> str:
    text = EXAMPLE.config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return machine.write("/run/variant.toml", text)


def tables(machine: Scratch) -> list[str]:
    return machine.run("nft", "list", "tables").stdout.splitlines()


@contextmanager
def bird(machine: Scratch) -> Iterator[None]:
    machine.write(paths.BIRD_ROLE, "define COMM = (65000,2);\ndefine MED = 4294967294;\n")
    daemon = subprocess.Popen(
        machine.argv(["bird", "-f", "-c", paths.BIRD_CONF, "-s", paths.BIRD_CTL]), stderr=subprocess.DEVNULL
    )
    try:
        machine.run("timeout", "10", "sh", "-c", f"until birdc -s {paths.BIRD_CTL} show status; do sleep 0.05; done")
        yield
    finally:
        daemon.terminate()
        daemon.wait(timeout=10)


def bird_protocols(machine: Scratch) -> list[str]:
    return [
        line.split()[0]
        for line in machine.run("birdc", "-s", paths.BIRD_CTL, "show", "protocols").stdout.splitlines()
        if " BGP " in line
    ]


def test_the_node_becomes_what_the_file_says_and_stays(machine: Scratch) -> None:
    before = machine.natpair("apply", str(EXAMPLE.config), "--dry-run", "--json").stdout
    assert json.loads(before)["dry_run"]
    assert tables(machine) == []
    machine.natpair("apply", str(EXAMPLE.config))
    assert tables(machine) == ["table ip natpair", "table inet natpair"]
    assert "blackhole 192.0.2.221" in machine.run("ip", "route", "show", "type", "blackhole").stdout
    assert "bytecode" in machine.run("tc", "filter", "show", "dev", "eth0", "egress").stdout
    assert machine.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "1\n"
    again = json.loads(machine.natpair("apply", "--json").stdout)
    assert (again["changed"], again["reloaded"]) == ([], [])


def test_the_traffic_state_outlives_an_apply(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    machine.run("nft", "-f", paths.TRAFFIC_LOCAL)
    machine.natpair("apply", variant(machine, ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.221", "192.0.2.222"]')))
    ruleset = machine.run("nft", "list", "table", "ip", "natpair").stdout
    assert ruleset.count('comment "natpair traffic=local"') == 2
    assert "192.0.2.222" in ruleset
    assert "192.0.2.222" in machine.run("ip", "route", "show", "type", "blackhole").stdout


def test_the_peer_s_guard_outlives_an_apply(machine: Scratch) -> None:
    """Nobody may speak in the peer's name for a moment because of it: one owner of all four marks."""
    machine.natpair("apply", str(EXAMPLE.config))
    mac = "02:00:00:00:00:04"
    machine.run("nft", "-f", "-", stdin=peer_guard(Sides.of(EXAMPLE.gateway(), "nat-a"), mac))
    machine.run("nft", "-f", paths.SYNC_FENCE_ON)
    machine.run("nft", "-f", paths.DUPLICATE_ON)
    before = {
        chain: machine.run("nft", "--stateless", "list", "chain", *chain.split()).stdout
        for chain in ("ip natpair peer_guard", "ip natpair duplicate", "inet natpair sync_fence")
    }
    assert mac in before["ip natpair peer_guard"]
    machine.natpair("apply", variant(machine, ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.221", "192.0.2.222"]')))
    for chain, text in before.items():
        assert machine.run("nft", "--stateless", "list", "chain", *chain.split()).stdout == text


def test_bird_is_told(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    with bird(machine):
        assert bird_protocols(machine) == ["rs1", "rs2", "rs3", "rs4"]
        machine.natpair("apply", variant(machine, ('region = "us-ord"', 'route_servers = ["2001:db8:9::1"]')))
        assert bird_protocols(machine) == ["rs1"]


def test_a_refusal_after_the_rename_brings_everything_back(machine: Scratch) -> None:
    """The running BIRD refuses: its role file, which the check does not see, has been damaged."""
    machine.natpair("apply", str(EXAMPLE.config))
    kept = machine.run("cat", paths.BIRD_CONF).stdout
    with bird(machine):
        machine.write(paths.BIRD_ROLE, "define COMM = nonsense;\n")
        more = variant(machine, ("us-ord", "us-sea"), ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.5"]'))
        failed = machine.natpair("apply", more, ok=(69,))
    assert "BIRD refused its file" in failed.stderr
    assert machine.run("cat", paths.BIRD_CONF).stdout == kept
    assert machine.run("cat", paths.CONFIG).stdout == EXAMPLE.config.read_text()
    ruleset = machine.run("nft", "list", "table", "ip", "natpair").stdout
    assert ("192.0.2.221" in ruleset, "192.0.2.5" in ruleset) == (True, False)
    assert json.loads(machine.natpair("apply", "--json").stdout)["changed"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_in_the_middle_leaves_no_half(machine: Scratch, number: signal.Signals) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    changed = variant(machine, ('profile = "balanced"', 'profile = "fast"'))
    # `birdc` hangs on a socket nobody serves: the apply stands between the rename and the end.
    unresponsive = subprocess.Popen(
        machine.argv([sys.executable, "-c", UNRESPONSIVE, paths.BIRD_CTL]), stdout=subprocess.PIPE, text=True
    )
    assert unresponsive.stdout is not None
    try:
        assert unresponsive.stdout.readline() == "up\n"
        running = subprocess.Popen(
            machine.argv([sys.executable, "-m", "natpair", "apply", changed]), stderr=subprocess.PIPE
        )
        machine.run("timeout", "20", "sh", "-c", f"until grep -q 'hold time 3' {paths.BIRD_CONF}; do sleep 0.05; done")
        machine.run("rm", paths.BIRD_CTL)  # so that the way back is not held up as well
        running.send_signal(number)
        running.communicate(timeout=30)
    finally:
        unresponsive.kill()
        unresponsive.communicate()
    left = json.loads(machine.natpair("apply", str(EXAMPLE.config), "--json").stdout)
    assert left["changed"] == []
    assert "hold time 6" in machine.run("cat", paths.BIRD_CONF).stdout


def test_a_machine_without_the_interfaces_is_told_which_it_has(machine: Scratch) -> None:
    failed = machine.natpair("apply", variant(machine, ("eth1", "eth9")), "--node", "nat-a", ok=(78,))
    assert "node nat-a: private_interface = eth9" in failed.stderr
    assert "eth0, eth1" in failed.stderr


LISTENER = """
import http.server, json, os, signal, socket, socketserver, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"node": "nat-a", "config_hash": "0" * 16, "role": sys.argv[2], "peer_view": {}}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
    def address_string(self): return "local"
print("up", flush=True)
socketserver.UnixStreamServer(sys.argv[1], Answer).serve_forever()
"""


def test_an_agent_that_does_not_come_back_with_the_new_configuration_undoes_it(machine: Scratch) -> None:
    agent = subprocess.Popen(
        machine.argv([sys.executable, "-c", LISTENER, paths.AGENT_SOCKET, "standby"]), stdout=subprocess.PIPE, text=True
    )
    try:
        machine.run("timeout", "10", "sh", "-c", f"until [ -S {paths.AGENT_SOCKET} ]; do sleep 0.05; done")
        failed = machine.natpair("apply", str(EXAMPLE.config), "--health-seconds", "3", ok=(69,))
        assert "restarting the agent" in failed.stderr
        assert "the agent does not answer" in failed.stderr
        assert agent.wait(timeout=10) == -signal.SIGTERM
        assert tables(machine) == []
    finally:
        agent.kill()
        agent.communicate()


def applied_twice(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    machine.natpair("apply", variant(machine, ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.5"]')))


def fips(machine: Scratch) -> str:
    return machine.run("nft", "list", "set", "ip", "natpair", "fips").stdout


def test_one_goes_back_to_any_generation_and_unapplied_edits_are_kept(machine: Scratch) -> None:
    applied_twice(machine)
    machine.write(paths.CONFIG, "# my edits\n")
    back = machine.natpair("rollback")
    assert "gateway.toml.edited" in back.stderr
    assert "192.0.2.221" in fips(machine)
    assert machine.run("cat", paths.CONFIG).stdout == EXAMPLE.config.read_text()
    assert machine.run("cat", f"{paths.CONFIG}.edited").stdout == "# my edits\n"
    listed = json.loads(machine.natpair("generations", "--json").stdout)["generations"]
    assert [(entry["number"], entry["why"]) for entry in listed] == [
        (1, "applied"),
        (2, "applied"),
        (3, "rolled back to 1"),
    ]
    assert listed[2]["changes"] == ['pair.fips = ["192.0.2.221"]']
    machine.natpair("rollback", "2")
    assert "192.0.2.5" in fips(machine)
    assert "kept generations: 1, 2, 3, 4" in machine.natpair("rollback", "9", ok=(66,)).stderr


def test_what_nobody_confirms_goes_back_by_itself(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    other = variant(machine, ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.5"]'))
    machine.natpair("apply", other, "--confirm", "5")
    assert "192.0.2.5" in fips(machine)
    machine.run("timeout", "20", "sh", "-c", f"while [ -e {paths.UNCONFIRMED} ]; do sleep 0.05; done")
    assert "192.0.2.221" in fips(machine)
    assert "rolls back" not in machine.natpair("apply", str(EXAMPLE.config)).stderr
    assert "there is nothing to confirm" in machine.natpair("confirm", ok=(75,)).stderr
    machine.natpair("apply", other, "--confirm", "5")
    machine.natpair("confirm")
    assert not machine.run("ls", paths.VAR).stdout.count("unconfirmed\n")
    assert "192.0.2.5" in fips(machine)


def test_a_boot_undoes_what_was_cut_off_or_never_confirmed(machine: Scratch) -> None:
    applied_twice(machine)
    machine.write(paths.UNCONFIRMED, '{"back_to": 1, "deadline": 1}')
    assert "back to generation 1" in machine.natpair("prepare").stderr
    assert "192.0.2.221" in fips(machine)


def test_diff_sees_files_kernel_and_keys(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    assert "routing: clients get Network is unreachable" in machine.natpair("diff").stdout
    machine.run("ip", "route", "replace", "default", "via", "203.0.113.1")
    # Without an agent that is the one difference.
    alone = machine.natpair("diff", "--exit-code", ok=(2,)).stdout
    assert alone.splitlines() == [line for line in alone.splitlines() if line.startswith("agent: does not answer")]
    machine.run("ip", "route", "del", "blackhole", "192.0.2.221")
    machine.run("nft", "delete", "table", "inet", "natpair")
    machine.run("sysctl", "-q", "-w", "net.netfilter.nf_conntrack_tcp_be_liberal=0")
    machine.write(paths.ROUTES, "# somebody was here\n")
    changed = variant(machine, ('profile = "balanced"', 'profile = "fast"'))
    said = json.loads(machine.natpair("diff", changed, "--json").stdout)
    assert said["different"]
    assert said["config"] == [{"key": "pair.profile", "before": '"balanced"', "after": '"fast"'}]
    assert paths.ROUTES in said["files"]
    assert "-# somebody was here" in said["diff"]
    assert [wrong["thing"] for wrong in said["machine"]] == [
        "sysctl net/netfilter/nf_conntrack_tcp_be_liberal",
        "blackhole route 192.0.2.221",
        "nftables table inet natpair",
        "agent",
    ]
    machine.run("ip", "route", "del", "default")


def test_live_flows_are_counted_and_asked_about(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    machine.run("ip", "address", "add", "192.168.1.1/24", "dev", "eth1")  # the VIP: this node serves
    entry = ("-s", "192.168.1.9", "-d", "198.51.100.9", "-p", "udp", "--sport", "5", "--dport", "7", "-t", "99")
    machine.run("conntrack", "-I", *entry, "-n", "192.0.2.221")
    other = variant(machine, ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.5"]'))
    planned = json.loads(machine.natpair("apply", other, "--dry-run", "--json").stdout)
    assert [(effect["key"], effect["breaks"]) for effect in planned["effects"]] == [("pair.fips", 1), ("pair.fips", 0)]
    refused = machine.natpair("apply", other, ok=(75,))
    assert "1 live flow would break" in refused.stderr
    assert "--yes" in refused.stderr
    assert "192.0.2.221" in fips(machine)
    machine.natpair("apply", other, "--yes")
    assert "192.0.2.5" in fips(machine)


def test_an_edited_file_is_not_taken_for_the_one_in_force(machine: Scratch) -> None:
    """No applied copy, and the agent runs with something else than gateway.toml says: any flow may break."""
    machine.write(paths.CONFIG, EXAMPLE.config.read_text())
    entry = ("-s", "192.168.1.9", "-d", "198.51.100.9", "-p", "udp", "--sport", "5", "--dport", "7", "-t", "99")
    machine.run("conntrack", "-I", *entry, "-n", "192.0.2.221")
    agent = subprocess.Popen(
        machine.argv([sys.executable, "-c", LISTENER, paths.AGENT_SOCKET, "active"]), stdout=subprocess.PIPE, text=True
    )
    try:
        machine.run("timeout", "10", "sh", "-c", f"until [ -S {paths.AGENT_SOCKET} ]; do sleep 0.05; done")
        refused = machine.natpair("apply", ok=(75,))
    finally:
        agent.kill()
        agent.communicate()
    assert "which configuration is in force cannot be told" in refused.stderr
    assert "1 live flow would break" in refused.stderr
    assert tables(machine) == []


TYPO = ('private_address = "192.168.1.3/24"', 'private_address = "192.168.1.44/24"')


def far_end(machine: Scratch, address: str) -> None:
    """Another machine on the VLAN that has `address`."""
    machine.run("ip", "netns", "add", "far")
    machine.run("ip", "link", "set", "far0", "netns", "far")
    machine.run("ip", "-n", "far", "address", "add", address, "dev", "far0")
    machine.run("ip", "-n", "far", "link", "set", "far0", "up")


def test_an_own_address_that_the_machine_does_not_have_is_refused(machine: Scratch) -> None:
    before = machine.run("ip", "-br", "address").stdout
    for words in (["apply"], ["check"]):
        said = machine.natpair(*words, variant(machine, TYPO), ok=(78,)).stderr
        assert "192.168.1.44 is not on eth1, which has 192.168.1.3" in said
        assert "/run/variant.toml:13: node nat-a: private_address" in said
    assert (tables(machine), machine.run("ip", "-br", "address").stdout) == ([], before)


def test_interfaces_that_are_swapped_are_refused(machine: Scratch) -> None:
    swap = (("eth1", "ethX"), ("eth0", "eth1"), ("ethX", "eth0"))
    for words in (["apply", "--add-address"], ["check"]):
        said = machine.natpair(*words, variant(machine, *swap), ok=(78,)).stderr
        assert "192.168.1.3 is on eth1, not eth0" in said
        assert "203.0.113.3 is on eth0, not eth1" in said
    assert tables(machine) == []


def test_one_that_nobody_has_may_be_added_and_goes_with_its_configuration(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    said = machine.natpair("apply", variant(machine, TYPO), "--node", "nat-a", "--add-address").stderr
    assert "until the next boot" in said
    assert "192.168.1.44/24" in machine.run("ip", "address", "show", "eth1").stdout
    machine.natpair("rollback")
    assert "192.168.1.44/24" not in machine.run("ip", "address", "show", "eth1").stdout


def test_one_that_another_machine_has_is_never_added(machine: Scratch) -> None:
    far_end(machine, "192.168.1.44/24")
    machine.run("sh", "-c", 'until [ -n "$(ip -br link show eth1 up)" ]; do sleep 0.05; done')
    said = machine.natpair("apply", variant(machine, TYPO), "--add-address", ok=(78,)).stderr
    assert "the address is in use: " in said
    assert "192.168.1.44" not in machine.run("ip", "address", "show", "eth1").stdout


def test_diff_names_an_own_address_on_the_wrong_card(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    machine.run("ip", "address", "add", "203.0.113.3/24", "dev", "eth1")
    assert "address 203.0.113.3: on eth1, should be: on eth0 alone" in machine.natpair("diff").stdout


def test_a_machine_that_is_no_node_keeps_nothing_of_a_question(machine: Scratch) -> None:
    machine.natpair("confirm", ok=(75,))
    machine.natpair("rollback", ok=(66,))
    machine.natpair("apply", str(EXAMPLE.config), "--dry-run")
    found = machine.run("find", "/var/lib", "/etc/natpair", "/run/natpair", "-type", "f").stdout
    assert found.split() == [paths.KEY]


def test_what_waits_to_be_confirmed_is_shown_and_no_copy_stays_beside(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    machine.natpair("apply", variant(machine, ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.5"]')), "--confirm", "60")
    assert "not confirmed: rolls back to 1 in " in machine.natpair("generations").stderr
    machine.natpair("confirm")
    assert "not confirmed" not in machine.natpair("generations").stderr
    assert machine.run("find", "/etc", "-name", "*natpair-previous*").stdout == ""


def test_the_way_back_survives_the_end_of_what_started_the_apply(machine: Scratch) -> None:
    """All processes of the session are killed; the agent's look finds the note, and somebody else goes back."""
    machine.natpair("apply", str(EXAMPLE.config))
    machine.natpair("apply", variant(machine, ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.5"]')), "--confirm", "5")
    pids = machine.run("sh", "-c", "pgrep --ns $$ --nslist net -f 'rollbac[k] --when-due'").stdout.split()
    assert pids, "there was a guard to kill"
    machine.run("kill", "-9", *pids)
    machine.python(AGENT_LOOKS)
    assert "192.0.2.221" in fips(machine)


AGENT_LOOKS = """
import asyncio
from natpair.agent.applies import Applies
from natpair.agent.disk import Lane
from natpair.apply import confirm
async def work():
    async with asyncio.timeout(40):
        running = asyncio.create_task(Applies(Lane("var", "/var"), lambda *_, **__: None).run())
        while confirm.read() is not None:
            await asyncio.sleep(0.1)
        running.cancel()
asyncio.run(work())
"""


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (f"rm {paths.KEY}", "the file is missing"),
        (f"chmod 644 {paths.KEY}", "others may read the key: its mode is 0644"),
        (f"echo short > {paths.KEY}", "the key is too short"),
    ],
    ids=["missing", "readable for others", "too short"],
)
def test_a_key_that_is_not_fit_for_use_is_found_before_an_agent_needs_it(
    machine: Scratch, spoil: str, said: str
) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    machine.natpair("check")
    machine.run("sh", "-c", spoil)
    for command in ("check", "apply"):
        assert said in machine.natpair(command, ok=(78,)).stderr


LATE = """
import subprocess
from pathlib import Path
from natpair.core import paths
from natpair.system import sysctl
wanted = sysctl.parse(Path(paths.SYSCTL).read_text() + Path(paths.FORWARDING).read_text())
print(*[a.key for a in sysctl.differing(wanted) if not a.optional], sep="\\n")
"""


def test_a_node_whose_interfaces_come_late_is_prepared_all_the_same(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    for interface in ("eth0", "eth1"):
        machine.run("ip", "link", "delete", interface)
    machine.run("nft", "flush", "ruleset")
    said = machine.natpair("prepare").stderr
    assert "egress guard: the interface does not exist yet" in said
    assert len(tables(machine)) == 2
    for name in ("eth0", "eth1"):
        machine.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
    machine.natpair("prepare")
    assert machine.python(LATE).stdout.split() == [], "once they are there, everything is set"
    assert "bytecode" in machine.run("tc", "filter", "show", "dev", "eth0", "egress").stdout
