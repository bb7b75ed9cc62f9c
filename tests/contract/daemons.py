"""Daemons started inside a scratch machine, and adapters run there: the same calls that the agent makes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from checks.scratch import Scratch
from golden.cases import CASES
from natpair.render.services import services
from natpair_lab.testbed.wait import wait_until

GATEWAY = CASES[0].gateway()
NODE = GATEWAY.node[0]
FILES = {file.path: file.text for file in CASES[0].bundles()[NODE.name]}
SERVICES = {service.name: service for service in services(GATEWAY, NODE.name)}

_PRELUDE = "import asyncio\nfrom natpair.core import paths\nfrom natpair.errors import CommandFailed, DaemonError\n"
_WAIT_SECONDS = 15.0


def furnish(scratch: Scratch) -> None:
    """The rendered files and what `natpair prepare` makes in /run."""
    for path, text in FILES.items():
        if path.startswith("/etc/natpair"):
            scratch.write(path, text)
    scratch.run("mkfifo", "/run/natpair/notify.fifo")
    scratch.write("/run/natpair/track/boost", "0\n")
    scratch.write("/run/natpair/bird/role.conf", FILES["/etc/natpair/generated/bird-standby.conf"])


def call(scratch: Scratch, body: str, *args: str) -> str:
    """Run the lines of `body` inside an async function in the machine; what it prints."""
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    return scratch.python(f"{_PRELUDE}async def main():\n{lines}\nasyncio.run(main())", *args).stdout.strip()


@contextmanager
def running(scratch: Scratch, name: str) -> Iterator[Callable[[], str]]:
    """The service `name` as the table starts it; yields a function that gives its log so far."""
    service = SERVICES[name]
    if service.start_pre:
        scratch.run(*service.start_pre)
    environment = [f"{key}={value}" for key, value in service.environment.items()]
    log = Path(f"/tmp/natpair-contract-{scratch.pid}-{name}.log")
    with log.open("w+") as sink:
        argv = scratch.argv(["env", *environment, *service.argv])
        daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)
        try:
            yield log.read_text
        finally:
            daemon.terminate()
            daemon.wait(timeout=10)
            log.unlink()


def eventually(what: Callable[[], object], expected: object) -> None:
    """Ask until the answer is as expected; LabError with what was waited for after a while."""
    wait_until(lambda: what() == expected or None, deadline_seconds=_WAIT_SECONDS, what=f"{expected!r}")
