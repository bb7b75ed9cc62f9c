"""PID 1 of a lab host: starts services in order, restarts them, checks their watchdogs, reaps orphans.

It replaces systemd, so it reads the same service table from which the units are made. Every host of the lab starts one,
so it is run as a file, uses only the standard library and must not import natpair. It never configures anything:
namespaces, mounts and addresses exist before it starts (`testbed.spawn`).

Control: one JSON object per line on the unix socket `SOCKET`: {"op": "list" | "start" | "stop" | "restart" | "kill",
"service": …, "signal": …}. The answer is one line too, sent when the operation is done.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

RUN = "/run/lab"
SOCKET = f"{RUN}/init.sock"
SPEC = f"{RUN}/spec.json"
LOGS = f"{RUN}/log"

START_SECONDS = 90.0
STOP_SECONDS = 5.0
ABORT_SECONDS = 1.0
_LOG_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Unit:
    """One service to supervise; the fields mean what they mean in a systemd unit.

    A oneshot stays active after it ended successfully (RemainAfterExit=yes), and is restarted on failure only. Units
    are ordered as listed, and want each other (Wants=, After=): the next one starts when the one before has started or
    failed. `stop` (ExecStop=) runs when an active unit is stopped.
    """

    name: str
    argv: tuple[str, ...]
    oneshot: bool = False
    notify: bool = False
    watchdog_seconds: float | None = None
    restart_delay_ms: int | None = 200
    environment: tuple[tuple[str, str], ...] = ()
    start_pre: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    stop_post: tuple[str, ...] = ()
    stop_seconds: float = STOP_SECONDS
    rt_priority: int | None = None

    @classmethod
    def from_json(cls, raw: dict[str, object]) -> Unit:
        """A unit from the JSON form of its fields."""
        return cls(**{key: frozen(value) for key, value in raw.items()})  # type: ignore[arg-type]


def frozen(value: object) -> object:
    """`value` with lists turned back into the tuples they were before JSON."""
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


class Log:
    """A service's log file, fed by a pipe; each line gets a time."""

    def __init__(self, path: Path) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._rest = b""

    def drain(self) -> None:
        """Move the service's new output into the file."""
        try:
            data = self._rest + os.read(self.reader, _LOG_CHUNK)
        except BlockingIOError:
            return
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            self._write(line)

    def note(self, text: str) -> None:
        """Add a line by the supervisor itself."""
        self.drain()
        self._write(f"[init] {text}".encode())

    def _write(self, line: bytes) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z "
        os.write(self._file, stamp.encode() + line + b"\n")


@dataclass(slots=True)
class Running:
    """The state of a service."""

    unit: Unit
    log: Log
    state: str = "stopped"
    pid: int | None = None
    wanted: bool = False
    starts: int = 0
    last_status: int | None = None
    started: float = 0.0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    last_ping: float = 0.0
    keeper: asyncio.Task[None] | None = None

    def report(self) -> dict[str, object]:
        """The entry of the service in the answer to `list`."""
        return {
            "name": self.unit.name,
            "state": self.state,
            "pid": self.pid,
            "ready": self.ready.is_set(),
            "starts": self.starts,
            "last_status": self.last_status,
        }

    def deadline(self) -> float | None:
        """When the service is overdue on the loop's clock: its READY at first, then its next watchdog ping."""
        if self.unit.notify and not self.ready.is_set():
            return self.started + START_SECONDS
        if self.unit.watchdog_seconds is not None:
            return self.last_ping + self.unit.watchdog_seconds
        return None


