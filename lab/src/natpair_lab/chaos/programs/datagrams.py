"""Sends large datagrams and a large upload through the gateway. Standard library only; runs inside lab hosts.

`serve` returns the number of each datagram and discards uploads, until its input closes. `send ADDRESS SIZE RATE
SECONDS` sends datagrams and prints how many were answered; `upload ADDRESS BYTES SECONDS` prints the milliseconds an
upload took.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from typing import TextIO

UDP_PORT, TCP_PORT = 7201, 7202


def serve() -> None:
    """Run both servers in one loop."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    datagrams.bind(("", UDP_PORT))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", TCP_PORT))
    listener.listen(8)
    links: list[socket.socket] = []
    watched: list[socket.socket | TextIO]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        watched = [datagrams, listener, sys.stdin, *links]
        readable, _, _ = select.select(watched, [], [])
        if sys.stdin in readable and not os.read(0, 4096):
            return
        if datagrams in readable:
            data, sender = datagrams.recvfrom(65535)
            datagrams.sendto(data[:16], sender)
        if listener in readable:
            links.append(listener.accept()[0])
        for link in [link for link in links if link in readable]:
            data = link.recv(262144)
            if data.endswith(b"END"):
                link.sendall(b"ok")
            if not data:
                links.remove(link)
                link.close()


def send(address: str, size: int, rate: float, seconds: float) -> None:
    """Send numbered datagrams of `size` bytes and count how many were answered."""
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.connect((address, UDP_PORT))
    sent, answered = 0, set()
    start = time.monotonic()
    while (now := time.monotonic()) < start + seconds + 1.0:
        due = start + sent / rate
        if now < start + seconds and now >= due:
            link.send(f"{sent:016d}".encode().ljust(size, b"."))
            sent += 1
            continue
        wait = max(0.0, min(due, start + seconds + 1.0) - now) if now < start + seconds else 0.2
        if select.select([link], [], [], wait)[0]:
            try:
                answered.add(link.recv(64))
            except OSError:
                continue
    sys.stdout.write(json.dumps({"sent": sent, "lost": sent - len(answered)}) + "\n")


def upload(address: str, size: int, seconds: float) -> None:
    """Do one upload and wait for its end."""
    start = time.monotonic()
    try:
        with socket.create_connection((address, TCP_PORT), timeout=seconds) as link:
            link.sendall(b"." * size + b"END")
            done = link.recv(2) == b"ok"
    except OSError:
        done = False
    sys.stdout.write(json.dumps({"done": done, "ms": round((time.monotonic() - start) * 1000)}) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    elif sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
    else:
        upload(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
