"""Relays frames between two switch ports with delay, reordering and duplicates. Standard library only.

The kernel here has no netem. The switch drops the frames between the two ports. This program captures them before that
happens, holds each for a random time, and sends it out of the other port. It ends when its input closes.
"""

from __future__ import annotations

import heapq
import os
import random
import select
import socket
import sys
import time
from typing import TextIO

ETH_P_ALL = 3
_OUTGOING = 4
_RANDOM = random.Random(7)  # noqa: S311 - the same order in every run


def opened(port: str) -> socket.socket:
    """A packet socket on one switch port."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    link.bind((port, ETH_P_ALL))
    link.setblocking(False)
    return link


def wanted(frame: bytes, station: bytes) -> bool:
    """Whether a frame is addressed to the station at the other end, or to all."""
    return frame[:6] == station or bool(frame[0] & 1)


def forward(one: str, other: str, low_ms: float, high_ms: float, twice: float) -> None:
    """Relay frames between two ports, each given as NAME=MAC of the station behind it."""
    names, macs = zip(*(port.split("=") for port in (one, other)), strict=True)
    ports = [opened(name) for name in names]
    partner = {ports[0]: ports[1], ports[1]: ports[0]}
    station = {link: bytes.fromhex(mac.replace(":", "")) for link, mac in zip(ports, macs, strict=True)}
    waiting: list[tuple[float, int, socket.socket, bytes]] = []
    number = 0
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    watched: list[socket.socket | TextIO] = [*ports, sys.stdin]
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select(watched, [], [], timeout)
        if sys.stdin in readable and not os.read(0, 4096):
            return
        for link in (link for link in ports if link in readable):
            frame, sender = link.recvfrom(65536)
            if sender[2] == _OUTGOING or not wanted(frame, station[partner[link]]):
                continue
            for _ in range(2 if _RANDOM.random() < twice else 1):
                number += 1
                due = time.monotonic() + _RANDOM.uniform(low_ms, high_ms) / 1000
                heapq.heappush(waiting, (due, number, partner[link], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, out, frame = heapq.heappop(waiting)
            try:
                out.send(frame)
            except OSError:  # the cable is down, or the frame is too long: it is lost
                continue


if __name__ == "__main__":
    forward(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
