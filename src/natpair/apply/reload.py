"""Load changed files into the kernel and the daemons. A daemon that does not run is left alone.

A table says which steps a set of changed files needs. It is safe to run each step again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from pathlib import Path

from natpair.apply import leftovers
from natpair.core import paths
from natpair.core.rendered import SOME_MAC
from natpair.errors import DaemonError
from natpair.system import daemon, nft, sysctl
from natpair.system.files import read_if_there
from natpair.system.process import run

_SECONDS = 60.0
_CONNECT_SECONDS = 0.2
_SWITCH_FILES: Mapping[str, str] = {
    "traffic": f"{paths.GENERATED}/traffic-{{}}.nft",
    "duplicate": f"{paths.GENERATED}/duplicate-{{}}.nft",
    "fence": f"{paths.GENERATED}/sync-fence-{{}}.nft",
}
_ANY_PEER = "any"
_NO_RULESET = "".join(f"add table {family} natpair\ndelete table {family} natpair\n" for family in ("ip", "inet"))
_RULESET_FILES = frozenset(
    {
        paths.NFTABLES,
        paths.TRAFFIC_LOCAL,
        paths.TRAFFIC_RELAY,
        paths.TRAFFIC_CLOSED,
        paths.DUPLICATE_ON,
        paths.DUPLICATE_OFF,
        paths.SYNC_FENCE_ON,
        paths.SYNC_FENCE_OFF,
        paths.PEER_GUARD,
    }
)


class Step(StrEnum):
    """The steps of a reload, in the order in which they are performed."""

    MODULES = "kernel modules"
    SYSCTL = "sysctls"
    RULESET = "nftables ruleset"
    GUARD = "egress guard"
    ROUTES = "blackhole routes"
    FORWARDING = "forwarding"
    UNITS = "systemd units"
    CONNTRACKD = "conntrackd"
    BIRD = "bird"
    KEEPALIVED = "keepalived"


_BY_FILE: Mapping[str, Step] = {
    paths.MODULES_LOAD: Step.MODULES,
    paths.SYSCTL: Step.SYSCTL,
    paths.PANIC: Step.SYSCTL,
    paths.GUARD: Step.GUARD,
    paths.ROUTES: Step.ROUTES,
    paths.FORWARDING: Step.FORWARDING,
    paths.CONNTRACKD_CONF: Step.CONNTRACKD,
    paths.BIRD_CONF: Step.BIRD,
    paths.KEEPALIVED_CONF: Step.KEEPALIVED,
}


def steps_for(changed: Collection[str]) -> tuple[Step, ...]:
    """The steps that the changed paths need, in order."""
    needed = {_BY_FILE[path] for path in changed if path in _BY_FILE}
    if _RULESET_FILES & set(changed):
        needed.add(Step.RULESET)
    if any(path.startswith(paths.UNITS) for path in changed):
        needed.add(Step.UNITS)
    return tuple(step for step in Step if step in needed)


def perform(step: Step) -> None:
    """Perform one step. Raise DaemonError or CommandFailed if it is refused.

    A step whose file does not exist (the first apply was undone) does nothing, except that a ruleset without its file
    is removed.
    """
    _ACTIONS[step]()


def _modules() -> None:
    lines = (read_if_there(Path(paths.MODULES_LOAD)) or "").splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    # Containers and kernels without modules have no modprobe or get exit 1. A missing module makes later steps fail.
    if names and shutil.which("modprobe"):
        run(["modprobe", "--all", "--quiet", *names], timeout=_SECONDS, ok=(0, 1))


def _sysctl() -> None:
    _load_sysctls(paths.SYSCTL)
    if systemd_runs():
        _load_sysctls(paths.PANIC)


def _forwarding() -> None:
    _load_sysctls(paths.FORWARDING)


def _load_sysctls(path: str) -> None:
    text = read_if_there(Path(path)) or ""
    leftovers.note_sysctls(sysctl.parse(text))
    sysctl.load(text)


def _ruleset() -> None:
    if not Path(paths.NFTABLES).exists():
        run(["nft", "-f", "-"], stdin=_NO_RULESET, timeout=_SECONDS)
        return
    # One transaction, so that on the active node no packet meets a closed ruleset or passes without the peer guard.
    marks = nft.marks_in_force()
    texts = [f'include "{path}"' for path in (paths.NFTABLES, *switch_files(marks))]
    run(["nft", "-f", "-"], stdin="\n".join([*texts, _peer_guard(marks.get("peer", _ANY_PEER))]), timeout=_SECONDS)


def switch_files(marks: Mapping[str, str]) -> tuple[str, ...]:
    """The files that restore the chains to the states in `marks`."""
    return tuple(_SWITCH_FILES[name].format(value) for name, value in sorted(marks.items()) if name in _SWITCH_FILES)


def _peer_guard(mac: str) -> str:
    """The transaction that accepts the peer's packets only from `mac`; empty if any MAC is accepted."""
    text = None if mac == _ANY_PEER else read_if_there(Path(paths.PEER_GUARD))
    return (text or "").replace(SOME_MAC, mac)


