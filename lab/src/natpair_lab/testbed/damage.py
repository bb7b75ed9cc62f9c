"""What is broken in a running lab, read off the lab itself: for `natpair lab status`, and for `fault --repair`."""

from __future__ import annotations

from collections.abc import Iterator

from natpair.system.process import run
from natpair_lab.testbed import host, netns
from natpair_lab.testbed.topology import SWITCHES
from natpair_lab.testbed.world import Lab

POWER_CUT = "power-cut"
PARTITION = "partition"


def damage(lab: Lab, node: str) -> tuple[str, ...]:
    """The faults of `node`, called as `natpair lab fault` calls them."""
    if not lab.powered(node):
        return (POWER_CUT,)
    return (*_of_cables(lab, node), *_of_services(lab, node))


def _of_cables(lab: Lab, node: str) -> Iterator[str]:
    for switch in SWITCHES:
        port, faults = lab.port(node, switch), lab.switch_faults(switch)
        if not _is_up(lab, switch, port):
            yield f"{switch}-down"
        if port in faults.dead:
            yield f"{switch}-dead"
        if faults.partition is not None and port in faults.partition:
            yield PARTITION


def _is_up(lab: Lab, switch: str, port: str) -> bool:
    argv = ["ip", "-n", netns.name_of(lab.name, switch), "-o", "link", "show", "dev", port]
    flags = run(argv, timeout=10, ok=(0, 1)).stdout.partition("<")[2].partition(">")[0]
    return "UP" in flags.split(",")


def _of_services(lab: Lab, node: str) -> Iterator[str]:
    ref = lab.ref(node)
    for service in lab.services(node)["services"]:
        short = str(service["name"]).removeprefix(lab.parts.service_prefix)
        if service["state"] in ("failed", "restarting"):
            yield f"kill:{short}"
        elif service["pid"] is not None and _is_stopped(ref, int(service["pid"])):
            yield f"stop:{short}"


def _is_stopped(ref: host.InitRef, pid: int) -> bool:
    """Whether a process of the host, by its PID there, is stopped (state T of proc(5))."""
    try:
        return ref.path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
