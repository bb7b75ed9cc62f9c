"""A throw-away machine: network and mount namespace with a node's interfaces, its own /run, /etc parts and /var/lib."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from natpair.core import paths
from natpair.core.model import Node

TESTS = Path(__file__).parents[1]
PRIVATE_FOLDERS = (
    "/run",
    "/var/lib",
    "/etc/natpair",
    "/etc/systemd",
    "/etc/sysctl.d",
    "/etc/modules-load.d",
    "/etc/tmpfiles.d",
    "/etc/needrestart",
)
COPY_OF_ETC = """
set -e
mount -t tmpfs none /mnt
cp -a /etc/. /mnt
mount --bind /mnt /etc
umount /mnt
"""


@dataclass(frozen=True)
class Scratch:
    """Runs commands inside; `pid` is the process that keeps the namespaces."""

    pid: int

    def argv(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "--", *argv]

    def run(self, *argv: str, stdin: str = "", ok: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self.argv(argv), input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in ok, f"{argv} gave {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def python(self, code: str, *args: str, ok: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        """Run Python code of the product inside, with the tests' helpers importable."""
        prelude = f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
        return self.run(sys.executable, "-c", prelude + code, *args, ok=ok)

    def natpair(self, *args: str, ok: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "natpair", *args, ok=ok)

    def give_key(self) -> None:
        """Lay a key that is fit for use where the example configuration has it: `apply` refuses to do without."""
        self.run("chmod", "600", self.write(paths.KEY, "k" * 32))

    def write(self, path: str, text: str) -> str:
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, stdin=text)
        return path


@contextmanager
def scratch_node(node: Node) -> Iterator[Scratch]:
    """A machine that has the interfaces and addresses of `node`; gone with all its processes' namespaces afterwards."""
    holder = subprocess.Popen(["unshare", "--mount", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        holder.stdin.write(b"up\n")  # echoed once unshare has become cat, inside the namespaces
        holder.stdin.flush()
        assert holder.stdout.readline() == b"up\n"
        scratch = Scratch(holder.pid)
        _furnish(scratch, node)
        yield scratch
    finally:
        holder.stdin.close()
        holder.wait(timeout=10)
        holder.stdout.close()


def _furnish(scratch: Scratch, node: Node) -> None:
    # A copy of /etc, so that folders the machine lacks are made here and not there: removing one there would take
    # away what another scratch node has mounted on it.
    scratch.run("sh", "-c", COPY_OF_ETC)
    for folder in PRIVATE_FOLDERS:
        scratch.run("mkdir", "-p", folder)
        scratch.run("mount", "-t", "tmpfs", "none", folder)
    scratch.run("mkdir", "-p", "/run/natpair/bird", "/run/natpair/track", "/run/natpair/keepalived")
    scratch.run("ip", "link", "set", "lo", "up")
    addresses = {
        node.private_interface: [str(node.private_address)],
        node.public_interface: [str(node.public_address), str(node.public_address6)],
    }
    for index, (interface, own) in enumerate(addresses.items()):
        scratch.run("ip", "link", "add", interface, "type", "veth", "peer", "name", f"far{index}")
        scratch.run("ip", "link", "set", f"far{index}", "up")
        scratch.run("ip", "link", "set", interface, "up")
        for address in own:
            scratch.run("ip", "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))
