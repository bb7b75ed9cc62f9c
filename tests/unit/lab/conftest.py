"""A gateway to build labs from, and supervisors with small services of a test's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from ipaddress import IPv4Address
from pathlib import Path

import pytest

import natpair
from natpair.config.load import load
from natpair.core.model import Gateway
from natpair_lab.testbed import host, init
from natpair_lab.testbed.init import Unit
from natpair_lab.testbed.spawn import Spec
from natpair_lab.testbed.wait import wait_until

EXAMPLE = Path(natpair.__file__).parents[2] / "examples" / "gateway.toml"
FIP = IPv4Address("192.0.2.221")


@pytest.fixture
def gateway() -> Gateway:
    return load(EXAMPLE)


class Supervised:
    """One supervisor in namespaces of its own, without any network of a lab."""

    def __init__(self, folder: Path, ref: host.InitRef) -> None:
        self.folder = folder
        self.ref = ref

    def ask(self, **request: str) -> dict[str, object]:
        return host.control(self.ref, request)

    def service(self, name: str) -> dict[str, object]:
        services = self.ask(op="list")["services"]
        assert isinstance(services, list)
        return next(s for s in services if s["name"] == name)

    def boot(self) -> str:
        return str(self.ask(op="list")["boot"])

    def log(self, name: str) -> str:
        return (self.folder / "log" / f"{name}.log").read_text()

    def eventually(self, condition: Callable[[], object], what: str, seconds: float = 10) -> None:
        wait_until(lambda: bool(condition()) or None, deadline_seconds=seconds, what=what)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[host.InitRef] = []
    holders: list[subprocess.Popen[bytes]] = []

    def start(*units: Unit) -> Supervised:
        (tmp_path / "log").mkdir()
        # A network namespace needs a holder only until the supervisor is in it.
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo in; exec sleep 60"], stdout=subprocess.PIPE)
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"
        spec = Spec(
            name="testhost",
            netns=f"/proc/{holder.pid}/ns/net",
            record=str(tmp_path / "record"),
            log_folder=str(tmp_path / "log"),
            binds=(),
            keep=(str(tmp_path), sys.prefix, sys.base_prefix, str(Path(natpair.__file__).parent)),
            sysctls=(),
            ip_lines=(),
            init={"units": [asdict(unit) for unit in units], "environment": {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}},
        )
        assert host.finish_spawn("testhost", host.start_spawn(spec)) == ""
        ref = host.read_record(tmp_path / "record")
        assert ref is not None
        started.append(ref)
        wait_until(
            lambda: ref.path(init.SOCKET).exists() or None, deadline_seconds=10, what="the start of a supervisor"
        )
        return Supervised(tmp_path, ref)

    yield start
    for ref in started:
        host.end(ref)
    for holder in holders:
        holder.kill()
        holder.communicate()
