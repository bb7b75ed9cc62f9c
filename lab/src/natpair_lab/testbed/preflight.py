"""Checks whether this machine can run a lab.

Anything missing is an Unsupported with its fix, before anything is made.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from natpair.errors import LabError, Unsupported
from natpair.system.process import run
from natpair_lab.testbed.topology import Design

PROGRAMS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "bird": "bird2",
    "keepalived": "keepalived",
    "conntrackd": "conntrackd",
    "conntrack": "conntrack",
}
CLASSIC_PROGRAMS = {"gobgpd": "gobgpd", "gobgp": "gobgpd", "ping": "iputils-ping", "arping": "iputils-arping"}
_NAMESPACES = ("net", "mnt", "pid", "uts", "ipc")
_NAME_LIMIT = 20


def check(name: str, design: Design = Design.NATPAIR) -> None:
    """Unsupported or LabError if a lab called `name` cannot be built here."""
    if not name or len(name) > _NAME_LIMIT or not all(c.isascii() and (c.isalnum() or c == "-") for c in name):
        raise LabError(f"{name!r} cannot be the name of a lab", fix="1 to 20 letters, digits and hyphens")
    if platform.system() != "Linux":
        raise Unsupported("the lab needs a Linux kernel", fix="run it in a Linux machine, such as Debian 12")
    if os.geteuid() != 0:
        raise Unsupported("the lab needs root, to make network namespaces", fix="run it again with sudo")
    wanted = PROGRAMS | (CLASSIC_PROGRAMS if design is Design.CLASSIC else {})
    missing = sorted({package for program, package in wanted.items() if shutil.which(program) is None})
    if missing:
        raise Unsupported("programs are missing: " + ", ".join(missing), fix=f"apt-get install {' '.join(missing)}")
    absent = [ns for ns in _NAMESPACES if not Path("/proc/self/ns", ns).exists()]
    if absent:
        raise Unsupported(f"this kernel has no {', '.join(absent)} namespaces", fix="use a distribution kernel")


def check_bridge_filter(netns: str) -> None:
    """Unsupported if nftables cannot filter on a bridge here; tried in the lab's own namespace `netns`."""
    script = "add table bridge probe\ndelete table bridge probe\n"
    tried = run(["ip", "netns", "exec", netns, "nft", "-f", "-"], stdin=script, timeout=10, ok=(0, 1))
    if tried.rc != 0:
        raise Unsupported(
            "this kernel cannot filter on a bridge, which the lab needs to break cables",
            fix="load nf_tables_bridge, or use a kernel with CONFIG_NF_TABLES_BRIDGE",
        )
