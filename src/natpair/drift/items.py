"""Checks and repairs of what the kernel and the disk must have on a node, one class for each kind of thing.

Each kind gets its expected values from the rendered files or the model. None defines values itself.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from pyroute2 import AsyncIPRoute, NetlinkError

from natpair.core import paths
from natpair.core.model import Node
from natpair.core.placement import own_addresses
from natpair.core.rendered import RenderedFile
from natpair.core.repair import Wrong
from natpair.errors import CommandFailed
from natpair.system import sysctl
from natpair.system.files import read_if_there, write_atomic
from natpair.system.links import RELAY_METRIC, SPARE_METRIC, SPARE_PROTOCOL, index_of, interface_named
from natpair.system.process import arun
from natpair.system.rtnetlink import delete_rule, rtnetlink

_SECONDS = 5.0
_TABLE_MAIN, TABLE_LOCAL = 254, 255
_DAD_FAILED = 0x08
_TICKS = 100
"""rta_expires counts in USER_HZ."""
_EXPIRES_SOON = 30.0
"""Seconds; more than the time between two checks of everything."""
_UNICAST, _BLACKHOLE = 1, 6
_MAIN_RULE, _DEFAULT_RULE = 32766, 32767
_SOMEWHERE = "192.0.0.8"
"""A public address that no machine has (RFC 7600), used to ask the kernel where a packet to the internet would go."""
_FILE_SECONDS = 10.0
"""Seconds for putting a file back and reloading its daemon. A disk that takes longer hangs."""
_BYTECODE = re.compile(r'bytecode ["\']([^"\']+)["\']')


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong and its repair. `repair` is None if natpair may not repair it."""

    wrong: Wrong
    repair: Callable[[], Awaitable[None]] | None


class Kept(Protocol):
    """One kind of thing that is kept. `noticed`: the kernel sends a notice when it changes."""

    @property
    def noticed(self) -> bool:
        """True if a check can wait for a notice."""

    async def findings(self) -> list[Finding]:
        """What is wrong now. OSError or CommandFailed if it cannot be checked."""


T = TypeVar("T")


class Aside(Protocol):
    """Does work that may wait for a disk, while the caller's other tasks continue."""

    async def __call__(self, name: str, work: Callable[[], T], seconds: float = ..., /) -> T:
        """The result of `work`. OSError if there is none in time."""


async def at_once(_name: str, work: Callable[[], T], _seconds: float = 0.0, /) -> T:
    """An `Aside` for callers without other tasks: it simply waits."""
    return work()


class Sysctls:
    """Keeps the values of the rendered sysctl.d file, except those that this kernel or namespace refuses."""

    noticed: ClassVar[bool] = False

    def __init__(self, text: str, *, root: Path = sysctl.PROC_SYS) -> None:
        self._wanted = sysctl.parse(text)
        self._root = root
        optional = {a.key for a in sysctl.differing(self._wanted, root=root) if a.optional}
        self._unmanageable = frozenset(optional)

    async def findings(self) -> list[Finding]:
        """Every key whose value differs from the file's."""
        differing = sysctl.differing(self._wanted, root=self._root)
        wrong = [a for a in differing if a.key not in self._unmanageable and not sysctl.lacks_interface(a, self._root)]
        return [self._finding(assignment) for assignment in wrong]

    def _finding(self, assignment: sysctl.Assignment) -> Finding:
        async def repair() -> None:
            (self._root / assignment.key).write_text(assignment.value + "\n")

        found = read_if_there(self._root / assignment.key) or "nothing"
        return Finding(Wrong(f"sysctl {assignment.key}", found.strip(), assignment.value), repair)


