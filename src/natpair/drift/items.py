"""What the kernel and the disk must hold on a node, piece by piece: looks, says what is wrong, and how to fix it.

Each kind is given what is wanted by the rendered files or the model; none of them has a desired of its own.
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
"""Seconds; more than the time between two looks at everything."""
_UNICAST, _BLACKHOLE = 1, 6
_MAIN_RULE, _DEFAULT_RULE = 32766, 32767
_SOMEWHERE = "192.0.0.8"
"""An address of the world that nobody has (RFC 7600): where would a packet for it go?"""
_FILE_SECONDS = 10.0
"""For a file to be put back and its daemon told; a disk that takes longer hangs."""
_BYTECODE = re.compile(r'bytecode ["\']([^"\']+)["\']')


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong and what puts it right; `repair` None: nothing that natpair may do."""

    wrong: Wrong
    repair: Callable[[], Awaitable[None]] | None


class Kept(Protocol):
    """One kind of thing that is watched. `noticed`: the kernel gives notice when it changes."""

    @property
    def noticed(self) -> bool:
        """Whether a look can wait for a notice."""

    async def findings(self) -> list[Finding]:
        """What is wrong now; OSError or CommandFailed if it cannot be looked at."""


T = TypeVar("T")


class Aside(Protocol):
    """Does what may wait for a disk without keeping the caller's other tasks waiting."""

    async def __call__(self, name: str, work: Callable[[], T], seconds: float = ..., /) -> T:
        """The answer of `work`; OSError if there is none in time."""


async def at_once(_name: str, work: Callable[[], T], _seconds: float = 0.0, /) -> T:
    """An `Aside` for those who have nothing else to do: waits."""
    return work()


class Sysctls:
    """The assignments of the rendered sysctl.d file, without those that this kernel or namespace refuses."""

    noticed: ClassVar[bool] = False

    def __init__(self, text: str, *, root: Path = sysctl.PROC_SYS) -> None:
        self._wanted = sysctl.parse(text)
        self._root = root
        optional = {a.key for a in sysctl.differing(self._wanted, root=root) if a.optional}
        self._unmanageable = frozenset(optional)

    async def findings(self) -> list[Finding]:
        """Every key with another value than the file's."""
        differing = sysctl.differing(self._wanted, root=self._root)
        wrong = [a for a in differing if a.key not in self._unmanageable and not sysctl.lacks_interface(a, self._root)]
        return [self._finding(assignment) for assignment in wrong]

    def _finding(self, assignment: sysctl.Assignment) -> Finding:
        async def repair() -> None:
            (self._root / assignment.key).write_text(assignment.value + "\n")

        found = read_if_there(self._root / assignment.key) or "nothing"
        return Finding(Wrong(f"sysctl {assignment.key}", found.strip(), assignment.value), repair)


