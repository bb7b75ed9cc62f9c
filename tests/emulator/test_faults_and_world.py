"""Over the wire: faults on demand, and a World that makes Linodes real."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from emulator.accounts import IMAGE, LINODE
from emulator.served import Served, quick_api, served
from natpair.errors import LabError
from natpair_lab.emulator.doors import Doors
from natpair_lab.emulator.world import LinodeView, NoWorld, Share

CREATE = "/v4/linode/instances"


def count(api: Served) -> int:
    return len(api.ask("GET", "/_emulator/state")[1]["linodes"])


@pytest.mark.parametrize(
    ("fault", "status", "done"),
    [
        ({"kind": "status"}, 500, 0),
        ({"kind": "status", "status": 503}, 503, 0),
        ({"kind": "status-after", "status": 502}, 502, 1),
        ({"kind": "rate-limit"}, 429, 0),
        ({"kind": "scope"}, 401, 0),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else str(value),
)
def test_a_fault_with_an_answer(api: Served, fault: dict[str, object], status: int, done: int) -> None:
    api.fault(**fault, method="POST", path="/linode/*")
    answered, document, headers = api.ask("POST", CREATE, LINODE)
    assert answered == status
    assert document["errors"][0]["reason"]
    assert "Retry-After" not in headers
    assert count(api) == done
    assert api.ask("POST", CREATE, LINODE)[0] == 200, "once is the default"


@pytest.mark.parametrize(("kind", "done"), [("refuse", 0), ("lost", 1), ("half", 1)])
def test_a_fault_without_an_answer(api: Served, kind: str, done: int) -> None:
    api.fault(kind=kind, method="POST")
    with pytest.raises((http.client.HTTPException, urllib.error.URLError, ConnectionError)):
        api.ask("POST", CREATE, LINODE)
    assert count(api) == done


def test_hanging_ends_with_the_client_and_with_the_emulator(api: Served) -> None:
    api.fault(kind="hang", times=None)
    with pytest.raises(TimeoutError):
        api.ask("GET", "/v4/regions", timeout=0.2)
    assert api.ask("DELETE", "/_emulator/faults")[1] == {"faults": []}
    assert api.ask("GET", "/v4/regions")[0] == 200


def test_slow_is_late_and_right(api: Served) -> None:
    api.fault(kind="slow", seconds=0.3)
    begun = time.monotonic()
    assert api.ask("GET", "/v4/regions")[0] == 200
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(("kind", "type_", "least"), [("html", "text/html", 100), ("huge", "application/json", 10**7)])
def test_an_answer_that_is_none(api: Served, kind: str, type_: str, least: int) -> None:
    api.fault(kind=kind)
    asked = urllib.request.Request(f"{api.url}/v4/regions", headers={"Authorization": "Bearer canary"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 - loopback
        body = answer.read()
    assert (answer.status, answer.headers.get_content_type()) == (200, type_)
    assert len(body) > least
    assert (b"canary" in body) == (kind == "html"), "a page shows the token, so that it can be looked for in logs"
    assert api.ask("GET", "/v4/regions")[0] == 200


def test_who_asked_and_who_waits(api: Served) -> None:
    assert api.ask("GET", "/v4/regions")[0] == 200
    api.fault(kind="hang")
    here = "127.0.0.1"
    with socket.create_connection(api.host.split(":")) as link:  # type: ignore[arg-type] # a port may be a text
        link.sendall(b"GET /v4/regions HTTP/1.1\r\nHost: x\r\n\r\n")
        deadline = time.monotonic() + 5
        while (state := api.ask("GET", "/_emulator/state")[1])["waiting"] != [here]:
            assert time.monotonic() < deadline
    assert state["asked"] == {here: 2}


def test_faults_can_wait_repeat_and_be_picky(api: Served) -> None:
    api.fault(kind="status", path="/regions", skip=1, times=2, retry_after="Thu, 01 Jan 1970 00:00:00 GMT")
    assert api.ask("GET", "/v4/linode/types")[0] == 200
    answers = [api.ask("GET", "/v4/regions") for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 500, 500, 200]
    assert answers[1][2]["Retry-After"].startswith("Thu")


@pytest.mark.parametrize(
    "wrong", [{}, {"kind": "flood"}, {"kind": "slow", "seconds": -1}, {"kind": "hang", "times": "x"}]
)
def test_a_fault_must_make_sense(api: Served, wrong: dict[str, object]) -> None:
    assert api.ask("POST", "/_emulator/faults", wrong)[0] == 400
    assert api.ask("GET", "/_emulator/faults")[1] == {"faults": []}


def test_the_control_endpoint_is_not_linodes(api: Served) -> None:
    assert api.ask("GET", "/v4/_emulator/state")[0] == 404
    assert api.ask("GET", "/_emulator/nothing")[0] == 404
    assert api.ask("GET", "/")[0] == 404
    assert api.ask("GET", "/v4beta/regions")[0] == 200
    assert api.ask("POST", "/_emulator/maintenance", {"linode_id": 1})[0] == 400


def test_tokens_and_hosts_by_the_control_endpoint(api: Served) -> None:
    api.ask("POST", "/_emulator/tokens", {"token": "any", "scopes": ["events:read_only"]})
    assert api.ask("GET", CREATE)[0] == 401
    api.ask("POST", "/_emulator/tokens", {"token": "any", "scopes": None})
    assert api.ask("GET", "/v4/account/events")[1] == {"errors": [{"reason": "Invalid Token"}]}
    api.ask("POST", "/_emulator/tokens", {"token": "any"})
    first, second = (api.ask("POST", CREATE, LINODE)[1] for _ in range(2))
    api.ask("POST", "/_emulator/migrate", {"linode_id": second["id"], "beside": first["id"]})
    assert api.ask("GET", f"{CREATE}/{second['id']}")[1]["host_uuid"] == first["host_uuid"]


def test_bodies_that_are_no_objects(api: Served) -> None:
    connection = http.client.HTTPConnection(api.host, timeout=5)
    for body in (b"{", b"[]", b"1", b"\xff", b"[" * 100_000):
        connection.request("POST", CREATE, body, {"Authorization": "Bearer any"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 400
    connection.close()


@dataclass
class Machines(NoWorld):
    """Writes down what it is told; a boot waits until it is let go, or fails."""

    told: list[str] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    fail: bool = False

    def linode_created(self, linode: LinodeView) -> None:
        self.told.append(f"created {linode.label}")

    def linode_deleted(self, linode_id: int) -> None:
        self.told.append("deleted")

    def booted(self, linode: LinodeView) -> None:
        assert self.go.wait(10)
        if self.fail:
            raise LabError("no room for another node")
        self.told.append(f"booted {linode.label}")

    def shut_down(self, linode_id: int) -> None:
        self.told.append("shut down")

    def shares_changed(self, shares: tuple[Share, ...]) -> None:
        self.told.append(f"{len(shares)} shares")


def test_a_world_is_told_in_order_and_waited_for(wait_until: Callable[..., None]) -> None:
    world = Machines()
    with served(quick_api(), world) as api:
        made = api.ask("POST", CREATE, LINODE | IMAGE | {"label": "nat-a"})[1]

        def status() -> str:
            return str(api.ask("GET", f"{CREATE}/{made['id']}")[1]["status"])

        wait_until(lambda: status() == "booting")
        other = api.ask("POST", CREATE, LINODE)[1]
        body = {"linode_id": other["id"], "ips": made["ipv4"]}
        assert api.ask("POST", "/v4/networking/ips/share", body)[0] == 200
        assert status() == "booting"
        world.go.set()
        wait_until(lambda: status() == "running")
        wait_until(lambda: world.told[-1] == "1 shares")
        assert api.ask("DELETE", f"{CREATE}/{made['id']}")[0] == 200
        wait_until(lambda: world.told[-1] == "deleted")
    assert world.told[0] == "created nat-a"
    assert world.told[1] == "booted nat-a"
    assert world.told[-2:] == ["0 shares", "deleted"]


def test_a_world_that_cannot_boot_fails_the_event(wait_until: Callable[..., None]) -> None:
    world = Machines(fail=True)
    world.go.set()
    with served(quick_api(), world) as api:
        made = api.ask("POST", CREATE, LINODE | IMAGE)[1]
        wait_until(lambda: api.ask("GET", f"{CREATE}/{made['id']}")[1]["status"] == "offline")
        events = api.ask("GET", "/v4/account/events")[1]["data"]
        assert [(one["status"], one["message"]) for one in events if one["action"] == "linode_boot"] == [
            ("failed", "no room for another node")
        ]


def test_a_further_door_opens_and_closes(api: Served) -> None:
    doors, opened, over = Doors(), threading.Event(), threading.Event()

    async def keep() -> None:
        async with doors.of(api.emulator):
            opened.set()
            await asyncio.to_thread(over.wait, 10)

    thread = threading.Thread(target=lambda: asyncio.run(keep()))
    thread.start()
    assert opened.wait(5)
    try:
        for _ in range(2):
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            doors.open(listener)
            held = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            held.request("GET", "/v4/regions")
            assert held.getresponse().read()
            doors.close()
            assert held.sock is not None
            assert held.sock.recv(1) == b"", "its connections end with it"
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)
    finally:
        over.set()
        thread.join(10)
    doors.close()
    late = socket.create_server(("127.0.0.1", 0))
    doors.open(late)
    assert late.fileno() == -1, "nobody serves it, nobody keeps it"
