"""Simulates a slow fabric: copies the best paths from BIRD's table to the main one, some time after they change.

It runs as a file in the fabric: `follower.py TABLE DELAY_FILE`, standard library only. It reads the delay in
milliseconds at each change, so the delay can be changed while routes are in place.
"""

from __future__ import annotations

import selectors
import subprocess
import sys
import time
from pathlib import Path

METRIC = 32
PROTOCOL = "bird"


def best_paths(table: str) -> dict[str, str]:
    """Every IPv4 route in `table`: destination → the rest of the route, as `ip route` arguments."""
    shown = subprocess.run(
        ["ip", "-o", "-4", "route", "show", "table", table], capture_output=True, text=True, check=False
    )
    found = {}
    for line in shown.stdout.splitlines():
        destination, _, rest = line.replace("\\", " ").partition(" ")
        found[destination] = without_metric(rest)
    return found


def without_metric(words: str) -> str:
    """`words` of a route without its protocol and metric; the copy has its own."""
    kept = words.split()
    for key in ("proto", "metric", "onlink"):
        if key in kept:
            place = kept.index(key)
            del kept[place : place + (1 if key == "onlink" else 2)]
    return " ".join(kept)


def apply(old: dict[str, str], new: dict[str, str]) -> None:
    """Change the copies in the main table from `old` to `new`."""
    changed = {to: how for to, how in new.items() if old.get(to) != how}
    lines = [f"route replace {to} {how} proto {PROTOCOL} metric {METRIC}" for to, how in changed.items()]
    lines += [f"route del {to} metric {METRIC}" for to in old if to not in new]
    if lines:
        script = "\n".join(lines) + "\n"
        print("\n".join(lines), flush=True)  # noqa: T201 - the service's log
        subprocess.run(["ip", "-force", "-batch", "-"], input=script, text=True, check=False)


def follow(table: str, delay_file: Path) -> None:
    """Copy for ever: what is there now at once, then each change after its delay."""
    monitor = subprocess.Popen(["ip", "-o", "monitor", "route"], stdout=subprocess.PIPE)
    if monitor.stdout is None:
        return
    events = selectors.DefaultSelector()
    events.register(monitor.stdout, selectors.EVENT_READ)
    copied: dict[str, str] = {}
    pending = [(0.0, best_paths(table))]
    while monitor.poll() is None:
        rest = max(0.0, pending[0][0] - time.monotonic()) if pending else None
        for key, _ in events.select(rest):
            if f"table {table}".encode() in monitor.stdout.read1(65536):  # type: ignore[attr-defined]
                delay = int(delay_file.read_text()) / 1000
                pending.append((time.monotonic() + delay, best_paths(table)))
            del key
        while pending and pending[0][0] <= time.monotonic():
            _, wanted = pending.pop(0)
            apply(copied, wanted)
            copied = wanted


if __name__ == "__main__":
    follow(sys.argv[1], Path(sys.argv[2]))
