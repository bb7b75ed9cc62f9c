"""A listening socket inside a network namespace for a process that stays outside."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from natpair.errors import CommandFailed, LabError
from natpair_lab.testbed.netns import batch
from natpair_lab.testbed.spawn import CLONE_NEWNET, NETNS_FOLDER, join_namespace
from natpair_lab.testbed.topology import Topology

PORT = 80
_UPLINK = "eth0"


def open_door(namespace: str, plan: Topology) -> socket.socket:
    """Listen at the lab's address of the API, on its internet host; LabError if that cannot be.

    The socket keeps the namespace alive: close it, and what was accepted by it, before the lab is taken away.
    """
    with suppress(CommandFailed):  # there already, from a process that served before
        batch([f"addr add {plan.api} dev {_UPLINK}"], netns=namespace)
    # A namespace is a matter of each thread: this one enters, leaves the socket to us, and ends.
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(_listen, f"{NETNS_FOLDER}/{namespace}", str(plan.api.ip)).result()
    except OSError as error:
        raise LabError(f"cannot listen on {plan.api.ip}:{PORT} inside the lab: {error}") from error


def _listen(namespace: str, address: str) -> socket.socket:
    join_namespace(namespace, CLONE_NEWNET)
    return socket.create_server((address, PORT))