class Files:
    """Keeps the rendered files that were as rendered when the agent started. The rest waits for an `apply`."""

    noticed: ClassVar[bool] = False

    def __init__(
        self,
        bundle: Sequence[RenderedFile],
        ours: Callable[[], bool],
        tell: Callable[[str], None],
        aside: Aside = at_once,
    ) -> None:
        self._watched = tuple(file for file in bundle if _stands(file))
        self._ours = ours
        self._tell = tell
        self._aside = aside

    async def findings(self) -> list[Finding]:
        """Every file with a different text; none while another configuration is being applied."""
        return [self._finding(*found) for found in await self._aside("files", self._look)]

    def _look(self) -> list[tuple[RenderedFile, bool]]:
        wrong = [file for file in self._watched if not _stands(file)]
        return [(file, Path(file.path).exists()) for file in wrong] if wrong and self._ours() else []

    def _put_back(self, file: RenderedFile) -> None:
        write_atomic(Path(file.path), file.text, mode=file.mode, sync=False)
        self._tell(file.path)

    def _finding(self, file: RenderedFile, there: bool) -> Finding:
        async def repair() -> None:
            await self._aside(f"repair {file.path}", lambda: self._put_back(file), _FILE_SECONDS)

        return Finding(Wrong(file.path, "another text" if there else "nothing", "as rendered"), repair)


class Addresses:
    """Keeps the node's own addresses in place, and FIPs off every interface.

    An address that was seen on its interface since the boot is put back. One that never was is not natpair's to
    add: it may be a mistake in the file, or another machine's address. It is reported until it appears.
    """

    noticed: ClassVar[bool] = True

    def __init__(
        self, node: Node, fips: Iterable[IPv4Address], record: Path | None = None, *, only_look: bool = False
    ) -> None:
        self._only_look = only_look
        self._own: tuple[tuple[str, IPv4Interface | IPv6Interface], ...] = tuple(
            (interface, own) for _, interface, own in own_addresses(node)
        )
        self._fips = {str(fip) for fip in fips}
        self._record = record or Path(paths.SEEN_ADDRESSES)
        self._seen = _recorded(self._record) & {_place(*entry) for entry in self._own}

    async def findings(self) -> list[Finding]:
        """Own addresses that are missing or not usable on their link, and FIPs that are on an interface."""
        async with rtnetlink() as route:
            messages = [message async for message in await route.get_addr()]
        there = [_address(message) for message in messages]
        refused = {_address(message)[:2] for message in messages if message["flags"] & _DAD_FAILED}
        present = {(index, address) for index, address, _ in there}
        found = [self._local_fip(*entry) for entry in there if entry[1] in self._fips]
        seen = set(self._seen)
        for interface, own in self._own:
            index = index_of(interface)
            if index is None:
                continue
            if (index, str(own.ip)) in refused:
                found.append(self._refused(interface, index, own))
            elif (index, str(own.ip)) in present:
                seen.add(_place(interface, own))
            elif _place(interface, own) in self._seen:
                found.append(self._missing(interface, index, own))
            else:
                found.append(Finding(Wrong(f"address {own.ip}", f"never seen on {interface}", str(own)), None))
        self._remember(seen)
        return found

    def _remember(self, seen: set[str]) -> None:
        """Save them in /run for the agent's next start. After a reboot the network configuration has to add them."""
        if seen != self._seen and not self._only_look:
            self._seen = seen
            with contextlib.suppress(OSError):
                write_atomic(self._record, json.dumps(sorted(seen)) + "\n", mode=0o600, sync=False)

    def _refused(self, interface: str, index: int, own: IPv4Interface | IPv6Interface) -> Finding:
        async def repair() -> None:
            async with rtnetlink() as route:
                # Skip duplicate address detection: gateway.toml says whose address it is, and the kernel never tests it
                # again.
                await route.addr("del", index=index, address=str(own.ip), prefixlen=own.network.prefixlen)
                await route.addr("add", index=index, address=str(own.ip), prefixlen=own.network.prefixlen, flags=2)

        wanted = f"usable on {interface}"
        return Finding(Wrong(f"address {own.ip}", "refused as a duplicate (dadfailed)", wanted), repair)

    def _missing(self, interface: str, index: int, own: IPv4Interface | IPv6Interface) -> Finding:
        async def repair() -> None:
            async with rtnetlink() as route:
                extra = {} if own.version == 4 else {"flags": 2}  # IFA_F_NODAD: it was ours a moment ago
                await route.addr("replace", index=index, address=str(own.ip), prefixlen=own.network.prefixlen, **extra)

        return Finding(Wrong(f"address {own.ip}", f"not on {interface}", f"{own} on {interface}"), repair)

    def _local_fip(self, index: int, address: str, length: int) -> Finding:
        async def repair() -> None:
            async with rtnetlink() as route:
                await route.addr("del", index=index, address=address, prefixlen=length)

        return Finding(
            Wrong(f"address {address}", f"local, on {interface_named(index)}", "a FIP is never local"), repair
        )


