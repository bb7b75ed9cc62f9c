"""Remove from the kernel what natpair added since boot and does not need any more.

A ledger in /run lists what natpair changed; like the kernel's state, it is gone after a reboot. Code that changes the
kernel for an apply first writes to the ledger. `tidy` compares the ledger with the files on disk. So a rollback, or an
apply that drops a setting, leaves nothing behind, however it ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from natpair.core import paths
from natpair.errors import CommandFailed, DaemonError
from natpair.system import sysctl
from natpair.system.files import read_if_there, write_atomic
from natpair.system.links import RELAY_METRIC
from natpair.system.process import run
from natpair.system.wait import poll

_SECONDS = 10.0
_POLL_SECONDS = 0.1
LEDGER = Path(paths.LEDGER)
_BLACKHOLE = re.compile(r"^route replace blackhole (\S+) metric (\d+)$", re.MULTILINE)
_GUARDED = re.compile(r"^filter replace dev (\S+) egress", re.MULTILINE)
_PEER = re.compile(r"ether saddr != \S+ ip saddr ([\d.]+) ")
_PRIVATE = re.compile(r"^\s+interface (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Ledger:
    """`sysctls`: the earlier value of each key. `guards`: interfaces, and whether they had a clsact before.

    `routes`: blackholes as "FIP/32 metric N". `addresses` and `peers` (pinned neighbours): "INTERFACE ADDRESS".
    """

    sysctls: dict[str, str] = field(default_factory=dict)
    guards: dict[str, bool] = field(default_factory=dict)
    routes: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)


def read(path: Path | None = None) -> Ledger:
    """The ledger of this boot; an empty ledger if there is none or it is damaged."""
    try:
        return Ledger(**json.loads(read_if_there(path or LEDGER) or "{}"))
    except (ValueError, TypeError):
        return Ledger()


def _change(edit: Callable[[Ledger], object], path: Path | None = None) -> None:
    before, after = read(path), read(path)
    edit(after)
    if after != before:
        _write(after, path or LEDGER)


def _write(ledger: Ledger, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(asdict(ledger)) + "\n", mode=0o600, sync=False)


def note_sysctls(assignments: Iterable[sysctl.Assignment]) -> None:
    """Call before `assignments` are set: record the present values that differ, unless natpair set them before."""
    found = {a.key: value for a in sysctl.differing(assignments) if (value := sysctl.current(a)) is not None}
    _change(lambda ledger: ledger.sysctls.update({k: v for k, v in found.items() if k not in ledger.sysctls}))


def note_routes(text: str) -> None:
    """Call before the batch of routes `text` is run: record its blackhole routes."""
    _change(lambda ledger: _add(ledger.routes, _blackholes(text)))


def note_guard(text: str) -> None:
    """Call before the batch of tc commands `text` is run: record its interfaces."""
    there = {interface: _has_clsact(interface) for interface in _GUARDED.findall(text)}
    _change(lambda ledger: ledger.guards.update({k: v for k, v in there.items() if k not in ledger.guards}))


def note_peer(interface: str, address: str) -> None:
    """Call before the neighbour entry of `address` is pinned: record it."""
    _change(lambda ledger: _add(ledger.peers, [f"{interface} {address}"]))


def add_address(interface: str, address: str) -> None:
    """Record that natpair must later remove `address` (with its length), and add it to `interface`.

    Raise DaemonError if the kernel finds an IPv6 address in use on another machine (RFC 4862).
    """
    _change(lambda ledger: _add(ledger.addresses, [f"{interface} {address}"]))
    run(["ip", "address", "replace", address, "dev", interface], timeout=_SECONDS)

    def usable() -> bool:
        flags = _flags(interface, address.split("/")[0])
        if "dadfailed" in flags:
            raise DaemonError(f"{address} is in use by another machine on the link of {interface}")
        return not flags

    poll(usable, deadline_seconds=_SECONDS, poll_seconds=_POLL_SECONDS)


def tidy() -> None:
    """Remove everything in the ledger that the files on disk do not need."""
    ledger = read()
    for part in (_tidy_addresses, _tidy_peers, _tidy_routes, _tidy_guards, _tidy_sysctls):
        part(ledger)
    _write(ledger, LEDGER)


def _flags(interface: str, address: str) -> set[str]:
    """Which of the flags tentative and dadfailed `address` has; none means that it can be used."""
    shown = json.loads(run(["ip", "-json", "address", "show", "dev", interface], timeout=_SECONDS).stdout or "[]")
    entries = [entry for link in shown for entry in link.get("addr_info", ()) if entry.get("local") == address]
    return {flag for flag in ("tentative", "dadfailed") for entry in entries if entry.get(flag)}


def _add(known: list[str], more: Iterable[str]) -> None:
    known += [entry for entry in more if entry not in known]


def _text(path: str) -> str:
    return read_if_there(Path(path)) or ""


def _blackholes(text: str) -> list[str]:
    return [f"{fip} metric {metric}" for fip, metric in _BLACKHOLE.findall(text)]


def _gone(*argv: str) -> None:
    """Run a command that removes something. It may fail, because the thing or its interface may be gone already."""
    try:
        run(argv, timeout=_SECONDS)
    except CommandFailed as error:
        if error.rc is None:
            raise


def _unwanted(entries: list[str], wanted: Callable[[str], bool]) -> Iterator[list[str]]:
    """Yield each unwanted entry, split at spaces, and remove it from `entries`."""
    for entry in [entry for entry in entries if not wanted(entry)]:
        yield entry.split()
        entries.remove(entry)


def _tidy_addresses(ledger: Ledger) -> None:
    words = set(re.findall(r"[\w.:]+", _text(paths.APPLIED)))
    for interface, address in _unwanted(ledger.addresses, lambda entry: entry.split()[1].split("/")[0] in words):
        _gone("ip", "address", "del", address, "dev", interface)


def _tidy_peers(ledger: Ledger) -> None:
    # The peer's address is in the peer guard, its interface in Keepalived's configuration.
    addresses, links = _PEER.findall(_text(paths.PEER_GUARD)), _PRIVATE.findall(_text(paths.KEEPALIVED_CONF))
    pinned = {f"{interface} {address}" for interface in links[:1] for address in addresses}
    for interface, address in _unwanted(ledger.peers, pinned.__contains__):
        _gone("ip", "neigh", "del", address, "dev", interface)


def _tidy_routes(ledger: Ledger) -> None:
    wanted = _blackholes(_text(paths.ROUTES))
    for fip, _, metric in _unwanted(ledger.routes, wanted.__contains__):
        _gone("ip", "route", "del", "blackhole", fip, "metric", metric)
        _gone("ip", "route", "del", fip, "metric", str(RELAY_METRIC))


def _tidy_guards(ledger: Ledger) -> None:
    wanted = _GUARDED.findall(_text(paths.GUARD))
    for interface in [one for one in ledger.guards if one not in wanted]:
        _gone("tc", "filter", "del", "dev", interface, "egress", "pref", "1", "handle", "1", "protocol", "ip", "bpf")
        if not ledger.guards.pop(interface) and not _filters(interface):
            _gone("tc", "qdisc", "del", "dev", interface, "clsact")


def _tidy_sysctls(ledger: Ledger) -> None:
    wanted = {a.key for path in (paths.SYSCTL, paths.FORWARDING) for a in sysctl.parse(_text(path))}
    for key in [key for key in ledger.sysctls if key not in wanted]:
        sysctl.put(key, ledger.sysctls.pop(key))


def _has_clsact(interface: str) -> bool:
    return "clsact" in run(["tc", "qdisc", "show", "dev", interface], timeout=_SECONDS, ok=(0, 1)).stdout


def _filters(interface: str) -> bool:
    shown = [
        run(["tc", "filter", "show", "dev", interface, way], timeout=_SECONDS, ok=(0, 1, 2)).stdout
        for way in ("ingress", "egress")
    ]
    return any(shown)
