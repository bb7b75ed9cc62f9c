"""The probe's hand on one of its two machines: answers at the FIP, tells BIRD what to say, listens on the VLAN.

Shipped there and run as root, standard library only. `node start JSON` leaves a daemon behind, `node tell` passes one
JSON request from standard input to it and prints the answer. The daemon itself writes BIRD's file and gives BIRD the
word, so that the age of a change in an answer is the age of the UPDATE and holds no round trip of the operator's.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from natpair.core import packets
from natpair.probe import wire

SOCKET = f"{wire.FOLDER}/node.sock"
PID = f"{wire.FOLDER}/node.pid"
CONF = f"{wire.FOLDER}/bird.conf"
BIRD_CTL = f"{wire.FOLDER}/bird.ctl"
BIRD_PID = f"{wire.FOLDER}/bird.pid"
_BIRD_SECONDS = 5.0
_MOST_HEARD = 20_000
_BACKLOG = 1 << 20
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python has no name for it
_TIMESPEC = struct.Struct("@qq")

Document = dict[str, Any]


class Node:
    """The daemon: one thread, one selector."""

    def __init__(self, index: int, fip: str, private: str, public: str) -> None:
        self._index = index
        self._fip = fip
        self._mark, self._marked_ns = 0, time.monotonic_ns()
        self._answered, self._last = 0, ("", 0)
        self._heard: list[wire.Heard] = []
        self._opens: dict[str, wire.Open] = {}
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BACKLOG)
        self._udp.bind((fip, wire.PORT))
        self._udp.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._udp, selectors.EVENT_READ, self._answer_all)
        for interface, kind in ((private, packets.ETH_IPV4), (private, packets.ETH_ARP), (public, packets.ETH_IPV6)):
            self._listen(interface, kind)
        self._control = _control_socket()
        self._selector.register(self._control, selectors.EVENT_READ, self._serve_one)

    def run(self) -> None:
        """Serve for ever."""
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _listen(self, interface: str, kind: int) -> None:
        # A socket for one protocol is given what comes in, not what this machine sends.
        line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BACKLOG)
        line.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        line.bind((interface, kind))
        line.setblocking(False)

        def drain() -> None:
            with contextlib.suppress(OSError):  # no more, or the interface is down
                while True:
                    frame, extra, _, _ = line.recvmsg(65536, 256)
                    self._take(frame, kind, _arrival_ns(extra))

        self._selector.register(line, selectors.EVENT_READ, drain)

    def _take(self, frame: bytes, kind: int, arrived_ns: int) -> None:
        if kind == packets.ETH_IPV6:
            said = wire.open_in(frame)
            if said is not None:
                self._opens[said.source] = said
            return
        heard = wire.heard_in(frame, arrived_ns)
        if heard is not None and len(self._heard) < _MOST_HEARD:
            self._heard.append(heard)

    def _answer_all(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, (address, port) = self._udp.recvfrom(2048)
                asked = wire.unpack(data)
                if asked is None or asked.kind != wire.ASK:
                    continue
                self._answered, self._last = self._answered + 1, (address, port)
                self._send(wire.ANSWER, asked.sequence, asked.sent_ns, (address, port))

    def _send(self, kind: int, sequence: int, sent_ns: int, to: tuple[str, int]) -> bool:
        elapsed_us = (time.monotonic_ns() - self._marked_ns) // 1000
        answer = wire.Datagram(kind, sequence, sent_ns, self._index, self._mark, elapsed_us, *to)
        try:
            self._udp.sendto(answer.pack(), to)
        except OSError:  # no route or a full queue: it counts as lost at the other end
            return False
        return True

    def _serve_one(self) -> None:
        line, _ = self._control.accept()
        with line:
            line.settimeout(_BIRD_SECONDS)
            try:
                request = json.loads(line.makefile("rb").readline())
                answer = self._do(request)
            except (OSError, ValueError, KeyError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            with contextlib.suppress(OSError):
                line.sendall(json.dumps(answer).encode() + b"\n")

    def _do(self, request: Document) -> Document:
        match request["op"]:
            case "status":
                return {"answered": self._answered, "mark": self._mark, "last": self._last}
            case "say":
                return self._say(request["conf"])
            case "bird":
                return {"reply": ask_bird(request["command"])}
            case "start-bird":
                return start_bird(request["conf"])
            case "opens":
                return {"opens": [asdict(said) for said in self._opens.values()]}
            case "heard":
                heard, self._heard = self._heard, []
                return {"heard": [asdict(one) for one in heard]}
            case "send":
                to = (str(request["address"]), int(request["port"]))
                return {"sent": sum(self._send(wire.UNASKED, n, 0, to) for n in range(int(request["count"])))}
        return {"error": f"no such request: {request['op']}"}

    def _say(self, conf: str) -> Document:
        write(CONF, conf)
        self._mark, self._marked_ns = self._mark + 1, time.monotonic_ns()
        reply = ask_bird("configure")
        took_us = (time.monotonic_ns() - self._marked_ns) // 1000
        return {"mark": self._mark, "took_us": took_us, "reply": reply}


def _arrival_ns(extra: list[tuple[int, int, bytes]]) -> int:
    """When the kernel got a frame: this program itself may be late."""
    for level, kind, data in extra:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()


def write(path: str, text: str) -> None:
    """Replace a file, whole or not at all."""
    Path(f"{path}.new").write_text(text)
    Path(f"{path}.new").replace(path)


def start_bird(conf: str) -> Document:
    """Start BIRD, or let the one that runs read `conf`."""
    write(CONF, conf)
    if Path(BIRD_CTL).exists():
        with contextlib.suppress(OSError):
            return {"reply": ask_bird("configure")}
    argv = ["bird", "-c", CONF, "-s", BIRD_CTL, "-P", BIRD_PID]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_BIRD_SECONDS, check=False)
    return {"reply": done.stderr or done.stdout} if done.returncode == 0 else {"error": done.stderr or done.stdout}


def ask_bird(command: str) -> str:
    """BIRD's reply to a command, its codes in it; OSError if BIRD does not respond or refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_BIRD_SECONDS)
        line.connect(BIRD_CTL)
        lines = line.makefile("rb")
        _reply(lines)
        line.sendall(command.encode() + b"\n")
        said = _reply(lines)
    if said[-1][:1] in "89":
        raise OSError(f"BIRD refuses {command}: {said[-1]}")
    return "\n".join(said)