class Routes:
    """Keeps the FIPs' blackhole routes, removes routes that override them, and restores lost default routes.

    A default route from a router advertisement may expire. The kernel then still lists it, but does not use it.
    """

    def __init__(
        self,
        fips: Iterable[IPv4Address],
        public: str,
        metric: int,
        record: Path | None = None,
        *,
        only_look: bool = False,
    ) -> None:
        self._only_look = only_look
        self._fips = {str(fip) for fip in fips}
        self._public = public
        self._metric = metric
        self._expires_soon = False
        self._record = record or Path(paths.NEXT_HOPS)
        self._recorded = self.hops = _recorded_hops(self._record, public)
        """The next hop of the default route on the public interface as last seen, by address family."""

    @property
    def noticed(self) -> bool:
        """False while a default route may expire soon, because the kernel sends no notice of that."""
        return not self._expires_soon

    async def findings(self) -> list[Finding]:
        """Missing blackholes, other tools' routes to a FIP, and lost default routes."""
        async with rtnetlink() as route:
            routes = [m async for m in await route.get_routes(family=socket.AF_INET, table=_TABLE_MAIN)]
            routes += [m async for m in await route.get_routes(family=socket.AF_INET6, table=_TABLE_MAIN)]
        to_fips = [m for m in routes if m.get_attr("RTA_DST") in self._fips and m["dst_len"] == 32]
        holes = {m.get_attr("RTA_DST") for m in to_fips if self._is_hole(m)}
        found = [self._no_hole(fip) for fip in sorted(self._fips - holes)]
        found += [self._foreign(m) for m in to_fips if not self._is_hole(m) and not _is_relay(m)]
        return [*found, *self._lost_defaults(routes)]

    def _is_hole(self, message: Any) -> bool:
        return bool(message["type"] == _BLACKHOLE and message.get_attr("RTA_PRIORITY") == self._metric)

    def _no_hole(self, fip: str) -> Finding:
        async def repair() -> None:
            async with rtnetlink() as route:
                await route.route("replace", dst=f"{fip}/32", type="blackhole", priority=self._metric)

        return Finding(Wrong(f"blackhole route {fip}", "none", f"metric {self._metric}"), repair)

    def _foreign(self, message: Any) -> Finding:
        fip, metric = message.get_attr("RTA_DST"), message.get_attr("RTA_PRIORITY") or 0

        async def repair() -> None:
            async with rtnetlink() as route:
                same = {"priority": metric, "type": message["type"], "scope": message["scope"]}
                await route.route("del", dst=f"{fip}/32", **same)

        return Finding(Wrong(f"route {fip}", f"a foreign one, metric {metric}", "only natpair's own"), repair)

    def _lost_defaults(self, routes: list[Any]) -> list[Finding]:
        index = index_of(self._public)
        listed = [m for m in routes if m["dst_len"] == 0 and m["type"] == _UNICAST and m.get_attr("RTA_OIF") == index]
        usable = [m for m in listed if _left(m) > 0]
        self.hops = dict(self.hops)
        self._expires_soon = any(0 < _left(m) < _EXPIRES_SOON for m in listed)
        # The best one comes last, so that it is kept. An expired one is better than none.
        for message in sorted(listed, key=lambda m: (_left(m) > 0, not _is_spare(m), -_metric(m))):
            if message.get_attr("RTA_GATEWAY") and (message in usable or message["family"] not in self.hops):
                self.hops[message["family"]] = message.get_attr("RTA_GATEWAY")
        if self.hops != self._recorded and not self._only_look:
            # Saved in /run for the agent's next start, which may happen while the route is missing.
            self._recorded = self.hops
            with contextlib.suppress(OSError):
                hops = {str(family): hop for family, hop in self.hops.items()}
                write_atomic(self._record, json.dumps({self._public: hops}) + "\n", mode=0o600, sync=False)
        if index is None:
            return []
        there = {m["family"] for m in usable}
        return [self._no_default(family, hop, index) for family, hop in self.hops.items() if family not in there]

    def _no_default(self, family: int, hop: str, index: int) -> Finding:
        async def repair() -> None:
            everything = "0.0.0.0/0" if family == socket.AF_INET else "::/0"
            spare = {"priority": SPARE_METRIC, "proto": SPARE_PROTOCOL}
            async with rtnetlink() as route:
                await route.route("replace", dst=everything, gateway=hop, oif=index, family=family, **spare)

        name = "IPv4" if family == socket.AF_INET else "IPv6"
        return Finding(Wrong(f"{name} default route", "none", f"via {hop} on {self._public}"), repair)


