"""Network namespaces and cables of the lab: made and removed in batches, and only under our own names.

The first `ip netns add` on a machine leaves a mount on /run/netns behind. The process that caused it writes `MARKER`.
The last lab to go removes the mount, if nobody else has a namespace there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from natpair.system.process import run
from natpair_lab.testbed.spawn import NETNS_FOLDER, libc
from natpair_lab.testbed.topology import BRIDGE, HostKind, Link, Topology, bridge_lines

LABS = Path("/run/natpair-lab")
MARKER = LABS / ".made-netns-folder"

_SECONDS = 20


def batch(lines: Iterable[str], *, netns: str | None = None, force: bool = False) -> None:
    """Run `lines` through one `ip -batch`, inside `netns` if given; CommandFailed with ip's message."""
    script = "\n".join(lines)
    if script:
        argv = ["ip", *(("-n", netns) if netns else ()), *(("-force",) if force else ()), "-batch", "-"]
        run(argv, stdin=script + "\n", timeout=_SECONDS, ok=(0, 1) if force else (0,))


def name_of(lab: str, host: str) -> str:
    """The network namespace of `host` in the lab called `lab`."""
    return f"np-{lab}-{host}"


def present() -> frozenset[str]:
    """The names of all network namespaces of this machine."""
    folder = Path(NETNS_FOLDER)
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def labs() -> frozenset[str]:
    """The names of the labs that have a folder, complete or half built."""
    found = LABS.iterdir() if LABS.is_dir() else ()
    return frozenset(path.name for path in found if not path.name.startswith("."))


def prepare_folder() -> None:
    """Record whether the mount that `ip netns add` makes is ours to remove later. `LABS` must exist."""
    if not is_mounted(NETNS_FOLDER):
        MARKER.touch()


def release_folder() -> None:
    """Undo `ip netns add`'s mount if a lab caused it and no lab and no namespace is left."""
    others = [path for path in LABS.iterdir() if path != MARKER] if LABS.is_dir() else []
    if others:
        return
    if MARKER.exists():
        # No MNT_DETACH: a mount that anybody uses stays.
        if is_mounted(NETNS_FOLDER) and not present() and libc.umount2(NETNS_FOLDER.encode(), 0) == 0:
            Path(NETNS_FOLDER).rmdir()
        MARKER.unlink(missing_ok=True)
    with suppress(OSError):  # another lab is being made right now
        LABS.rmdir()


def is_mounted(path: str) -> bool:
    """Whether something is mounted at `path`."""
    return any(line.split()[1] == path for line in Path("/proc/self/mounts").read_text().splitlines())


def create(lab: str, hosts: Sequence[str]) -> None:
    """Make the namespaces of `hosts`."""
    batch(f"netns add {name_of(lab, host)}" for host in hosts)


def remove(names: Iterable[str]) -> None:
    """Remove the namespaces `names` that exist. Cables with an end there go with them."""
    there = present()
    batch((f"netns del {name}" for name in names if name in there), force=True)


def wire(lab: str, topology: Topology, links: Sequence[Link]) -> None:
    """Make `links` between existing namespaces and connect their far ends to the switches."""
    batch(_cable(lab, link) for link in links)
    switches = [host.name for host in topology.hosts if host.kind is HostKind.SWITCH]
    for switch in switches:
        ports = [link.far.interface for link in links if link.far.host == switch]
        batch((f"link set {port} master {BRIDGE} up" for port in ports), netns=name_of(lab, switch))


def make_switches(lab: str, topology: Topology) -> None:
    """Make the bridges in the switches' namespaces."""
    for host in topology.hosts:
        if host.kind is HostKind.SWITCH:
            batch(bridge_lines(host.name), netns=name_of(lab, host.name))


def set_carrier(namespace: str, port: str, up: bool) -> None:
    """Turn a port on or off. Off removes the carrier at the other end of its cable."""
    run(["ip", "-n", namespace, "link", "set", port, "up" if up else "down"], timeout=_SECONDS)


def unplug(lab: str, links: Iterable[Link]) -> None:
    """Remove the cables `links` from their far ends; cables that are already gone are ignored."""
    for link in links:
        batch([f"link del {link.far.interface}"], netns=name_of(lab, link.far.host), force=True)


def _cable(lab: str, link: Link) -> str:
    near, far = link.near, link.far
    return (
        f"link add name {near.interface} netns {name_of(lab, near.host)} address {near.mac} "
        f"type veth peer name {far.interface} netns {name_of(lab, far.host)} address {far.mac}"
    )