def _guard() -> None:
    text = read_if_there(Path(paths.GUARD))
    if text is not None:
        leftovers.note_guard(text)
        run(["tc", "-batch", paths.GUARD], timeout=_SECONDS)


def _routes() -> None:
    text = read_if_there(Path(paths.ROUTES))
    if text is not None:
        leftovers.note_routes(text)
        run(["ip", "-batch", paths.ROUTES], timeout=_SECONDS)


def _units() -> None:
    if systemd_runs():
        run(["systemctl", "daemon-reload"], timeout=_SECONDS)


def restart_agent() -> bool:
    """Ask the agent to end, so that its supervisor starts it with the present configuration. False if none runs.

    This is safe on the active node: traffic, VIP and announcement do not change while no agent runs.
    """
    pid = listener_of(paths.AGENT_SOCKET)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    return True


def listener_of(path: str) -> int | None:
    """The PID, in this PID namespace, of the process that listens on the unix socket `path`; None if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_CONNECT_SECONDS)
        try:
            line.connect(path)
        except OSError:
            return None
        # SO_PEERCRED gives the PID as seen from this process's PID namespace (unix(7)).
        pid, _, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid) or None


def systemd_runs() -> bool:
    """Whether systemd manages this machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def _conntrackd() -> None:
    # conntrackd cannot reload its file. Ask it to end; its supervisor starts it again at once.
    if Path(paths.CONNTRACKD_CTL).exists():
        run(["conntrackd", "-C", paths.CONNTRACKD_CONF, "-k"], timeout=_SECONDS, ok=(0, 1))


def _bird() -> None:
    if not Path(paths.BIRD_CTL).exists():
        return
    done = run(["birdc", "-s", paths.BIRD_CTL, "configure"], timeout=_SECONDS, ok=(0, 1))
    if "Unable to connect" in done.stdout + done.stderr:
        return  # BIRD has ended and left its socket
    if "Reconfigur" not in done.stdout:
        said = done.stdout.strip().splitlines()
        raise DaemonError(f"BIRD refused its file: {said[-1] if said else 'it gave no reason'}")


def keepalived_pid() -> int | None:
    """PID of Keepalived's main process; None while it does not run."""
    running = daemon.named(paths.KEEPALIVED_PID, "keepalived")
    if running is None:
        return None
    running.close()
    return running.pid


def _keepalived() -> None:
    running = daemon.named(paths.KEEPALIVED_PID, "keepalived")
    if running is not None:
        with contextlib.suppress(ProcessLookupError):
            running.send(signal.SIGHUP)
        running.close()


_ACTIONS: Mapping[Step, Callable[[], None]] = {
    Step.MODULES: _modules,
    Step.SYSCTL: _sysctl,
    Step.RULESET: _ruleset,
    Step.GUARD: _guard,
    Step.ROUTES: _routes,
    Step.FORWARDING: _forwarding,
    Step.UNITS: _units,
    Step.CONNTRACKD: _conntrackd,
    Step.BIRD: _bird,
    Step.KEEPALIVED: _keepalived,
}
