"""The probe's hands: one on each machine, and the eye outside. Typed calls over a `Channel`, no decisions."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from natpair.core.model import Gateway
from natpair.errors import DaemonError, NotReady
from natpair.probe import wire
from natpair.probe.analysis import Answer, Watched
from natpair.probe.channel import Channel, program, ship
from natpair.probe.site import Pace
from natpair.render.base import Sides
from natpair.render.bird import Word, probe_text

_LOOK_SECONDS = 0.1
_SESSION = re.compile(r"^(?:\d{4}-| )(\S+)\s+BGP\s+\S+\s+(\S+)\s+\S+\s*(.*)$", re.MULTILINE)
_HOLD = re.compile(r"Hold timer:\s+[\d.]+/(\d+)")
_ERROR = re.compile(r"Last error:\s+(.+)")
_QUIET = (
    # As on a node of natpair: an address on lo is not to be claimed on other links.
    "net.ipv4.conf.all.arp_ignore=1",
    "net.ipv4.conf.all.arp_announce=2",
    "net.ipv4.conf.all.rp_filter=0",
)


@dataclass(frozen=True, slots=True)
class Sessions:
    """The BGP sessions of a machine: how many there are, how many stand, and what went wrong last."""

    established: int
    total: int
    hold_seconds: int | None = None
    errors: tuple[str, ...] = ()


class NodeHand:
    """One of the two machines."""

    def __init__(self, gateway: Gateway, name: str, channel: Channel, pace: Pace) -> None:
        self._gateway = gateway
        self._channel = channel
        self.name = name
        self.index = gateway.bit_of(name)
        self.node = gateway.node_named(name)
        self._pace = pace

    async def prepare(self) -> None:
        """Bring the programs, put the FIP on lo (as Linode's own guide does), start the daemon. Safe to repeat."""
        await ship(self._channel)
        fip = str(self._gateway.pair.fips[0])
        quiet = " ".join(_QUIET)
        private = f"{self.node.private_address} dev {self.node.private_interface}"
        up = f"ip link set {self.node.private_interface} up && ip addr replace {private}"
        script = f"sysctl -q -w {quiet} && {up} && ip addr replace {fip}/32 dev lo"
        await self._channel.run(["sh", "-c", script])
        interfaces = {"private": self.node.private_interface, "public": self.node.public_interface}
        setup = {"index": self.index, "fip": fip, **interfaces}
        await self._channel.run(program("node", ["start", json.dumps(setup)]), timeout_seconds=20)

    async def tell(self, op: str, **arguments: object) -> dict[str, Any]:
        """One request to the daemon; DaemonError with what it complained of."""
        request = json.dumps({"op": op, **arguments})
        done = await self._channel.run(program("node", ["tell"]), stdin=request + "\n", timeout_seconds=20)
        answer: dict[str, Any] = json.loads(done.stdout or "{}")
        if not answer or "error" in answer:
            raise DaemonError(f"the probe's daemon on {self.name}: {answer.get('error', 'no answer')}")
        return answer

    async def send(self, what: str, *arguments: str, seconds: float = 10) -> Any:
        """Run one of the senders; what it said."""
        argv = program("senders", [what, *arguments])
        return json.loads((await self._channel.run(argv, timeout_seconds=seconds + 10)).stdout)["said"]

    async def shell(self, script: str, ok: Sequence[int] = (0,)) -> str:
        """A line for the machine's shell; its output."""
        return (await self._channel.run(["sh", "-c", script], ok=ok)).stdout

    def _conf(self, word: Word | None, hold_seconds: int) -> str:
        bgp = self._gateway.bgp.model_copy(update={"hold_seconds": hold_seconds})
        sides = Sides.of(self._gateway.model_copy(update={"bgp": bgp}), self.name)
        return probe_text(sides, word, wire.FOLDER)

    async def start_bird(self, hold_seconds: int) -> None:
        """Open sessions with this hold time, announcing nothing."""
        self._hold_seconds = hold_seconds
        await self.tell("start-bird", conf=self._conf(None, hold_seconds))

    async def say(self, word: Word | None) -> int:
        """Announce (None: withdraw) on all sessions at once; the mark that answers carry from now on."""
        said = await self.tell("say", conf=self._conf(word, self._hold_seconds))
        return int(said["mark"])

    async def sessions(self) -> Sessions:
        """How the sessions stand."""
        return sessions_in((await self.tell("bird", command="show protocols all"))["reply"])

    async def opens(self) -> tuple[wire.Open, ...]:
        """The newest OPEN of each route server."""
        found = (await self.tell("opens"))["opens"]
        return tuple(wire.Open(**(raw | {"capabilities": tuple(raw["capabilities"])})) for raw in found)

    async def heard(self) -> tuple[wire.Heard, ...]:
        """What arrived on the VLAN since the last time."""
        return tuple(wire.Heard(**raw) for raw in (await self.tell("heard"))["heard"])


def sessions_in(shown: str) -> Sessions:
    """The sessions in BIRD's reply to `show protocols all`."""
    rows = _SESSION.findall(shown)
    up = sum(state == "up" and "Established" in info for _, state, info in rows)
    holds = [int(seconds) for seconds in _HOLD.findall(shown)]
    return Sessions(up, len(rows), min(holds, default=None), tuple(sorted({e.strip() for e in _ERROR.findall(shown)})))


class Eye:
    """The outside view."""

    def __init__(self, channel: Channel, fip: str, pace: Pace, folder: str) -> None:
        self._channel = channel
        self._fip = fip
        self._pace = pace
        self._folder = folder

    async def prepare(self) -> None:
        """Bring the program."""
        await ship(self._channel, self._folder)

    async def watch(self, seconds: float, until: NodeHand | None = None) -> Watched:
        """Send to the FIP for `seconds`, or until that node answers on every port."""
        pace = self._pace
        arguments = [self._fip, "--rate", str(pace.rate), "--sources", str(pace.sources), "--at-most", str(seconds)]
        arguments += [] if until is None else ["--until", str(until.index)]
        argv = program("stream", arguments, self._folder)
        return watched(json.loads((await self._channel.run(argv, timeout_seconds=seconds + 20)).stdout))


def watched(document: dict[str, Any]) -> Watched:
    """What a stream printed, as values."""
    return Watched(tuple(document["sent_ns"]), tuple(Answer(*row) for row in document["answers"]))


async def until(
    condition: Callable[[], Awaitable[bool]], seconds: float, what: str, *, every: float = _LOOK_SECONDS
) -> float:
    """Wait for a condition; the seconds it took. NotReady when it does not come about in time."""
    begin = time.monotonic()
    while not await condition():
        if time.monotonic() - begin > seconds:
            raise NotReady(f"{what} did not happen within {seconds:g} s")
        await asyncio.sleep(every)
    return time.monotonic() - begin
