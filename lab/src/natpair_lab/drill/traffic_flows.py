"""One client connection and its record: when it opened, what came back, how it ended."""

from __future__ import annotations

import errno
import os
import socket
import time

from natpair_lab.drill.traffic_common import (
    FRAME,
    KIND_BULK,
    KIND_ECHO,
    KIND_IDLE,
    KIND_NAMES,
    KIND_PUSH,
    pack_frame,
    unpack_frame,
)

PROOF_AFTER_NS = 300_000_000
"""A flow to which the server sends is proven if data still comes this long after the probe: then it was not queued."""

_BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of ip(7), which the socket module does not name."""

_SENT_TO_PROVE = (KIND_ECHO, KIND_IDLE)
MAX_PUSHED = 50
MAX_BULK = 4


class Connection:
    """A TCP connection through the gateway; all times are monotonic nanoseconds, 0 for never."""

    __slots__ = (
        "address",
        "answered_stamp",
        "buffer",
        "changed_to",
        "connect_error",
        "descriptor",
        "error",
        "error_ns",
        "kind",
        "last_received",
        "link",
        "opened",
        "probe_stamp",
        "proven",
        "started",
        "target",
    )

    def __init__(self, target: tuple[str, int], kind: int, source: str = "") -> None:
        self.target = target
        self.kind = kind
        self.link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.link.setblocking(False)
        if source:
            # The port is chosen at connect, so it only has to be free towards that server.
            self.link.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            self.link.bind((source, 0))
        self.descriptor = self.link.fileno()
        self.buffer = b""
        self.address = ""
        self.changed_to = ""
        self.connect_error = ""
        self.error = ""
        self.opened = self.error_ns = self.last_received = 0
        self.answered_stamp = self.probe_stamp = self.proven = 0
        self.started = time.monotonic_ns()
        self._connect()

    def _connect(self) -> None:
        code = self.link.connect_ex(self.target)
        if code not in (0, errno.EINPROGRESS):
            self._refuse(code)

    def _refuse(self, code: int) -> None:
        self.connect_error = errno.errorcode.get(code, str(code))
        self.error_ns = time.monotonic_ns()

    @property
    def live(self) -> bool:
        """Whether the connection is open and has had no error."""
        return self.opened > 0 and not self.error

    @property
    def settled(self) -> bool:
        """Whether the proof round can learn nothing more about this flow."""
        return bool(self.proven or self.error or self.connect_error)

    def finish_connect(self) -> None:
        """Record how the connection attempt ended. Send the first frame, which tells the server the flow's kind."""
        code = self.link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._refuse(code)
            return
        self.opened = time.monotonic_ns()
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(self.opened)

    def send(self, stamp: int) -> None:
        """Send one frame. A full buffer loses the whole message, never a part of it: frames are far smaller."""
        try:
            self.link.send(pack_frame(self.kind, stamp))
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(error)

    def fail(self, error: OSError | None) -> None:
        """The connection is over: an error, or the other side closed it (None)."""
        if self.error:
            return
        number = error.errno if error is not None else None
        self.error = "closed" if number is None else errno.errorcode.get(number, os.strerror(number))
        self.error_ns = time.monotonic_ns()

    def probe(self, stamp: int) -> None:
        """Ask for proof that the flow still works in both directions."""
        self.probe_stamp = stamp
        if self.kind in _SENT_TO_PROVE:
            self.send(stamp)

    def read(self) -> None:
        """Read what has arrived and record what it proves."""
        try:
            data = self.link.recv(262144)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(error)
            return
        if not data:
            self.fail(None)
            return
        now = self.last_received = time.monotonic_ns()
        if self.kind != KIND_BULK or not self.address:
            data = self._frames(data)
        if self.kind not in _SENT_TO_PROVE and self.probe_stamp and now > self.probe_stamp + PROOF_AFTER_NS:
            self.proven = self.proven or now

    def _frames(self, data: bytes) -> bytes:
        data = self.buffer + data
        whole = len(data) - len(data) % FRAME.size
        self.buffer = data[whole:]
        for at in range(0, whole, FRAME.size):
            frame = unpack_frame(data[at : at + FRAME.size])
            if frame is None:
                break  # filler data of a bulk flow after its greeting
            self._take(frame.stamp, f"{frame.address}:{frame.port}")
        return data

    def _take(self, stamp: int, address: str) -> None:
        if not self.address:
            self.address = address
        elif address != self.address:
            self.changed_to = address
        if self.kind in _SENT_TO_PROVE and stamp:
            self.answered_stamp = max(self.answered_stamp, stamp)
            if self.probe_stamp and stamp >= self.probe_stamp:
                self.proven = self.proven or self.last_received

    def record(self) -> dict[str, object]:
        """The record, as plain JSON values."""
        return {
            "kind": KIND_NAMES[self.kind],
            "server": f"{self.target[0]}:{self.target[1]}",
            "started_ns": self.started,
            "opened_ns": self.opened,
            "connect_error": self.connect_error,
            "error": self.error,
            "error_ns": self.error_ns,
            "address": self.address,
            "changed_to": self.changed_to,
            "answered_stamp_ns": self.answered_stamp,
            "last_received_ns": self.last_received,
            "proven_ns": self.proven,
        }


def kind_of(index: int, count: int) -> int:
    """The kind of the flow number `index` of `count`: mostly echo, some idle, some push, a few bulk."""
    bulk = min(MAX_BULK, count // 10)
    pushed = min(MAX_PUSHED, count // 10)
    if index < bulk:
        return KIND_BULK
    if index < bulk + pushed:
        return KIND_PUSH
    return KIND_IDLE if index % 6 == 0 else KIND_ECHO
