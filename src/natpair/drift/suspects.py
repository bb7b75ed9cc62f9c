"""Programs known to change a machine's network configuration that run here: a hint at a cause, not a proof."""

from __future__ import annotations

import os
from pathlib import Path

KNOWN = frozenset(
    {
        "NetworkManager",
        "systemd-network",  # the kernel cuts names at 15 characters
        "firewalld",
        "ufw",
        "dockerd",
        "containerd",
        "podman",
        "libvirtd",
        "kubelet",
        "kube-proxy",
        "tailscaled",
        "wg-quick",
        "fail2ban-server",
        "dhclient",
        "dhcpcd",
        "netplan",
        "ansible-playboo",
        "puppet",
        "chef-client",
        "salt-minion",
        "ip",
        "nft",
        "iptables",
        "sysctl",
        "tc",
        "conntrack",
    }
)


def running(proc: Path = Path("/proc")) -> tuple[str, ...]:
    """The known names among this machine's processes, without our own children, sorted."""
    found = set()
    for comm in proc.glob("[0-9]*/comm"):
        try:
            name = _told(comm).strip()
        except OSError:
            continue
        if name in KNOWN and not _is_ours(comm.parent):
            found.add(name)
    return tuple(sorted(found))


def _told(file: Path) -> str:
    # A name may be any bytes, and the kernel cuts it at 15 bytes, possibly inside a character.
    return file.read_text(encoding="utf-8", errors="replace")


def _is_ours(process: Path) -> bool:
    """A child of this process, such as the `nft` that waits for its next ruleset."""
    try:
        stat = _told(process / "stat")
    except OSError:
        return False
    # The name, in parentheses, may have any character in it; state and parent follow (proc(5)).
    return stat.rpartition(")")[2].split()[1:2] == [str(os.getpid())]
