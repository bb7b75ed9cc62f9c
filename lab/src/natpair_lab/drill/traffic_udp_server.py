"""UDP echo on the internet host: returns every datagram together with the source address and port that it came from."""

from __future__ import annotations

import argparse
import select
import socket
from collections.abc import Sequence

from natpair_lab.drill.traffic_common import DATAGRAM, MAGIC, UDP_PORT, Commands, raise_priority, say


def serve(listener: socket.socket, commands: Commands) -> None:
    """Echo until stopped."""
    watched: list[socket.socket | Commands] = [listener, commands]
    while True:
        readable, _, _ = select.select(watched, [], [])
        if commands in readable and "stop" in commands.read():
            return
        if listener in readable:
            drain(listener)


def drain(listener: socket.socket) -> None:
    """Answer all datagrams that wait in the socket."""
    while True:
        try:
            data, (address, port) = listener.recvfrom(2048)
        except BlockingIOError:
            return
        except OSError:  # an ICMP error for an earlier answer; the datagram after it is still good
            continue
        if len(data) < DATAGRAM.size or data[:4] != MAGIC:
            continue
        _, sequence, stamp, _, _ = DATAGRAM.unpack_from(data)
        answer = DATAGRAM.pack(MAGIC, sequence, stamp, socket.inet_aton(address), port)
        try:
            listener.sendto(answer, (address, port))
        except OSError:  # no route back right now: the client counts it as lost
            continue


def main(argv: Sequence[str] | None = None) -> None:
    """Run the server until standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bind", default="0.0.0.0")  # noqa: S104 - any address of the host, inside the lab
    parser.add_argument("--port", type=int, default=UDP_PORT)
    parser.add_argument("--priority", type=int, default=10)
    options = parser.parse_args(argv)
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    listener.setblocking(False)
    listener.bind((options.bind, options.port))
    say({"ready": True, "real_time": raise_priority(options.priority)})
    serve(listener, Commands())


if __name__ == "__main__":
    main()