class Rules:
    """Keeps policy routing right: the main table is used, and no foreign rule sends clients' packets elsewhere.

    A rule that does not concern clients (a VPN's, a container's) is ignored. A rule for some clients or
    some destinations is tested with a packet that matches it, if clients may go there at all.
    """

    noticed: ClassVar[bool] = True

    def __init__(self, node: Node, network: IPv4Network, off_limits: Sequence[IPv4Network] = ()) -> None:
        self._private, self._public = node.private_interface, node.public_interface
        self._network = network
        self._off_limits = tuple(off_limits)
        self._client = str(network.broadcast_address - 1)

    async def findings(self) -> list[Finding]:
        """Missing rules of the kernel itself, and foreign rules without a mark that misroute clients' packets."""
        async with rtnetlink() as route:
            rules = [m async for m in await route.get_rules(family=socket.AF_INET)]
            sixes = [m async for m in await route.get_rules(family=socket.AF_INET6)]
            lost = [*_lost_rules(socket.AF_INET, rules), *_lost_rules(socket.AF_INET6, sixes)]
            if lost:
                return lost
            aliens = [m for m in rules if m.get_attr("FRA_PRIORITY") not in {None, _MAIN_RULE, _DEFAULT_RULE}]
            unmarked = [m for m in aliens if m.get_attr("FRA_FWMARK") is None]
            everywhere = await self._misrouted(route, self._client, _SOMEWHERE)
            if everywhere and not unmarked:
                return [Finding(Wrong("routing", everywhere, f"clients leave on {self._public}"), None)]
            checked = [(m, everywhere or await self._misrouted_by(route, m)) for m in unmarked]
        return [self._alien(m, found) for m, found in checked if found]

    async def _misrouted_by(self, route: AsyncIPRoute, rule: Any) -> str:
        """Where a client's packet that matches `rule` goes; empty if that is right or no such packet exists."""
        source, target = _selector(rule, "FRA_SRC", "src_len"), _selector(rule, "FRA_DST", "dst_len")
        if not source.overlaps(self._network) or any(target.subnet_of(net) for net in self._off_limits):
            return ""
        smaller = source if source.subnet_of(self._network) else self._network
        return await self._misrouted(route, _inside(smaller), _inside(target) if target.prefixlen else _SOMEWHERE)

    async def _misrouted(self, route: AsyncIPRoute, source: str, target: str) -> str:
        """Where a client's packet would go instead of the WAN; empty if it goes to the WAN or a link is missing."""
        private, public = index_of(self._private), index_of(self._public)
        if private is None or public is None:
            return ""
        try:
            query = {"dst": target, "src": source, "iif": private, "family": socket.AF_INET}
            (answer,) = await route.route("get", **query)
        except NetlinkError as error:
            return f"clients get {error.args[-1]}"
        out = answer.get_attr("RTA_OIF")
        return "" if out == public else f"clients leave on {interface_named(out) if out else 'nothing'}"

    def _alien(self, message: Any, found: str) -> Finding:
        priority = message.get_attr("FRA_PRIORITY")

        async def repair() -> None:
            await delete_rule(message)

        return Finding(Wrong(f"ip rule {priority}", found, f"clients leave on {self._public}"), repair)


