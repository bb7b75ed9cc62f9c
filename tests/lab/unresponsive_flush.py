"""A proxy at conntrackd's control socket that swallows some commands: `unresponsive_flush.py SOCKET REAL NUMBER…`.

Run as a file inside a node. Moves SOCKET to REAL, listens in its place, and ends when standard input closes.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys


def pass_on(client: socket.socket, real: str, swallowed: set[int]) -> None:
    request = client.recv(4)
    if len(request) < 4 or struct.unpack("=i", request)[0] in swallowed:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.connect(real)
        daemon.sendall(request)
        while answer := daemon.recv(65536):
            client.sendall(answer)


def main(path: str, real: str, swallowed: set[int]) -> None:
    os.rename(path, real)  # noqa: PTH104 - no more than the standard library's basics inside a node
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        while sys.stdin not in (ready := select.select([listener, sys.stdin], [], [])[0]):
            if listener in ready:
                client, _ = listener.accept()
                with client:
                    pass_on(client, real, swallowed)
    os.rename(real, path)  # noqa: PTH104


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], set(map(int, sys.argv[3:])))
