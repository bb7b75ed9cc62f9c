"""Connects an emulated account to a lab: an empty account to a name, or one with its pair to a lab that is up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from natpair.errors import LabError
from natpair_lab.emulator.state import Store, Timing
from natpair_lab.testbed import account, apirecord, build, netns, preflight, state, teardown, topology
from natpair_lab.testbed.cloudworld import CloudWorld, Doors
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class CloudLab:
    """An account and the World that turns its Linodes into hosts."""

    name: str
    store: Store
    world: CloudWorld
    inside: str

    def served_at(self, url: str) -> None:
        """Record this process as the one that serves the account, so that `natpair lab down` ends it."""
        self.world.outside = url
        apirecord.write(netns.LABS / self.name, url, self.inside)


@contextmanager
def claim(name: str, timing: Timing, doors: Doors, progress: Callable[[str], None]) -> Iterator[CloudLab]:
    """Claim the name of a lab for an account. A lab of that name that is already up becomes the account's.

    At the end, a lab that was made here is removed; one that was found is as before. LabError if the name is in use
    otherwise.
    """
    preflight.check(name)
    lab = _found(name)
    if lab is None:
        with teardown.undisturbed():
            build.claim(netns.LABS / name, name)
        store = account.empty(timing)
        world = CloudWorld(name, doors, progress)
        inside = topology.api_address(topology.INTERNET_NETWORK)
    else:
        store, machines = account.holding(lab.gateway, lab.topology, timing)
        world = CloudWorld(name, doors, progress, lab=lab, machines=machines, shares=store.share_table())
        inside = lab.topology.api
    try:
        yield CloudLab(name, store, world, f"http://{inside.ip}")
    finally:
        world.release()


def _found(name: str) -> Lab | None:
    folder = netns.LABS / name
    known = state.read(folder)
    if known is None or known.phase != state.UP:
        return None
    record = apirecord.read(folder)
    if record is not None:
        what = (
            f"has an account already, at {record.url}/v4" if record.alive else "has lost its account: its API has ended"
        )
        raise LabError(f"the lab {name} {what}", fix=f"natpair lab down{build.name_option(name)}")
    return Lab.attach(name)


def serve_in_background(lab: Lab, port: int) -> apirecord.ApiRecord:
    """Serve an account that holds the pair of `lab` until the lab is removed.

    LabError with the server's output if the server ends. It is a separate process, because the
    account must outlive the command that starts it.
    """
    log = lab.folder / apirecord.LOG
    argv = [sys.executable, "-m", "natpair", "lab", "api", "--lab", lab.name, "--port", str(port)]
    with log.open("w") as file:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env=os.environ
        )

    def serving() -> apirecord.ApiRecord | None:
        if process.poll() is not None:
            raise LabError(f"the emulated API did not start: {log.read_text().strip()}")
        return lab.api()

    try:
        return wait_until(serving, deadline_seconds=_START_SECONDS, what="the start of the emulated API")
    except BaseException:
        process.terminate()
        process.wait()
        raise
