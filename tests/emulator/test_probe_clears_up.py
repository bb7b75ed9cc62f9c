"""`natpair cloud probe` against an account on paper: whatever ends it, the account is afterwards as it was.

Its Linodes have documentation addresses where nobody answers: each probe gets as far as waiting for its machines.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulator.served import Served, served
from natpair.probe.record import Record, records
from natpair_lab.testbed.wait import wait_until

pytestmark = [pytest.mark.needs("ssh-keygen"), pytest.mark.timeout(90)]

REGION = "us-ord"


@dataclass
class Account:
    """An account with somebody else's Linode in it, and probes against it."""

    api: Served
    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "natpair" / "probe"

    @contextmanager
    def start(self, *more: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "natpair", "cloud", "probe", "--api-url", f"{self.api.url}/v4", *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "talk").open("w"),
            text=True,
            cwd=self.folder,
            env={**os.environ, "XDG_STATE_HOME": str(self.folder), "LINODE_TOKEN": "not-a-word-of-any-answer"},
            preexec_fn=hear_interrupts,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def probe(self, *more: str) -> AbstractContextManager[subprocess.Popen[str]]:
        return self.start("--region", REGION, "--yes", "--report", "report.json", *more)

    def clean_up(self) -> int:
        with self.start("--clean-up", "--yes") as process:
            return process.wait(60)

    def talk(self) -> str:
        return (self.folder / "talk").read_text()

    def linodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.ask("GET", "/v4/linode/instances")[1]["data"]
        return found

    def wait_for_machines(self) -> None:
        wait_until(lambda: "waiting for both machines" in self.talk(), deadline_seconds=60, what="the first boot")

    def assert_as_it_was(self) -> None:
        assert [one["label"] for one in self.linodes()] == ["theirs"]
        assert self.api.ask("GET", "/v4/networking/vlans")[1]["data"] == []
        assert not list(self.base.glob("*")), "a record or a key is left"


def hear_interrupts() -> None:
    """A child of a background job is deaf to SIGINT unless told otherwise."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with served() as api:
        body = {"label": "theirs", "region": REGION, "type": "g6-nanode-1", "tags": ["natpair-probe"]}
        assert api.ask("POST", "/v4/linode/instances", body)[0] == 200
        yield Account(api, tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_waiting(account: Account, number: signal.Signals, code: int) -> None:
    account.api.fault(kind="lost", method="POST", path="/linode/instances")  # the answer to the first create
    with account.probe() as process:
        account.wait_for_machines()
        mine = [one for one in account.linodes() if one["label"] != "theirs"]
        stamp = mine[0]["tags"][1].removeprefix("natpair-probe-")
        assert [one["label"] for one in mine] == [f"natpair-probe-{stamp}-a", f"natpair-probe-{stamp}-b"]
        assert {one["status"] for one in mine} == {"running"}
        process.send_signal(number)
        assert process.wait(60) == code, account.talk()
    account.assert_as_it_was()
    report = json.loads((account.folder / "report.json").read_text())
    assert report["left_behind"] == []
    assert all(fact["not_measured"] for fact in report["facts"].values())


def test_a_probe_that_runs_is_left_alone(account: Account) -> None:
    record = Record.begin(account.base, f"{account.api.url}/v4", REGION, "now")
    assert account.clean_up() == 0
    assert "There is no record" in account.talk()
    assert record.folder.is_dir()
    record.release()
    assert account.clean_up() == 0
    account.assert_as_it_was()


def test_killed_at_any_moment_the_next_one_clears_up(account: Account) -> None:
    moments = random.Random(3)  # noqa: S311 - no secret
    for _ in range(3):
        with account.probe() as process:
            wait_until(lambda: "creating" in account.talk(), deadline_seconds=60, what="the first create")
            time.sleep(moments.uniform(0.0, 0.8))
            process.kill()
        assert list(account.base.iterdir()), "no record was there before the first create"
        assert account.clean_up() == 0, account.talk()
        account.assert_as_it_was()


def test_a_failure_half_way_removes_what_is_there(account: Account) -> None:
    account.api.fault(kind="status", status=403, method="POST", path="/linode/instances/*/boot")
    with account.probe() as process:
        assert process.wait(60) == 77, account.talk()
    assert "deleting natpair-probe" in account.talk()
    assert json.loads((account.folder / "report.json").read_text())["ended"].startswith("failed: boot a Linode")
    account.assert_as_it_was()


def test_nothing_is_made_without_a_yes_or_where_it_cannot_be(account: Account) -> None:
    with account.start("--region", REGION) as process:
        assert process.wait(60) == 130
    assert "$0.0075 per hour each" in account.talk()  # the price stands before the question
    with account.start("--region", "mars-1", "--yes") as process:
        assert process.wait(60) == 77
    assert "mars-1 is not a region" in account.talk()
    with account.start("--region", "de-fra-2", "--yes") as process:
        assert process.wait(60) == 77
    assert "route servers of de-fra-2 are not published" in account.talk()
    account.assert_as_it_was()


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = Record.begin(tmp_path, "http://x/v4", REGION, "now")
    record.linodes.append(7)
    record.write()
    assert (tmp_path / record.stamp).stat().st_mode & 0o777 == 0o700
    (again,) = records(tmp_path)
    assert (again.stamp, again.linodes, again.tag) == (record.stamp, [7], f"natpair-probe-{record.stamp}")
    assert not again.lock(), "two processes hold one record"
    record.forget()
    assert not list(records(tmp_path))
