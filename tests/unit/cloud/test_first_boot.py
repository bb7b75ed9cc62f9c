"""The scripts of a first boot, run by a real shell on a machine made of stubs: DHCP has given it an address that may be
dead, and whatever needs the network fails until the machine has its own address and no other.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from natpair.cloud.network import Uplink, network_files
from natpair.cloud.userdata import INSTALLER, NETWORK_SCRIPT, install_script, network_script
from natpair.probe import machines
from samples import gateway

NODE = gateway().node[0]
OWN = str(NODE.public_address)
ROUTER = str(NODE.public_address.network[1])
FIP = "192.0.2.221/24"
OTHER_FIP = "203.0.113.221/24"

# The machine: `addresses` has what eth0 has, `route` its default route, `calls` what was run and needed the network.
STUBS = {
    "ip": """
case "$*" in
    "-4 -oneline address show dev eth0 scope global") sed 's/^/2: eth0 inet /; s/$/ brd x/' "$M/addresses" ;;
    "address delete "*) grep -v -x -F "$3" "$M/addresses" >"$M/left"; mv "$M/left" "$M/addresses" ;;
    "-4 route show default") cat "$M/route" ;;
    "-6 route show default") echo "default via fe80::1 dev eth0" ;;
    "-6 address show scope global -tentative") echo "2: eth0 inet6 2001:db8::1/64" ;;
    *) echo "ip $*" >>"$M/unknown"; exit 1 ;;
esac
""",
    "systemctl": """
case "$*" in
    "restart systemd-networkd.service")
        # Real networkd may keep what DHCP gave: nothing here takes it away.
        grep -q -x -F OWN "$M/addresses" || echo OWN >>"$M/addresses"
        echo "default via ROUTER dev eth0" >"$M/route" ;;
    *"is-active systemd-resolved") exit 3 ;;
esac
""".replace("OWN", OWN).replace("ROUTER", ROUTER),
    "apt-get": 'echo "apt-get $*" >>"$M/calls"; [ "$(cat "$M/addresses")" = "OWN" ]'.replace("OWN", OWN),
    "curl": """
echo curl >>"$M/calls"; [ "$(cat "$M/addresses")" = "OWN" ] || exit 6
while [ "$1" != --output ]; do shift; done; echo wheel >"$2"
""".replace("OWN", OWN),
    "python3": """
case "$1 $2" in
    "-m venv")
        mkdir -p "$3/bin"
        for n in pip python natpair; do printf '#!/bin/sh\\n' >"$3/bin/$n"; chmod +x "$3/bin/$n"; done ;;
esac
""",
    "natpair": "",
    "sleep": "",
    "ifdown": "",
}


@dataclass(frozen=True)
class Machine:
    root: Path
    environment: dict[str, str]

    def run(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["sh", str(self.root) + script, *words]
        return subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def put(self, path: str, text: str) -> None:
        file = Path(str(self.root) + path)
        file.parent.mkdir(parents=True, exist_ok=True)
        for place in ("/etc/", "/usr/"):
            text = text.replace(place, f"{self.root}{place}")
        file.write_text(text)

    def read(self, name: str) -> str:
        file = self.root / name
        return file.read_text() if file.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    def made(dhcp: str) -> Machine:
        programs = tmp_path / "bin"
        programs.mkdir()
        for name, body in STUBS.items():
            (programs / name).write_text(f"#!/bin/sh\n{body}\n")
            (programs / name).chmod(0o755)
        at = Machine(
            tmp_path, {"PATH": f"{programs}:{os.environ['PATH']}", "M": str(tmp_path), "TMPDIR": str(tmp_path)}
        )
        (tmp_path / "addresses").write_text(f"{dhcp}\n")
        (tmp_path / "route").write_text(f"default via {IPv4Interface(dhcp).network[1]} dev eth0\n")
        for folder in ("bin", "lib"):
            (tmp_path / "usr" / folder).mkdir(parents=True)
        at.put("/etc/network/interfaces", "auto eth0\n")
        at.put("/etc/resolv.conf", "nameserver 192.0.2.1\n")
        for seed in network_files(NODE, Uplink(IPv4Address(ROUTER), (IPv4Address("192.0.2.10"),))):
            at.put(seed.path, seed.text)
        at.put(NETWORK_SCRIPT, network_script())
        return at

    return made


SCRIPTS = pytest.mark.parametrize("script", [install_script(), machines.INSTALL], ids=["node", "probe"])
WORDS = ("nat-a", "https://files.example.org/natpair-0.1.0-py3-none-any.whl")


@SCRIPTS
@pytest.mark.parametrize("dhcp", [OWN, FIP, OTHER_FIP], ids=["own address", "FIP", "FIP of the same network"])
def test_nothing_needs_the_network_before_it_is_there(
    machine: Callable[[str], Machine], script: str, dhcp: str
) -> None:
    at = machine(dhcp)
    at.put(INSTALLER, script)
    done = at.run(INSTALLER, *WORDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert at.read("unknown") == ""
    assert at.read("addresses").split() == [OWN]
    calls = at.read("calls").splitlines()
    assert calls
    assert len(calls) == len(set(calls)), "a call that needs the network failed and was repeated"
    assert "192.0.2.10" in at.read("etc/resolv.conf")
    again = at.run(INSTALLER, *WORDS)
    assert again.returncode == 0, again.stdout + again.stderr


@SCRIPTS
def test_the_check_sees_a_script_that_trusts_dhcp(machine: Callable[[str], Machine], script: str) -> None:
    at = machine(FIP)
    lines = [line for line in script.splitlines() if "network.sh" not in line or line.startswith("#")]
    assert len(lines) == len(script.splitlines()) - 1
    at.put(INSTALLER, "\n".join(lines) + "\n")
    assert at.run(INSTALLER, *WORDS).returncode != 0


def test_a_network_that_does_not_come_up_is_said(machine: Callable[[str], Machine]) -> None:
    at = machine(FIP)
    (at.root / "bin" / "systemctl").write_text("#!/bin/sh\n")
    at.put(INSTALLER, install_script())
    done = at.run(INSTALLER, *WORDS)
    assert done.returncode == 1
    assert "the public network does not come up" in done.stdout
    assert at.read("calls") == ""
