"""Agents that watch an account, in a lab with the real daemons: a share taken away, maintenance of the active node."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lab import account_server
from lab.account_server import FIP, THEIRS
from natpair_lab.drill.analysis import packets_lost
from natpair_lab.drill.traffic import Traffic
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab
from samples import text_with

pytestmark = [pytest.mark.lab, pytest.mark.alone]

Found = TypeVar("Found")

PORT = 8080
TOKEN = "canary91b7de205c"  # noqa: S105 - nobody's
ASK = """
import json, sys, urllib.request
method, url, body = sys.argv[1:]
headers = {"Authorization": "Bearer any", "Content-Type": "application/json"}
with urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers, method=method), timeout=5) as answer:
    print(answer.read().decode())
"""


@dataclass(frozen=True)
class Watched:
    lab: Lab
    url: str
    linodes: dict[str, int]

    def ask(self, method: str, path: str, /, **body: Any) -> Any:
        argv = [sys.executable, "-I", "-S", "-c", ASK, method, self.url + path, json.dumps(body)]
        return json.loads(self.lab.exec("internet", argv).stdout)

    def share(self, node: str, *addresses: object) -> None:
        ips = [str(address) for address in addresses]
        self.ask("POST", "/v4/networking/ips/share", linode_id=self.linodes[node], ips=ips)

    def shared(self, node: str) -> set[str]:
        shares = self.ask("GET", "/_emulator/state")["shares"]
        return set(shares.get(str(self.linodes[node]), ()))

    def conditions(self, node: str) -> dict[str, str]:
        status = self.lab.status(node)
        return {one.code: one.text for one in status.conditions} if status else {}

    def events(self, node: str) -> list[dict[str, Any]]:
        text = self.lab.exec(node, ["cat", "/var/lib/natpair/events.jsonl"]).stdout
        return [json.loads(line) for line in text.splitlines()]

    def wait(self, what: str, condition: Callable[[], Found], seconds: float = 20) -> Found:
        return wait_until(condition, deadline_seconds=seconds, what=what, diagnose=self.lab.diagnose)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    address = "198.51.100.10"
    config = tmp_path_factory.mktemp("watch") / "gateway.toml"
    api = f'[linode]\napi_url = "http://{address}:{PORT}/v4"\nplain_http = true\ntoken_file = "/etc/natpair/token"\n'
    watch = "[watch]\nenabled = true\ninterval_seconds = 2\nmaintenance_lead_seconds = 600\nrepair_shares = true\n"
    config.write_text(text_with(extra=f"\n{api}\n{watch}"))
    lab = Lab.up(config, name=f"watch{os.getpid()}")
    server = None
    try:
        assert str(lab.topology.internet[0].ip) == address
        argv = [sys.executable, account_server.__file__, address, str(PORT)]
        server = lab.popen("internet", argv, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        made = Watched(lab, f"http://{address}:{PORT}", json.loads(server.stdout.readline()))
        lab.wait_ready()
        yield made
    finally:
        if server is not None:
            server.kill()
            server.communicate()
        lab.down()


def put_token(lab: Lab) -> None:
    for node in lab.nodes:
        lab.exec(node, ["sh", "-c", "umask 077; cat > /etc/natpair/token"], stdin=TOKEN)


def test_an_operator_watches_without_a_token_on_the_nodes(watched: Watched, tmp_path: Path) -> None:
    """`natpair cloud watch` where the API is reached, with `natpair lab exec` in the place of ssh."""
    lab = watched.lab
    for node in lab.nodes:
        lab.exec(node, ["rm", "-f", "/etc/natpair/token"])
    for node in lab.nodes:  # A look that began with the token would still repair the share.
        watched.wait(f"{node} to miss its token", lambda node=node: misses_token(watched, node), 40)
    active, standby = lab.wait_ready()
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    config = tmp_path / "gateway.toml"
    config.write_text((lab.folder / "gateway.toml").read_text().replace("/etc/natpair/token", f"{tmp_path}/token"))
    watched.share("nat-b", THEIRS)
    watched.ask("POST", "/_emulator/maintenance", linode_id=watched.linodes[active], when=300)
    natpair = (sys.executable, "-m", "natpair")
    ssh = shlex.join([*natpair, "lab", "exec", "--name", lab.name, "{node}", "--"])
    watch = [*natpair, "cloud", "watch", str(config), "--once", "--json", "--repair-shares", "--switch-over"]
    inside = ["ip", "netns", "exec", f"np-{lab.name}-internet", *watch, "--ssh", ssh]
    done = subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False)
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    expected = ["share-missing", "maintenance-ahead", "share-repaired", "share-missing-over", "switchover"]
    assert (done.returncode, events) == (2, expected), done.stderr
    assert watched.shared("nat-b") == {str(FIP), str(THEIRS)}
    assert lab.wait_ready() == (standby, active)
    again = subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False)
    assert "switchover" not in again.stdout, "the work is on the standby now"
    watched.ask("DELETE", "/_emulator/maintenance")


def test_without_the_token_the_account_is_unreadable_and_the_pair_serves(watched: Watched) -> None:
    active, _ = watched.lab.wait_ready()
    told = watched.wait("the condition", lambda: watched.conditions(active).get("account-unreadable"))
    assert told is not None
    assert "/etc/natpair/token" in told
    put_token(watched.lab)
    for node in watched.lab.nodes:
        watched.wait(
            f"{node} to see the account",
            lambda node=node: seen(watched, node) and "account-unreadable" not in watched.conditions(node),
        )


def misses_token(watched: Watched, node: str) -> bool:
    return "/etc/natpair/token" in watched.conditions(node).get("account-unreadable", "")


def seen(watched: Watched, node: str) -> bool:
    status = watched.lab.status(node)
    return status is not None and status.account is not None and status.account.seen_ms is not None


def test_a_share_taken_away_is_named_and_given_back_and_other_peoples_stay(watched: Watched) -> None:
    put_token(watched.lab)
    active, standby = watched.lab.wait_ready()
    watched.ask(
        "POST", "/_emulator/faults", kind="scope", method="POST", path="/networking/ips/share", skip=1, times=None
    )
    began = time.monotonic()
    watched.share("nat-b", THEIRS)
    for node in (active, standby):
        told = watched.wait(f"{node} to name it", lambda node=node: watched.conditions(node).get("share-missing"))
        assert told is not None
        assert f"{FIP} is not shared to nat-b" in told
    assert time.monotonic() - began < 60
    assert watched.wait("the refused repair", lambda: "not repaired" in watched.conditions(active)["share-missing"])
    watched.ask("DELETE", "/_emulator/faults")
    watched.wait("the share", lambda: watched.shared("nat-b") == {str(FIP), str(THEIRS)})
    watched.wait("the condition to go", lambda: "share-missing" not in watched.conditions(active))
    assert [e["shares"] for e in watched.events(active) if e["event"] == "share-repaired"] == [[f"{FIP} to nat-b"]]
    assert not [e for e in watched.events(standby) if e["event"].startswith("share-")], "one node repairs"


def test_before_maintenance_of_the_active_the_role_moves_and_nothing_is_lost(watched: Watched) -> None:
    put_token(watched.lab)
    active, standby = watched.lab.wait_ready()
    servers = [str(one.ip) for one in watched.lab.topology.internet]
    with Traffic(watched.lab.popen, servers, 20) as traffic:
        traffic.wait_open()
        watched.ask(
            "POST", "/_emulator/maintenance", linode_id=watched.linodes[active], type="live_migration", when=300
        )
        watched.wait("the role to move", lambda: (s := watched.lab.status(standby)) is not None and s.change_complete)
        assert traffic.wait_echoed_after(time.monotonic_ns(), 5)
        record = traffic.finish()
    assert packets_lost(record.udp) == 0
    assert [flow for flow in (*record.flows, *record.connections) if flow.error or flow.connect_error] == []
    (moved,) = [e for e in watched.events(active) if e["event"] == "transition" and e["after"] == "handing-over"]
    assert "maintenance (live_migration)" in moved["cause"]
    watched.wait("the condition", lambda: "maintenance-ahead" in watched.conditions(standby))
    told = watched.conditions(standby)["maintenance-ahead"]
    assert f"{active}: maintenance (live_migration)" in told
    # The other one's turn comes later, and its peer's is not over: the role stays where it is.
    watched.ask("POST", "/_emulator/maintenance", linode_id=watched.linodes[standby], when=500)
    watched.wait("the reason", lambda: "has work no later" in watched.conditions(standby)["maintenance-ahead"])
    assert watched.lab.wait_ready() == (standby, active)
    (note,) = [e["text"] for e in watched.events(standby) if e["event"] == "note"]
    assert f"{active} has work no later" in note
