"""The probe's ways to a machine keep one contract: this machine and a real sshd; the lab's is in tests/lab."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.channels import keeps_the_contract, program, serving
from natpair.errors import CommandFailed
from natpair.probe.channel import Here
from natpair.probe.ssh import CUT, KEY, SshChannel, make_key

pytestmark = pytest.mark.root


@dataclass(frozen=True)
class Reached:
    channel: SshChannel
    folder: Path
    port: int
    sshd: tuple[str, dict[str, str]]
    public_key: str


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    base = tmp_path_factory.mktemp("ssh")
    sshd = program(tmp_path_factory.mktemp("deb"))
    folder = base / "probe"
    folder.mkdir(mode=0o700)
    public_key = make_key(folder)
    with serving(base / "server", sshd, public_key) as server:
        channel = SshChannel("probe-a", "127.0.0.1", folder, port=server.port)
        yield Reached(channel, folder, server.port, sshd, public_key)
        asyncio.run(channel.forget())


def test_this_machine_keeps_the_contract(tmp_path: Path) -> None:
    asyncio.run(keeps_the_contract(Here(), str(tmp_path / "files")))


def test_ssh_keeps_the_contract(reached: Reached, tmp_path: Path) -> None:
    asyncio.run(keeps_the_contract(reached.channel, str(tmp_path / "files")))


def test_the_key_is_its_owners_and_the_host_is_recorded(reached: Reached) -> None:
    asyncio.run(reached.channel.run(["true"]))
    assert (reached.folder / KEY).stat().st_mode & 0o777 == 0o600
    assert f"[127.0.0.1]:{reached.port}" in (reached.folder / "known_hosts").read_text()


def test_another_key_is_refused(reached: Reached, tmp_path: Path) -> None:
    make_key(tmp_path)
    stranger = SshChannel("probe-a", "127.0.0.1", tmp_path, port=reached.port)
    with pytest.raises(CommandFailed, match=r"probe-a: .*[Pp]ermission denied") as failed:
        asyncio.run(stranger.run(["true"]))
    assert failed.value.argv[0] == "ssh"


def test_a_host_that_changed_its_key_is_refused(reached: Reached, tmp_path: Path) -> None:
    make_key(tmp_path)
    mine = (tmp_path / f"{KEY}.pub").read_text().strip()
    channel = None
    with serving(tmp_path / "first", reached.sshd, mine) as server:
        channel = SshChannel("probe-a", "127.0.0.1", tmp_path, port=server.port)
        asyncio.run(channel.run(["true"]))
        asyncio.run(channel.forget())
    with (
        serving(tmp_path / "second", reached.sshd, mine, port=server.port),
        pytest.raises(CommandFailed, match=r"(?i)host key verification failed|identification has changed"),
    ):
        asyncio.run(channel.run(["true"]))


def test_nobody_there_is_said(tmp_path: Path) -> None:
    make_key(tmp_path)
    with pytest.raises(CommandFailed, match=r"probe-b: .*refused"):
        asyncio.run(SshChannel("probe-b", "127.0.0.1", tmp_path, port=1).run(["true"]))


def test_only_a_probes_machine_can_lose_its_power() -> None:
    # The guard alone, never what follows it: this machine is nobody's to switch off.
    guard = CUT.splitlines()[0]
    assert guard.endswith("|| exit 3")
    assert "sysrq" not in guard
    done = subprocess.run(["sh", "-c", f"{guard}\necho would cut"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")


def test_the_script_of_a_power_cut_is_good_shell() -> None:
    script = CUT.format(public="eth0", private="eth1")
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0
