"""What the traffic programs share: the frame on the wire, the clock, priority, and the protocol with the drill.

Each program reads commands as lines from its standard input and writes one JSON document per line to its standard
output. It ends when the input closes, so that its traffic stops if a drill crashes. The programs run inside lab hosts
beside the daemons they measure, so they use only the standard library and stay small.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import struct
import sys
from typing import NamedTuple

FRAME = struct.Struct("!4sBxHQ4s12x")
"""Magic, kind, port, nanoseconds, address: 32 bytes, the same both ways."""

MAGIC = b"npf1"
DATAGRAM = struct.Struct("!4sIQ4sH")
"""UDP echo: magic, sequence, send time, then the source address and port as the server saw them."""

KIND_ECHO, KIND_IDLE, KIND_PUSH, KIND_BULK = range(4)
KIND_NAMES = ("echo", "idle", "push", "bulk")

UDP_PORT = 7007
TCP_PORTS = (7101, 7102, 7103, 7104)


FLOWS_PER_PROCESS = 12_500
"""Not every machine lets root raise the limit of open files; 20,000 is the lowest seen."""
MAX_OPEN_FILES = 65_536

_MANY_FLOWS = 10_000


def probes_per_second(flows: int) -> int:
    """The rate at which a standing set is asked for proof: slow, but fast enough to end within 30 s."""
    return 2000 if flows <= _MANY_FLOWS else 4000


class Frame(NamedTuple):
    """One message of a TCP flow; `stamp` is the client's monotonic nanoseconds, echoed unchanged."""

    kind: int
    stamp: int
    address: str
    port: int


def pack_frame(kind: int, stamp: int, address: bytes = b"\0\0\0\0", port: int = 0) -> bytes:
    """The 32 bytes of a frame; `address` is packed as by `inet_aton`."""
    return FRAME.pack(MAGIC, kind, port, stamp, address)


def unpack_frame(data: bytes) -> Frame | None:
    """The frame in 32 bytes; None if they are not one."""
    magic, kind, port, stamp, address = FRAME.unpack(data)
    if magic != MAGIC:
        return None
    return Frame(kind, stamp, socket.inet_ntoa(address), port)


def raise_priority(priority: int) -> bool:
    """Ask for round-robin real-time scheduling; False if the machine does not allow it.

    Without it, on two cores, the scheduler's own noise shows as gaps of tens of milliseconds. The priority stays below
    Keepalived's 50, which must win over the tool that measures it.
    """
    if priority <= 0:
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
    except OSError:
        return False
    return True


def allow_open_files(count: int) -> None:
    """Raise the limit of open files to `count` if the machine allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, hard)))


def say(document: object) -> None:
    """Write one JSON document as a line to standard output, and flush it."""
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    sys.stdout.flush()


class Commands:
    """Reads lines from standard input without blocking; a closed input reads as the command `stop`."""

    def __init__(self, descriptor: int = 0) -> None:
        self.descriptor = descriptor
        self._pending = b""
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        """The descriptor, for select and epoll."""
        return self.descriptor

    def read(self) -> list[str]:
        """The complete lines that have come in."""
        try:
            chunk = os.read(self.descriptor, 4096)
        except BlockingIOError:
            return []
        if not chunk:
            return ["stop"]
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        return [line.decode() for line in lines if line]
