"""The fault of a hanging disk: an ext4 on a loop device below a node's own folders, frozen like a hung volume.

If nobody thaws a frozen file system, every process that touches it hangs for ever and cannot be killed. So a separate
process outside the node freezes it, and thaws it as soon as this process closes its input or ends.
"""

from __future__ import annotations

import subprocess
import sys

from natpair.core import paths
from natpair.errors import LabError
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import Fault

_ALARM_MS = 12_000.0
_THAW_SECONDS = 20.0
_DISK = "/tmp/chaos-disk"  # noqa: S108 - inside the node
_FOLDERS = {"var": paths.VAR, "etc": paths.ETC}
_GUARD = """
import fcntl, os, sys
disk = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(disk, 0xC0045877, 0)  # FIFREEZE: returns when the disk stands still
print("frozen", flush=True)
try:
    sys.stdin.read()
finally:
    fcntl.ioctl(disk, 0xC0045878, 0)  # FITHAW
"""

_MOUNT = "set -e; " + "; ".join(
    [
        f"truncate -s 48M {_DISK}.img; mkfs.ext4 -q {_DISK}.img; mkdir -p {_DISK}; mount -o loop {_DISK}.img {_DISK}",
        *(f"cp -a {folder} {_DISK}/{name}" for name, folder in _FOLDERS.items()),
        *(f"mount --bind {_DISK}/{name} {folder}" for name, folder in _FOLDERS.items()),
    ]
)
# Lazily: a process that has a file open there keeps the loop device until it closes the file, and no longer.
_UNMOUNT = "; ".join(
    [
        *(f"! grep -q ' {folder} ext4 ' /proc/mounts || umount -l {folder}" for folder in _FOLDERS.values()),
        f"! test -d {_DISK}/var || cp -a {_DISK}/var/. {paths.VAR}/",
        f"! grep -q ' {_DISK} ' /proc/mounts || umount -l {_DISK}",
        f"rm -rf {_DISK} {_DISK}.img",
    ]
)


@Fault(
    70,
    "the disk of the standby (/var/lib/natpair and /etc/natpair) hangs, then power cut of the active node",
    bound_ms=900,
)
def disk_stalled(context: Context) -> None:
    """The standby's disk hangs. Once the agent reports it, the active node loses power."""
    node = context.standby
    put_on_disk(context, node)
    guard = freeze(context, node)
    context.undo.append(lambda: thaw(guard))
    if context.observer.agents_speak:
        told = context.wait(lambda: "disk-stalled" in context.conditions(node), _ALARM_MS / 1000)
        context.check("alarm", told, _ALARM_MS, "the agent does not report that its disk hangs")
    context.power_cut(context.active)


def put_on_disk(context: Context, node: str) -> None:
    """Put a node's folders on a disk of their own."""
    context.undo.append(lambda: context.run(node, "sh", "-c", _UNMOUNT, check=False))
    context.run(node, "sh", "-c", _MOUNT)


def freeze(context: Context, node: str) -> subprocess.Popen[bytes]:
    """Freeze that disk until `thaw`."""
    # A session of its own: Ctrl-C at the terminal reaches only us. The process ends when its input closes.
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(context.lab.ref(node).path(_DISK))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    if guard.stdout is None or guard.stdout.readline() != b"frozen\n":
        thaw(guard)
        raise LabError(f"the disk of {node} cannot be frozen", fix="use a machine with loop devices, ext4 and FIFREEZE")
    return guard


def thaw(guard: subprocess.Popen[bytes]) -> None:
    """Let the disk continue."""
    guard.communicate(timeout=_THAW_SECONDS)
