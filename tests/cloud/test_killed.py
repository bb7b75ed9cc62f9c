"""kill -9 of `natpair cloud apply` at twenty moments all over its run: the next one always ends at the same pair."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cloud.accounts import LEGACY, TEXT, shape
from emulator.served import Served, quick_api, served
from natpair.config.load import load
from natpair_lab.emulator.state import Timing

TESTS = Path(__file__).parents[1]
MOMENTS = 20
SOON = Timing(provision_seconds=0.01, boot_seconds=0.01, shutdown_seconds=0.01)


class Natpair:
    """Runs command lines one after another, each in a process of its own."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(TESTS), "LINODE_TOKEN": "any"}
        argv = [sys.executable, "-m", "cloud.forks"]
        self._server = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def start(self, *argv: str) -> int:
        assert self._server.stdin is not None
        print(json.dumps(argv), file=self._server.stdin, flush=True)
        return int(self._line())

    def ended(self) -> int:
        return int(self._line())

    def run(self, *argv: str) -> int:
        self.start(*argv)
        return self.ended()

    def _line(self) -> str:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, "the process that starts natpair has ended"
        return line

    def close(self) -> None:
        self._server.communicate(timeout=20)


@pytest.fixture(scope="module")
def natpair() -> Iterator[Natpair]:
    runner = Natpair()
    yield runner
    runner.close()


def account(api: Served, folder: Path, text: str) -> Path:
    file = folder / "gateway.toml"
    file.write_text(text + f'\n[linode]\napi_url = "{api.url}/v4"\n')
    return file


def outcome(api: Served, file: Path) -> tuple[object, str]:
    stamp = load(file).cloud.stamp or ""
    bare = re.sub(r"http://[0-9.:]+|2001:[0-9a-f:]+", "", file.read_text().replace(stamp, ""))
    return shape(api.emulator.api.store, stamp), bare


def apply_to(file: Path) -> tuple[str, ...]:
    return ("cloud", "apply", str(file), "--yes", "--every", "0.05")


def test_a_killed_apply_is_taken_up_by_the_next(natpair: Natpair, tmp_path: Path) -> None:
    chance = random.Random(20)  # noqa: S311 - the same moments in every run
    counts = []
    for _ in range(2):  # how often it looks depends on how long things take
        with served(quick_api(SOON)) as api:
            file = account(api, tmp_path, TEXT)
            assert natpair.run(*apply_to(file)) == 0
            counts.append(len(api.emulator.control.served))
            wanted = outcome(api, file)
    requests = min(counts)
    killed = 0
    for moment in range(MOMENTS):
        request = int((moment + chance.random()) / MOMENTS * requests)
        folder = tmp_path / str(moment)
        folder.mkdir()
        with served(quick_api(SOON)) as api:
            file = account(api, folder, TEXT)
            process = natpair.start(*apply_to(file))
            until(lambda: len(api.emulator.control.served) >= request or over(process))  # noqa: B023 - called at once
            time.sleep(chance.random() * 0.004)
            kill(process)
            killed += natpair.ended() == -signal.SIGKILL
            assert natpair.run(*apply_to(file)) == 0, f"after a kill at request {request} of {requests}"
            assert outcome(api, file) == wanted, f"after a kill at request {request} of {requests}"
    assert killed >= MOMENTS - 2, "most runs must have been killed on their way"


def over(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def kill(process: int) -> None:
    with suppress(ProcessLookupError):  # it may just have ended by itself
        os.kill(process, signal.SIGKILL)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.0005)


def deletions(api: Served) -> int:
    return sum(one.method == "DELETE" for one in list(api.emulator.control.served))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_killed_destroy_is_taken_up_by_the_next(natpair: Natpair, tmp_path: Path, count: int) -> None:
    with served(quick_api(SOON)) as api:
        file = account(api, tmp_path, LEGACY)
        assert natpair.run(*apply_to(file)) == 0
        process = natpair.start("cloud", "destroy", str(file), "--yes", "--every", "0.05")
        until(lambda: deletions(api) >= count or over(process))
        kill(process)
        natpair.ended()
        assert natpair.run("cloud", "destroy", str(file), "--yes", "--every", "0.05") == 0
        store = api.emulator.api.store
        assert [store.linodes, store.addresses, store.firewalls, store.groups, store.shares] == [{}] * 5
        assert file.read_text().count('"auto"') == 6
