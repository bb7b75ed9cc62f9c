"""`natpair apply` on a throw-away machine: the kernel and the real daemons are told, and told again on the way back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from golden.cases import CASES
from judges.scratch import Scratch, scratch_node
from natpair.core import paths

pytestmark = pytest.mark.root

EXAMPLE = CASES[0]
MUTE = """
import socket, sys, time
line = socket.socket(socket.AF_UNIX); line.bind(sys.argv[1]); line.listen()
print("up", flush=True); time.sleep(60)
"""


@pytest.fixture
def machine() -> Iterator[Scratch]:
    with scratch_node(EXAMPLE.gateway().node[0]) as scratch:
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


def test_bird_is_told(machine: Scratch) -> None:
    machine.natpair("apply", str(EXAMPLE.config))
    with bird(machine):
        assert bird_protocols(machine) == ["rs1", "rs2", "rs3", "rs4"]
        machine.natpair("apply", variant(machine, ('region = "us-ord"', 'route_servers = ["2001:db8:9::1"]')))
        assert bird_protocols(machine) == ["rs1"]


def test_a_refusal_after_the_rename_brings_everything_back(machine: Scratch) -> None:
    """The running BIRD refuses: its role file, which the judge does not see, has been damaged."""
    machine.natpair("apply", str(EXAMPLE.config))
    kept = machine.run("cat", paths.BIRD_CONF).stdout
    with bird(machine):
        machine.write(paths.BIRD_ROLE, "define COMM = nonsense;\n")
        more = variant(machine, ("us-ord", "us-sea"), ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.5"]'))
        failed = machine.natpair("apply", more, ok=(69,))
    assert "bird refused its file" in failed.stderr
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
    mute = subprocess.Popen(
        machine.argv([sys.executable, "-c", MUTE, paths.BIRD_CTL]), stdout=subprocess.PIPE, text=True
    )
    assert mute.stdout is not None
    try:
        assert mute.stdout.readline() == "up\n"
        running = subprocess.Popen(
            machine.argv([sys.executable, "-m", "natpair", "apply", changed]), stderr=subprocess.PIPE
        )
        machine.run("timeout", "20", "sh", "-c", f"until grep -q 'hold time 3' {paths.BIRD_CONF}; do sleep 0.05; done")
        machine.run("rm", paths.BIRD_CTL)  # so that the way back is not held up as well
        running.send_signal(number)
        running.communicate(timeout=30)
    finally:
        mute.kill()
        mute.communicate()
    left = json.loads(machine.natpair("apply", str(EXAMPLE.config), "--json").stdout)
    assert left["changed"] == []
    assert "hold time 6" in machine.run("cat", paths.BIRD_CONF).stdout


def test_a_machine_without_the_interfaces_is_told_which_it_has(machine: Scratch) -> None:
    failed = machine.natpair("apply", variant(machine, ("eth1", "eth9")), "--node", "nat-a", ok=(78,))
    assert "node[0].private_interface = eth9" in failed.stderr
    assert "eth0, eth1" in failed.stderr


LISTENER = """
import http.server, json, os, signal, socket, socketserver, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"config_hash": "0" * 16}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
    def address_string(self): return "local"
print("up", flush=True)
socketserver.UnixStreamServer(sys.argv[1], Answer).serve_forever()
"""


def test_an_agent_with_another_configuration_is_asked_to_start_anew(machine: Scratch) -> None:
    agent = subprocess.Popen(
        machine.argv([sys.executable, "-c", LISTENER, paths.AGENT_SOCKET]), stdout=subprocess.PIPE, text=True
    )
    try:
        machine.run("timeout", "10", "sh", "-c", f"until [ -S {paths.AGENT_SOCKET} ]; do sleep 0.05; done")
        said = machine.natpair("apply", str(EXAMPLE.config)).stderr
        assert "it is restarted" in said
        assert agent.wait(timeout=10) == -signal.SIGTERM
    finally:
        agent.kill()
        agent.communicate()
