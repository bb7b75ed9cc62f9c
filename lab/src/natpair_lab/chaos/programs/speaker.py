"""A misbehaving route server: answers a node's BGP session and sends what it should not. Standard library only.

It runs in the fabric in place of one route server, as `speaker.py ADDRESS MODE AS`. It listens on port 179, accepts
every connection, and prints one JSON line per session: what the other side's OPEN held, and what the other side did.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Callable

from natpair.core.packets import BGP_MARKER, KEEPALIVE, NOTIFICATION, OPEN, UPDATE, bgp_capabilities, bgp_message

LISTEN_SECONDS = 1.5


def opening(local_as: int, hold: int) -> bytes:
    """An OPEN with the capabilities that the real route servers send: IPv4, extended next hop (RFC 8950), 4-byte AS."""
    abilities = (
        b"\x01\x04\x00\x01\x00\x01" + b"\x05\x06\x00\x01\x00\x01\x00\x02" + b"\x41\x04" + struct.pack("!I", local_as)
    )
    options = bytes((2, len(abilities))) + abilities
    return bgp_message(OPEN, struct.pack("!BHH4sB", 4, local_as, hold, b"\x0a\xff\x00\x09", len(options)) + options)


def reach(prefixes: bytes, next_hop: bytes, local_as: int) -> bytes:
    """An UPDATE with MP_REACH for an IPv4 prefix with an IPv6 next hop."""
    path = b"\x40\x01\x01\x00" + b"\x40\x02\x06\x02\x01" + struct.pack("!I", local_as)
    inside = b"\x00\x01\x01\x10" + next_hop + b"\x00" + prefixes
    attributes = path + b"\x80\x0e" + bytes((len(inside),)) + inside
    return bgp_message(UPDATE, struct.pack("!HH", 0, len(attributes)) + attributes)


def received(link: socket.socket, seconds: float) -> bytes:
    """All bytes that the other side sends within a time, or until it closes the connection."""
    data, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        link.settimeout(left)
        try:
            piece = link.recv(65536)
        except OSError:
            return data
        if not piece:
            return data
        data += piece
    return data


def kinds(data: bytes) -> list[int]:
    """The types of the messages in a stream."""
    found = []
    while len(data) >= 19:
        length, kind = struct.unpack_from("!HB", data, 16)
        found.append(kind)
        data = data[max(19, length) :]
    return found


def what_to_say(mode: str, local_as: int, address: str, prefixes: bytes) -> list[bytes]:
    """The messages that follow our OPEN and KEEPALIVE."""
    hop = socket.inet_pton(socket.AF_INET6, address)
    if mode == "malformed":
        return [bgp_message(UPDATE, struct.pack("!HH", 0, 7) + b"\x40\x01\x01\x09\x40\x02\xff")]
    if mode == "notification":
        return [bgp_message(NOTIFICATION, b"\x06\x02" + b"x" * 4000)]
    if mode == "routes":
        return [reach(prefixes, hop, local_as)]
    return []


def session(link: socket.socket, mode: str, local_as: int, address: str, prefixes: bytes) -> dict[str, object]:
    """One session in one mode: `malformed-open`, `malformed`, `notification`, `routes`, `hold:N`."""
    heard = received(link, 0.3)
    body = heard[19:] if heard[18:19] == bytes((OPEN,)) else b""
    if mode == "malformed-open":
        link.sendall(BGP_MARKER + struct.pack("!HB", 4096, OPEN) + b"\xee" * 200)
    else:
        hold = int(mode.partition(":")[2] or 240)
        link.sendall(opening(local_as, hold) + bgp_message(KEEPALIVE))
        later = received(link, 0.3)
        for words in what_to_say(mode, local_as, address, prefixes):
            link.sendall(words)
        heard += later
    heard += received(link, LISTEN_SECONDS)
    return {"mode": mode, "capabilities": bgp_capabilities(body[10:]), "heard": kinds(heard)}


def main() -> None:
    """Serve the modes in turn, until the input closes or the last mode is done."""
    address, local_as, prefixes = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, 179))
    listener.listen(8)
    listener.settimeout(12)
    say: Callable[[str], object] = sys.stdout.write
    for mode in sys.argv[4:]:
        try:
            link, peer = listener.accept()
        except TimeoutError:
            say(json.dumps({"mode": mode, "error": "nobody came"}) + "\n")
            continue
        with link:
            try:
                found = session(link, mode, local_as, address, prefixes)
            except OSError as error:
                found = {"mode": mode, "error": str(error)}
            say(json.dumps({"peer": peer[0], **found}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