def _reply(lines: Any) -> list[str]:
    said: list[str] = []
    while True:
        raw = lines.readline()
        if not raw:
            raise OSError("BIRD hung up")
        said.append(raw.decode(errors="replace").rstrip("\n"))
        if raw[:4].isdigit() and raw[4:5] == b" ":
            return said


def _control_socket() -> socket.socket:
    Path(SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET)
    listener.listen()
    return listener


def start(setup: Document) -> None:
    """Leave a daemon behind, in place of one that may be there. It is ready when this returns."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(Path(PID).read_text()), signal.SIGTERM)
    node = Node(setup["index"], setup["fip"], setup["private"], setup["public"])
    if os.fork() != 0:
        return
    os.setsid()
    log = os.open(f"{wire.FOLDER}/node.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    write(PID, str(os.getpid()))
    node.run()


def tell(request: bytes) -> bytes:
    """The daemon's answer to one request."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(2 * _BIRD_SECONDS)
        line.connect(SOCKET)
        line.sendall(request.strip() + b"\n")
        return line.makefile("rb").readline()


def main(arguments: list[str]) -> int:
    """`start JSON` or `tell`."""
    if arguments[0] == "start":
        start(json.loads(arguments[1]))
    else:
        sys.stdout.buffer.write(tell(sys.stdin.buffer.read()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
