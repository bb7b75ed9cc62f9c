"""Controls one lab host from outside: starts, finds, queries and ends its supervisor.

A host is identified by the record that its launcher wrote (PID and start time), never by its name. So no process of
anybody else is ever signalled.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import natpair
import natpair_lab
from natpair.errors import LabError
from natpair.system.process import run
from natpair_lab.testbed import init, spawn

_SPAWN_SECONDS = 60
_END_SECONDS = 10


@dataclass(frozen=True, slots=True)
class InitRef:
    """One supervisor: its PID here and its start time, which tells it from a later process with the same PID."""

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether exactly this process still runs; a zombie does not count."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return False
        fields = stat.rpartition(")")[2].split()
        return int(fields[19]) == self.started and fields[0] not in "ZX"

    def path(self, inside: str) -> Path:
        """The path of the file `inside` of the host, as seen from here."""
        return Path(f"/proc/{self.pid}/root{inside}")


def read_record(path: Path) -> InitRef | None:
    """The supervisor on record at `path`; None if there is no record or its process has ended."""
    try:
        pid, started = path.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    ref = InitRef(int(pid), int(started))
    return ref if ref.alive() else None


def start_spawn(spec: spawn.Spec) -> subprocess.Popen[str]:
    """Start to build a host; `finish_spawn` waits for it.

    It has a session of its own, so Ctrl-C does not interrupt it.
    """
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", spawn.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if child.stdin is not None:
        child.stdin.write(json.dumps(asdict(spec)))
        child.stdin.close()
        child.stdin = None
    return child


def finish_spawn(name: str, child: subprocess.Popen[str]) -> str:
    """Wait until a host is built; returns its warnings. LabError if it could not be built."""
    try:
        _, complaints = child.communicate(timeout=_SPAWN_SECONDS)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.wait()
        raise LabError(f"the lab host {name} did not start within {_SPAWN_SECONDS} s") from error
    if child.returncode != 0:
        raise LabError(f"the lab host {name} could not be built: {complaints.strip()}")
    return complaints


def end(ref: InitRef) -> None:
    """SIGKILL a supervisor and with it its whole PID namespace; returns when all of it has ended."""
    try:
        descriptor = os.pidfd_open(ref.pid)
    except ProcessLookupError:
        return
    try:
        if not ref.alive():  # checked after opening: from now on the PID cannot become another process
            return
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        # A pidfd becomes readable when its process has ended, and an init ends after all of its namespace.
        if not select.select([descriptor], [], [], _END_SECONDS)[0]:
            raise LabError(f"process {ref.pid} of the lab does not end", fix="look at it with ps; a reboot removes it")
    finally:
        os.close(descriptor)


def end_guests(netns: str) -> None:
    """SIGKILL what still runs in the namespace called `netns`, such as a tap of a drill that crashed."""
    inode = _inode(f"{spawn.NETNS_FOLDER}/{netns}")
    if inode is None:
        return
    for word in run(["ip", "netns", "pids", netns], timeout=10, ok=(0, 1, 255)).stdout.split():
        try:
            descriptor = os.pidfd_open(int(word))
        except ProcessLookupError:
            continue
        try:
            if _inode(f"/proc/{word}/ns/net") == inode:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            continue
        finally:
            os.close(descriptor)


def _inode(path: str) -> int | None:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return None


def control(ref: InitRef, request: Mapping[str, str], *, timeout: float = 15) -> dict[str, object]:
    """Send a request to the host's supervisor; LabError if it does not answer or refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout)
        try:
            line.connect(str(ref.path(init.SOCKET)))
            line.sendall(json.dumps(dict(request)).encode() + b"\n")
            text = b"".join(iter(lambda: line.recv(65536), b""))
        except OSError as error:
            raise LabError(f"the lab host's supervisor (process {ref.pid}) does not answer: {error}") from error
    answer: dict[str, object] = json.loads(text or b'{"ok": false, "error": "no answer"}')
    if not answer.get("ok"):
        known = answer.get("known")
        fix = f"one of: {', '.join(known)}" if isinstance(known, list) and known else ""
        raise LabError(str(answer.get("error", "refused")), fix=fix)
    return answer


def command(ref: InitRef, argv: Sequence[str]) -> list[str]:
    """The argument list that runs `argv` inside the host and ends it with the process that it starts."""
    enter = Path(spawn.__file__).with_name("enter.py")
    return [sys.executable, "-I", "-S", str(enter), str(ref.pid), *argv]


def program(module: str, *arguments: object) -> list[str]:
    """The argument list that runs a module of ours inside a host. Without site-packages it starts much sooner."""
    path = ":".join(dict.fromkeys(str(Path(package.__path__[0]).parent) for package in (natpair, natpair_lab)))
    return ["env", f"PYTHONPATH={path}", sys.executable, "-S", "-m", module, *map(str, arguments)]
