"""Makes a lab host out of a network namespace: mounts, addresses, a PID namespace, and `testbed.init` in it.

It runs as a file with a JSON spec on stdin and uses only the standard library. It guarantees that no supervisor ever
runs without a record. The child waits until the parent has written its PID and start time to the record file, and ends
if the parent dies first. So a clean-up can trust the records.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MNT_DETACH = 2

RUN = "/run/lab"
NETNS_FOLDER = "/run/netns"

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Spec:
    """What a host needs before its first process starts. Paths are those of the machine outside."""

    name: str
    netns: str
    record: str
    log_folder: str
    binds: tuple[tuple[str, str], ...]
    keep: tuple[str, ...]
    sysctls: tuple[tuple[str, str], ...]
    ip_lines: tuple[str, ...]
    init: dict[str, object]

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """A spec from the JSON form of its fields."""
        raw = json.loads(text)
        pairs = {key: tuple((a, b) for a, b in raw[key]) for key in ("binds", "sysctls")}
        return cls(**(raw | pairs | {key: tuple(raw[key]) for key in ("keep", "ip_lines")}))


def check(result: int, what: str) -> None:
    """Turn a failed libc call into an OSError that says what was tried."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    check(
        libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()),
        f"mount {kind or source} on {target}",
    )


def join_namespace(path: str, kind: int) -> None:
    """setns(2) into the namespace file at `path`."""
    with Path(path).open("rb") as file:
        check(libc.setns(file.fileno(), kind), f"setns {path}")


def start_time(pid: int) -> int:
    """The start time of `pid` in clock ticks since boot: together with the PID it identifies one process for ever."""
    # Field 22 of proc(5); the name in field 2 may contain blanks and brackets.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def covered(path: str, mounts: Iterable[str]) -> bool:
    """Whether one of the `mounts` hides `path`."""
    return any(path == top or path.startswith(f"{top}/") for top in mounts)


def bind_descriptor(descriptor: int, target: str) -> None:
    """Bind what `descriptor` has open to `target`, even if a later mount covers its path."""
    mount(f"/proc/self/fd/{descriptor}", target, "", MS_BIND | MS_REC)


def arrange_mounts(spec: Spec) -> None:
    """Give the host its own /run, /tmp and bound folders; the machine outside stays unchanged."""
    # Slave: no mount of ours is seen outside. What is unmounted outside is unmounted here too, so no namespace stays
    # pinned.
    mount("none", "/", "", MS_REC | MS_SLAVE)
    targets = ["/run", "/tmp", *(target for _, target in spec.binds if not covered(target, ["/run"]))]  # noqa: S108
    kept = [(os.open(path, os.O_PATH), path) for path in spec.keep if covered(path, targets)]
    sources = [(os.open(source, os.O_PATH), target) for source, target in spec.binds]
    logs = os.open(spec.log_folder, os.O_PATH)
    libc.umount2(NETNS_FOLDER.encode(), MNT_DETACH)
    mount("sysfs", "/sys", "sysfs")
    mount("tmpfs", "/run", "tmpfs", data="mode=0755")
    mount("tmpfs", "/tmp", "tmpfs", data="mode=1777")  # noqa: S108
    for path in ("/run/lock", RUN, f"{RUN}/log"):
        Path(path).mkdir(mode=0o755)
    bind_descriptor(logs, f"{RUN}/log")
    for descriptor, target in [*sources, *kept]:
        Path(target).mkdir(parents=True, exist_ok=True)
        bind_descriptor(descriptor, target)


def write_sysctls(settings: Iterable[tuple[str, str]]) -> None:
    """Write below /proc/sys; a key that is missing in this kernel or namespace is reported on stderr and skipped."""
    for key, value in settings:
        try:
            Path("/proc/sys", key).write_text(value)
        except OSError as error:
            sys.stderr.write(f"sysctl {key} = {value}: {error.strerror}\n")


def run_ip(lines: Sequence[str]) -> None:
    """Feed `lines` to one `ip -batch`; OSError if it fails (ip has said why on stderr)."""
    if not lines:
        return
    script = os.memfd_create("ip-batch", 0)
    os.write(script, ("\n".join(lines) + "\n").encode())
    os.lseek(script, 0, os.SEEK_SET)
    argv = ["ip", "-batch", "-"]
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, script, 0)])
    os.close(script)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise OSError(0, f"ip -batch ended with {status}")


def become_init(title: str, go: int, log: int) -> None:
    """The child: wait for permission to run, then become PID 1 of its namespace for good."""
    if os.read(go, 1) != b"1":
        os._exit(1)
    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    mount("proc", "/proc", "proc")
    init = Path(__file__).with_name("init.py")
    os.execv(sys.executable, [sys.executable, "-I", "-S", str(init), title])  # noqa: S606 - the title is for ps(1)


def write_record(folder: int, name: str, pid: int) -> None:
    """Write `pid` and its start time to `name` in the open `folder`, completely or not at all."""
    temporary = f".{name}.new"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=folder)
    os.write(file, f"{pid} {start_time(pid)}\n".encode())
    os.close(file)
    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def launch(spec: Spec) -> None:
    """Build the host and start its supervisor; returns when the supervisor is on record and running."""
    record = Path(spec.record)
    folder = os.open(record.parent, os.O_RDONLY | os.O_DIRECTORY)
    log = os.open(f"{spec.log_folder}/init.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    join_namespace(spec.netns, CLONE_NEWNET)
    check(libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC), "unshare")
    check(libc.sethostname(spec.name.encode(), len(spec.name.encode())), "sethostname")
    arrange_mounts(spec)
    Path(RUN, "spec.json").write_text(json.dumps(spec.init))
    write_sysctls(spec.sysctls)
    run_ip(spec.ip_lines)
    check(libc.unshare(CLONE_NEWPID), "unshare pid")
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_write)
        become_init(Path(spec.netns).name, go_read, log)
    write_record(folder, record.name, pid)
    os.write(go_write, b"1")


def main() -> int:
    """Read the spec from stdin and launch it; errors go to stderr."""
    try:
        launch(Spec.from_json(sys.stdin.read()))
    except OSError as error:
        sys.stderr.write(f"{error.strerror or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