class Files:
    """The rendered files. Watched are those that stood as rendered at the start: the rest waits for an `apply`."""

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
        """Every file with another text; none while somebody applies another configuration."""
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
    """The node's own addresses are there, and a FIP is nobody's.

    One that was seen on its interface since the machine booted is put back. One that never was is not natpair's to
    install: it may be a mistake in the file, or another machine's. It is named until it comes.
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
        """Own addresses that a link lacks or that may not be used there, and FIPs that have become local."""
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
        """For the agent's next start, in /run: after a reboot the machine's network configuration has to bring them."""
        if seen != self._seen and not self._only_look:
            self._seen = seen
            with contextlib.suppress(OSError):
                write_atomic(self._record, json.dumps(sorted(seen)) + "\n", mode=0o600, sync=False)

    def _refused(self, interface: str, index: int, own: IPv4Interface | IPv6Interface) -> Finding:
        async def repair() -> None:
            async with rtnetlink() as route:
                # Without another test: gateway.toml says whose it is, and the kernel never tests again by itself.
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
    """The FIPs' blackholes, nothing in front of them, and the default routes as they were last seen.

    A default route that router advertisements brought may expire: it is still listed then, and used no more.
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
        """Kept: of the end of a route's life the kernel gives no notice."""
        return not self._expires_soon

    async def findings(self) -> list[Finding]:
        """Blackholes that are missing, foreign routes to a FIP, default routes that have gone."""
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
        # The best one last, so that it counts; one that has expired is better than knowing none.
        for message in sorted(listed, key=lambda m: (_left(m) > 0, not _is_spare(m), -_metric(m))):
            if message.get_attr("RTA_GATEWAY") and (message in usable or message["family"] not in self.hops):
                self.hops[message["family"]] = message.get_attr("RTA_GATEWAY")
        if self.hops != self._recorded and not self._only_look:
            # For the agent's next start, in /run: it may come while the route is away.
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
    """Policy routing: the main table is asked, and no foreign rule leads our clients' packets elsewhere.

    A rule that leaves them alone (a VPN's, a container's) is nobody's business here. One that is for some of them or
    for a part of the world is asked about with a packet that it is for, if clients may go there at all.
    """

    noticed: ClassVar[bool] = True

    def __init__(self, node: Node, network: IPv4Network, off_limits: Sequence[IPv4Network] = ()) -> None:
        self._private, self._public = node.private_interface, node.public_interface
        self._network = network
        self._off_limits = tuple(off_limits)
        self._client = str(network.broadcast_address - 1)

    async def findings(self) -> list[Finding]:
        """The kernel's own rules that are gone; foreign rules without a mark that misroute clients' packets."""
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
        """Where a packet goes that a client may send and `rule` is for; empty if all is well or there is none."""
        source, target = _selector(rule, "FRA_SRC", "src_len"), _selector(rule, "FRA_DST", "dst_len")
        if not source.overlaps(self._network) or any(target.subnet_of(net) for net in self._off_limits):
            return ""
        smaller = source if source.subnet_of(self._network) else self._network
        return await self._misrouted(route, _inside(smaller), _inside(target) if target.prefixlen else _SOMEWHERE)

    async def _misrouted(self, route: AsyncIPRoute, source: str, target: str) -> str:
        """Where a client's packet would go if not out on the WAN; empty if all is well or a link is missing."""
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
    """The egress filter of the rendered guard.tc stands on the public interface."""

    noticed: ClassVar[bool] = True

    def __init__(self, text: str, public: str) -> None:
        self._text = text
        self._public = public
        self._program = _BYTECODE.search(text)

    async def findings(self) -> list[Finding]:
        """One, if the filter is missing or has another program."""
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
    """What is missing of the rules by which local addresses are known, and the main table is asked."""
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
    # Bytes: what somebody else wrote there need not be text at all.
    try:
        with open(file.path, "rb", buffering=0) as stream:  # noqa: PTH123 - all files every two seconds: half of pathlib's time
            return stream.read() == file.text.encode()
    except FileNotFoundError:
        return False


def _place(interface: str, own: IPv4Interface | IPv6Interface) -> str:
    return f"{interface} {own}"


def _recorded_hops(record: Path, interface: str) -> dict[int, str]:
    """What an earlier agent of this boot knew of the default routes on `interface`."""
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
    """The addresses that a rule is for; one that names none is for all."""
    # The kernel keeps what was typed: `ip rule add from 10.0.0.5/24` has host bits.
    return IPv4Network((rule.get_attr(attribute) or 0, rule[length]), strict=False)


def _inside(network: IPv4Network) -> str:
    return str(network[-2] if network.num_addresses > 2 else network[0])


def _is_relay(message: Any) -> bool:
    return bool(message["type"] == _UNICAST and message.get_attr("RTA_PRIORITY") == RELAY_METRIC)


def _left(route: Any) -> float:
    """Seconds that a route is still used for; endless for most."""
    ticks = (route.get_attr("RTA_CACHEINFO") or {}).get("rta_expires", 0)
    return float(ticks) / _TICKS if ticks else math.inf


def _metric(route: Any) -> int:
    return int(route.get_attr("RTA_PRIORITY") or 0)


def _is_spare(route: Any) -> bool:
    return bool(route["proto"] == SPARE_PROTOCOL)
