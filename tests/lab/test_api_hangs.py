"""A failover never asks Linode: the same drill with an API that answers and with one that hangs."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import natpair
from natpair_lab.drill.kinds import KindName
from natpair_lab.drill.result import RunResult
from natpair_lab.drill.runner import Options, drill
from natpair_lab.testbed.cloudlab import serve_in_background
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(200)]

NAME = f"th{os.getpid()}"
EXAMPLE = Path(natpair.__file__).parents[2] / "examples" / "gateway.toml"
GENEROUS_MS = 3 * 900.0
WATCHED = """
[linode]
api_url = "http://198.51.100.20/v4"
token_file = "/etc/natpair/linode.token"
plain_http = true

[watch]
enabled = true
interval_seconds = 2
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    config = tmp_path / "gateway.toml"
    config.write_text(EXAMPLE.read_text() + WATCHED)
    built = Lab.up(config, name=NAME)
    try:
        serve_in_background(built, 0)
        yield built
    finally:
        built.down()


def control(lab: Lab, method: str, path: str, body: object = None) -> dict[str, list[dict[str, object]]]:
    api = lab.api()
    assert api is not None
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{api.url}/_emulator{path}", data, method=method)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        read: dict[str, list[dict[str, object]]] = json.loads(answer.read())
        return read


def crash() -> RunResult:
    return drill(Options(KindName.CRASH, name=NAME, flows=60), lambda _: None).runs[0]


def test_a_power_cut_while_the_api_hangs_is_like_any_other(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.wait_ready()

    def asked() -> list[dict[str, object]]:
        return control(lab, "GET", "/state")["requests"]

    wait_until(asked, deadline_seconds=20, what="the first question of an agent that watches the account")
    with_answers = crash()
    control(lab, "POST", "/faults", {"kind": "hang", "times": None})
    without = crash()
    with capsys.disabled():
        print(f"\nout for {with_answers.outage_ms:.0f} ms, with a hanging API for {without.outage_ms:.0f} ms")  # noqa: T201
    for run in (with_answers, without):
        assert 0 < run.outage_ms < GENEROUS_MS
        assert run.flows_broken == run.leaked_packets == run.resets == 0
        assert run.address_before == run.address_after
