"""Disk, power and deletion of a lab node that is a Linode: what the platform does to a machine, besides faults."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

from natpair.errors import LabError
from natpair.render.services import AGENT, HANDOVER
from natpair_lab.testbed import build, node
from natpair_lab.testbed.userdata import Seed
from natpair_lab.testbed.world import Lab

_STOP_FIRST = (HANDOVER, AGENT)


def seed(lab: Lab, seeded: Seed) -> None:
    """Give a node that is off a new disk, according to its image and user data."""
    node.seed_disk(build.node_disk(lab.folder, seeded.node), seeded)


def boot(lab: Lab, name: str) -> None:
    """Power a node on. LabError if its boot fails; then it is off again."""
    try:
        lab.boot(name)
    except BaseException:
        lab.switch_off(name)
        raise


def shut_down(lab: Lab, name: str) -> None:
    """Stop a node's services as systemd does and switch it off; nothing happens if it is off.

    The services that must stop first are stopped one after the other, then the rest at once.
    """
    if not lab.powered(name):
        return
    try:
        services = [str(one["name"]) for one in reversed(lab.services(name)["services"])]
        for first in _STOP_FIRST:
            if first in services:
                services.remove(first)
                lab.service(name, first, "stop")
        with ThreadPoolExecutor(max(1, len(services))) as all_at_once:
            list(all_at_once.map(lambda service: lab.service(name, service, "stop"), services))
    except LabError:
        pass  # a host that does not answer any more is switched off, as a hypervisor does after its grace time
    lab.switch_off(name)


def erase(lab: Lab, name: str) -> None:
    """Cut a node's power if it is on, and delete its disk."""
    if lab.powered(name):
        lab.power_cut(name)
    shutil.rmtree(build.node_disk(lab.folder, name), ignore_errors=True)