class Guard:
    """Keeps the egress filter of the rendered guard.tc on the public interface."""

    noticed: ClassVar[bool] = True

    def __init__(self, text: str, public: str) -> None:
        self._text = text
        self._public = public
        self._program = _BYTECODE.search(text)

    async def findings(self) -> list[Finding]:
        """One finding if the filter is missing or has a different program."""
        if index_of(self._public) is None or self._program is None:
            return []
        try:
            done = await arun(["tc", "filter", "show", "dev", self._public, "egress"], timeout=_SECONDS)
        except CommandFailed as error:
            if error.rc is None:
                raise
            seen = ""
        else:
            seen = done.stdout
        if any(match[1] == self._program[1] for match in _BYTECODE.finditer(seen)) and "direct-action" in seen:
            return []
        return [
            Finding(Wrong("egress guard", "another program" if seen.strip() else "none", "as rendered"), self._repair)
        ]

    async def _repair(self) -> None:
        await arun(["tc", "-batch", "-"], stdin=self._text, timeout=_SECONDS)


def _lost_rules(family: int, rules: list[Any]) -> list[Finding]:
    """The missing ones of the kernel's rules for the local and the main table."""
    tables = {m.get_attr("FRA_TABLE") for m in rules}
    own = ((TABLE_LOCAL, "local", 0), (_TABLE_MAIN, "main", _MAIN_RULE))
    return [_no_rule(family, *one) for one in own if one[0] not in tables]


def _no_rule(family: int, table: int, name: str, priority: int) -> Finding:
    async def repair() -> None:
        async with rtnetlink() as route:
            await route.rule("add", priority=priority, table=table, family=family)

    command = "ip rule" if family == socket.AF_INET else "ip -6 rule"
    return Finding(Wrong(f"{command} {name}", "none", f"the {name} table is asked"), repair)


def _stands(file: RenderedFile) -> bool:
    # Read bytes, because another program may have written something that is not text.
    try:
        with open(file.path, "rb", buffering=0) as stream:  # noqa: PTH123 - all files every two seconds: half of pathlib's time
            return stream.read() == file.text.encode()
    except FileNotFoundError:
        return False


def _place(interface: str, own: IPv4Interface | IPv6Interface) -> str:
    return f"{interface} {own}"


def _recorded_hops(record: Path, interface: str) -> dict[int, str]:
    """The default routes on `interface` that an earlier agent of this boot has saved."""
    try:
        known = json.loads(read_if_there(record) or "{}").get(interface, {})
        return {int(family): str(hop) for family, hop in known.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _recorded(record: Path) -> set[str]:
    try:
        return set(map(str, json.loads(read_if_there(record) or "[]")))
    except (OSError, ValueError, TypeError):
        return set()


def _address(message: Any) -> tuple[int, str, int]:
    return message["index"], message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"), message["prefixlen"]


def _selector(rule: Any, attribute: str, length: str) -> IPv4Network:
    """The addresses that a rule matches; all if it names none."""
    # The kernel keeps host bits as typed, as in `ip rule add from 10.0.0.5/24`.
    return IPv4Network((rule.get_attr(attribute) or 0, rule[length]), strict=False)


def _inside(network: IPv4Network) -> str:
    return str(network[-2] if network.num_addresses > 2 else network[0])


def _is_relay(message: Any) -> bool:
    return bool(message["type"] == _UNICAST and message.get_attr("RTA_PRIORITY") == RELAY_METRIC)


def _left(route: Any) -> float:
    """Seconds for which a route will still be used; infinite for most."""
    ticks = (route.get_attr("RTA_CACHEINFO") or {}).get("rta_expires", 0)
    return float(ticks) / _TICKS if ticks else math.inf


def _metric(route: Any) -> int:
    return int(route.get_attr("RTA_PRIORITY") or 0)


def _is_spare(route: Any) -> bool:
    return bool(route["proto"] == SPARE_PROTOCOL)
