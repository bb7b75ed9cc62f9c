"""What a fault can use: the lab, the nodes and their roles, and the notes that the checker will need."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from natpair.core.condition import Condition
from natpair.errors import LabError
from natpair_lab.chaos.history import Check, Dark
from natpair_lab.chaos.observer import Observer
from natpair_lab.drill.stage import Scene
from natpair_lab.testbed import switches
from natpair_lab.testbed.faults import service_named
from natpair_lab.testbed.host import program
from natpair_lab.testbed.node import PROGRAM
from natpair_lab.testbed.topology import SWITCHES
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Link, LinkState

_ASK_SECONDS = 30.0
_GRANTED_SECONDS = 10.0
LINKS: tuple[Link, Link] = ("vlan", "public")
_END_SECONDS = 5.0
_ECHO_SECONDS = 2.0
_OPEN = -1
_PROGRAMS = "natpair_lab.chaos.programs"


@dataclass(slots=True)
class Context(Scene):
    """One fault's context.

    All power and link changes go through it, so that the checker knows which node was unreachable when.
    """

    active: str
    standby: str
    observer: Observer
    checks: list[Check] = field(default_factory=list)
    dark: list[Dark] = field(default_factory=list)
    undo: list[Callable[[], object]] = field(default_factory=list)
    """Undo steps, run last to first when the fault is over, whatever happened."""
    felt_ns: int | None = None

    # Time

    def wait(self, condition: Callable[[], object], seconds: float) -> float | None:
        """Milliseconds until `condition` is true; None if that takes longer than `seconds`."""
        start = time.monotonic()

        def outcome() -> str:
            if condition():
                return "yes"
            return "late" if time.monotonic() - start > seconds else ""

        said = wait_until(outcome, deadline_seconds=seconds + _ASK_SECONDS, what="an outcome")
        return (time.monotonic() - start) * 1000 if said == "yes" else None

    def may_be_felt(self) -> None:
        """From now on the fault may take effect. Waits until everything sent so far is answered or counts as lost."""
        self.felt_ns = now = time.monotonic_ns()
        self.traffic.wait_echoed_after(now, _ECHO_SECONDS)

    def check(self, name: str, value_ms: float | None, bound_ms: float, detail: str = "") -> None:
        """Record a figure of the fault's own that must be at most `bound_ms`; None: it never came."""
        self.checks.append(Check(name, value_ms, bound_ms, detail))

    def require(self, name: str, held: bool, detail: str = "") -> None:
        """Record a statement of the fault's own that must be true."""
        self.checks.append(Check(name, 0.0 if held else None, 0.0, detail))

    # Nodes and services

    def kill(self, node: str, word: str, number: signal.Signals) -> None:
        """Signal all processes of a service. It is no error if none is running."""
        try:
            self.lab.kill(node, service_named(self.lab, word), number)
        except LabError as error:
            if "not running" not in error.message:
                raise

    def freeze(self, node: str, word: str, seconds: float) -> None:
        """Stop a service with SIGSTOP for some time."""
        self.kill(node, word, signal.SIGSTOP)
        try:
            self.pass_time(seconds)
        finally:
            self.kill(node, word, signal.SIGCONT)

    def run(self, node: str, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a program inside a host and return what it printed."""
        return self.lab.exec(node, argv, stdin=stdin, check=check, timeout=_ASK_SECONDS).stdout

    def script(self, host: str, name: str, *arguments: object, seconds: float = 60) -> Any:
        """Run one of the programs here inside a host to its end.

        Returns the JSON of its last line, None if there is none.
        """
        argv = program(f"{_PROGRAMS}.{name}", *arguments)
        said = self.lab.exec(host, argv, timeout=seconds).stdout.splitlines()
        return json.loads(said[-1]) if said else None

    def start(self, host: str, name: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Start one of the chaos programs inside a host or a switch. It ends when the fault is undone."""
        argv = program(f"{_PROGRAMS}.{name}", *arguments)
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        if host in SWITCHES:
            child = subprocess.Popen(["ip", "netns", "exec", self.lab.switch_netns(host), *argv], **pipes)
        else:
            child = self.lab.popen(host, argv, **pipes)

        def end() -> None:
            try:
                child.communicate(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()

        self.undo.append(end)
        return child

    def natpair(self, node: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run natpair itself on a node, as its operator would."""
        return self.lab.exec(node, [*PROGRAM, *arguments], check=False, timeout=_ASK_SECONDS)

    def hand_over(self, name: str = "switchover") -> None:
        """Ask for a switchover until it is granted, as an operator would, and wait until the pair is complete again."""
        said: list[str] = []

        def done() -> bool:
            carried_out, words = self.order(self.active, "switchover")
            said.append(words)
            return carried_out

        granted = self.wait(done, _GRANTED_SECONDS)
        self.check(name, granted, _GRANTED_SECONDS * 1000, said[-1])
        self.wait_ready()

    def standing(self, node: str) -> tuple[Condition, ...]:
        """The conditions that a node's agent reports now."""
        status = self.lab.status(node)
        return () if status is None else status.conditions

    def conditions(self, node: str) -> set[str]:
        """The names of the conditions that a node's agent reports now."""
        return {one.code for one in self.standing(node)}

    def alarm(self, names: Sequence[str], seconds: float) -> float | None:
        """Milliseconds until either agent reports one of these conditions; None if neither does."""
        return self.wait(lambda: any(set(names) & self.conditions(node) for node in self.lab.nodes), seconds)

    def wait_ready(self, seconds: float = 60) -> None:
        """During a fault, wait until the pair is complete again, and record the roles anew."""
        self.active, self.standby = self.observer.wait_ready(seconds)

    # Darkness

    def power_cut(self, node: str) -> None:
        """Cut the node's power. Its observers stop first; otherwise they would keep its kernel alive."""
        self._darken(node, "power")
        self.observer.leave(node)
        self.lab.power_cut(node)

    def boot(self, node: str, late: Link | None = None) -> None:
        """Give the node power if it has none. The card of the link `late` is still missing."""
        if not self.lab.powered(node):
            self.lab.boot(node, **({"late": late} if late else {}))
            self._lighten(node, "power")
            self.observer.enter(node)

    def link(self, node: str, link: Link, state: LinkState) -> None:
        """Set a node's cable up or down."""
        if state != "up":
            self._darken(node, link)
        self.lab.link(node, link, state)
        if state == "up":
            self._lighten(node, link)

    def make_whole(self) -> None:
        """Undo everything that is left: frozen processes, nodes without power, rules in switches, dead cables.

        A node that comes back finds a healthy peer. Changes inside a node without power are undone once it has power.
        """
        later = list(self._refusing())
        for node in self.lab.nodes:
            self.boot(node)
        for undo in later:
            undo()
        for switch in LINKS:
            self.drop(switch)
        if self.lab.switch_faults("vlan").partition is not None:
            self.lab.partition(False)
        for node in self.lab.nodes:
            for link in LINKS:
                self.link(node, link, "up")

    def _refusing(self) -> Iterator[Callable[[], object]]:
        """Undo everything, last change first; returns what could not be undone."""
        while self.undo:
            undo = self.undo.pop()
            try:
                undo()
            except LabError:
                yield undo

    def drop(self, switch: Link, *rules: str, entering: Sequence[str] = ()) -> None:
        """Make a switch drop what the nft matches select; without matches it forwards everything again."""
        switches.load(self.lab.switch_netns(switch), switches.dropping(rules, entering))

    def port(self, host: str, switch: Link) -> str:
        """The quoted switch port of a host, for nft."""
        return f'"{self.lab.port(host, switch)}"'

    def _darken(self, node: str, link: str) -> None:
        self.dark.append(Dark(node, link, time.monotonic_ns(), _OPEN))

    def _lighten(self, node: str, link: str) -> None:
        # In place, one by one: two threads record two nodes that boot at once, and neither may undo the other's entry.
        for place, d in enumerate(self.dark):
            if (d.node, d.link, d.to_ns) == (node, link, _OPEN):
                self.dark[place] = Dark(node, link, d.from_ns, time.monotonic_ns())

    def darkness(self, end_ns: int) -> tuple[Dark, ...]:
        """All periods without power or link; those that still last end at `end_ns`."""
        return tuple(Dark(d.node, d.link, d.from_ns, end_ns if d.to_ns == _OPEN else d.to_ns) for d in self.dark)