class Supervisor:
    """Runs the units of one host as long as its namespace exists."""

    def __init__(self, units: Sequence[Unit], environment: dict[str, str]) -> None:
        self._environment = environment
        self._services = {u.name: Running(u, Log(Path(LOGS, f"{u.name}.log"))) for u in units}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._boot = "running"
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Boot, then serve for ever."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        for service in self._services.values():
            loop.add_reader(service.log.reader, service.log.drain)
            if service.unit.notify or service.unit.watchdog_seconds is not None:
                self._open_notify_socket(service)
        async with self._group:
            server = await asyncio.start_unix_server(self._answer, sock=control_socket())
            self._group.create_task(self._boot_all())
            await server.serve_forever()

    async def _boot_all(self) -> None:
        failed = ""
        for service in self._services.values():
            self._start(service)
            problem = await self._settled(service)
            if problem:
                service.log.note(problem)
                if service.unit.oneshot:
                    failed = failed or f"failed: {service.unit.name} {problem}"
        self._boot = failed or "done"

    async def _settled(self, service: Running) -> str:
        """Wait until the next service may start; returns what went wrong, or nothing."""
        if service.unit.oneshot:
            await service.settled.wait()
            return "" if service.last_status == 0 else f"ended with {describe(service.last_status)}"
        if service.unit.notify:
            try:
                async with asyncio.timeout(START_SECONDS):
                    await service.settled.wait()
            except TimeoutError:
                return "did not become ready"
            return "" if service.ready.is_set() else "ended before it was ready"
        return ""

    def _start(self, service: Running) -> None:
        if service.state == "active" or (service.keeper is not None and not service.keeper.done()):
            return
        service.wanted = True
        service.keeper = self._group.create_task(self._keep(service))

    async def _stop(self, service: Running) -> None:
        if service.unit.stop and service.wanted and service.state in ("running", "active"):
            await self._run_command(service, service.unit.stop, service.unit.stop_seconds)
        service.wanted = False
        if service.state == "active":
            service.state = "stopped"
        if service.keeper is None or service.keeper.done():
            return
        if service.pid is not None:
            await self._end_group(service.pid, signal.SIGTERM, STOP_SECONDS)
        await service.keeper

    async def _keep(self, service: Running) -> None:
        unit = service.unit
        while True:
            if unit.start_pre:
                await self._run_command(service, unit.start_pre)
            await self._run_once(service)
            if unit.stop_post:
                await self._run_command(service, unit.stop_post)
            if not service.wanted or unit.restart_delay_ms is None or (unit.oneshot and service.last_status == 0):
                break
            service.state = "restarting"
            await asyncio.sleep(unit.restart_delay_ms / 1000)
            if not service.wanted:
                break
        ended_well = "active" if unit.oneshot and service.wanted else "stopped"
        service.state = ended_well if not service.wanted or service.last_status == 0 else "failed"

    async def _run_once(self, service: Running) -> None:
        service.ready.clear()
        service.starts += 1
        service.started = service.last_ping = asyncio.get_running_loop().time()
        try:
            pid = self._spawn(service, service.unit.argv)
        except OSError as error:
            service.log.note(f"cannot start {service.unit.argv[0]}: {error.strerror}")
            service.last_status = 127 << 8
            service.settled.set()
            return
        service.pid, service.state = pid, "running"
        if not service.unit.notify and not service.unit.oneshot:
            service.ready.set()
        service.last_status = await self._watch(service, pid)
        service.pid = None
        service.settled.set()
        service.log.note(f"ended with {describe(service.last_status)}")
        await self._end_group(pid, signal.SIGTERM, STOP_SECONDS)

    async def _watch(self, service: Running, pid: int) -> int:
        """Wait for the end of `pid`. When it is overdue, end it by SIGABRT, then by SIGKILL."""
        exited = self._exits[pid]
        clock = asyncio.get_running_loop().time
        while True:
            deadline = service.deadline()
            # A READY can bring the deadline closer, so check again at least every second.
            rest = None if deadline is None else min(max(deadline - clock(), 0.001), 1.0)
            await asyncio.wait((exited,), timeout=rest)
            if exited.done():
                return exited.result()
            deadline = service.deadline()
            if deadline is not None and clock() >= deadline:
                service.log.note("watchdog: no sign of life, aborting it")
                signal_group(pid, signal.SIGABRT)
                signal_group(pid, signal.SIGCONT)
                await asyncio.wait((exited,), timeout=ABORT_SECONDS)
                signal_group(pid, signal.SIGKILL)
                return await exited

    async def _end_group(self, pid: int, number: signal.Signals, patience: float) -> None:
        """End what is left of a service's process group, as systemd ends a control group."""
        clock = asyncio.get_running_loop().time
        end = clock() + patience
        signal_group(pid, number)
        signal_group(pid, signal.SIGCONT)  # a stopped process would not receive it
        while signal_group(pid, 0):
            if clock() >= end:
                signal_group(pid, signal.SIGKILL)
            await asyncio.sleep(0.005)

    async def _run_command(self, service: Running, argv: Sequence[str], patience: float = STOP_SECONDS) -> None:
        try:
            pid = self._spawn(service, argv)
        except OSError as error:
            service.log.note(f"cannot run {argv[0]}: {error.strerror}")
            return
        exited = self._exits[pid]
        await asyncio.wait((exited,), timeout=patience)
        if not exited.done():
            service.log.note(f"{argv[0]} took too long")
            signal_group(pid, signal.SIGKILL)
        status = await exited
        if status != 0:
            service.log.note(f"{' '.join(argv)}: {describe(status)}")

    def _spawn(self, service: Running, argv: Sequence[str]) -> int:
        unit = service.unit
        environment = self._environment | dict(unit.environment)
        environment["NOTIFY_SOCKET"] = notify_path(unit.name)
        if unit.watchdog_seconds is not None:
            environment["WATCHDOG_USEC"] = str(int(unit.watchdog_seconds * 1e6))
        real_time = {} if unit.rt_priority is None else {"scheduler": (os.SCHED_RR, os.sched_param(unit.rt_priority))}
        pid = os.posix_spawnp(
            argv[0],
            list(argv),
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, service.log.writer, 1),
                (os.POSIX_SPAWN_DUP2, service.log.writer, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ],
            **real_time,  # type: ignore[arg-type]
        )
        self._exits[pid] = asyncio.get_running_loop().create_future()
        return pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            exited = self._exits.pop(pid, None)
            if exited is not None and not exited.done():
                exited.set_result(status)

    def _open_notify_socket(self, service: Running) -> None:
        path = Path(notify_path(service.unit.name))
        path.parent.mkdir(exist_ok=True)
        inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        inbox.bind(str(path))
        asyncio.get_running_loop().add_reader(inbox.fileno(), self._hear, service, inbox)

    def _hear(self, service: Running, inbox: socket.socket) -> None:
        try:
            words = inbox.recv(4096).decode(errors="replace").split("\n")
        except BlockingIOError:
            return
        if "READY=1" in words:
            service.ready.set()
            service.settled.set()
        if "READY=1" in words or "WATCHDOG=1" in words:
            service.last_ping = asyncio.get_running_loop().time()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.readline() or b"{}")
        answer = await self._do(request)
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    async def _do(self, request: dict[str, str]) -> dict[str, object]:
        op = request.get("op")
        if op == "list":
            return {"ok": True, "boot": self._boot, "services": [s.report() for s in self._services.values()]}
        service = self._services.get(request.get("service", ""))
        if service is None:
            return {"ok": False, "error": "no such service", "known": list(self._services)}
        if op == "kill":
            if service.pid is None:
                return {"ok": False, "error": f"{service.unit.name} is not running"}
            signal_group(service.pid, signal.Signals(int(request["signal"])))
            return {"ok": True}
        if op in ("stop", "restart"):
            await self._stop(service)
        if op in ("start", "restart"):
            self._start(service)
        return {"ok": op in ("start", "stop", "restart")}


def control_socket() -> socket.socket:
    """The listening control socket; its file appears only when it accepts connections."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{SOCKET}.new")
    listener.listen()
    Path(f"{SOCKET}.new").rename(SOCKET)
    return listener


def notify_path(name: str) -> str:
    """The NOTIFY_SOCKET of the service `name`."""
    return f"{RUN}/notify/{name}"


def describe(status: int | None) -> str:
    """A wait status as text."""
    if status is None:
        return "nothing"
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"status {os.waitstatus_to_exitcode(status)}"


def signal_group(pid: int, number: int) -> bool:
    """Signal the process group led by `pid`; 0 only checks it. Returns whether any of it is left, zombies included."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    """Run the supervisor described by `SPEC`."""
    spec = json.loads(Path(SPEC).read_text())
    units = [Unit.from_json(raw) for raw in spec["units"]]
    asyncio.run(Supervisor(units, spec["environment"]).run())


if __name__ == "__main__":
    main()
