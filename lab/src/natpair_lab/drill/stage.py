"""What an event or a fault can use: the lab, the running traffic, the nodes and their roles, and durations."""

from __future__ import annotations

import time
from dataclasses import dataclass

from natpair.core.paths import AGENT_SOCKET
from natpair.core.status import Role
from natpair.system import agentsocket
from natpair_lab.drill.traffic import Traffic
from natpair_lab.drill.witnesses import Witnesses
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

_ASK_SECONDS = 30.0
_SLACK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations of the kinds that last, in seconds, and how a link dies."""

    partition_seconds: float = 130.0
    stop_seconds: float = 60.0
    dead: bool | None = None
    """Whether a killed link keeps its carrier (True) or loses it (False); None: the kind decides."""


@dataclass(frozen=True, slots=True)
class Injection:
    """What the injector knows: times in monotonic nanoseconds, None for what did not happen."""

    event_ns: int
    settled_ns: int
    cut_ns: int | None = None
    repaired_ns: int | None = None
    rejoined_ns: int | None = None
    moved_back_ns: int | None = None
    standby_synced: bool | None = None
    refused: str = ""
    refusals: tuple[str, ...] = ()
    """The agent's answers to orders that had to be repeated, each sentence once, in order."""


@dataclass(slots=True)
class Scene:
    """A lab under traffic, and the actions that every event and fault needs."""

    lab: Lab
    traffic: Traffic

    def pass_time(self, seconds: float) -> None:
        """Let the traffic run for some time; LabError as soon as one of its programs has ended."""
        end = time.monotonic() + seconds

        def over() -> bool:
            self.traffic.check()
            return time.monotonic() >= end

        wait_until(over, deadline_seconds=max(0.0, seconds) + _SLACK_SECONDS, what="the end of a watch")

    def order(self, node: str, verb: str, *, force: bool = False) -> tuple[bool, str]:
        """Give a node's agent an order such as `switchover`. Returns whether it was carried out, and the answer."""
        try:
            socket = self.lab.ref(node).path(AGENT_SOCKET)
            answer = agentsocket.order(verb, force=force, timeout=_ASK_SECONDS, socket_path=socket)
        except (OSError, ValueError) as error:
            return False, f"the agent of {node} did not answer: {error}"
        return answer.ok, answer.message


@dataclass(slots=True)
class Stage(Scene):
    """The scene of one event. `victim` is the node that is hit, `survivor` the other."""

    victim: str
    survivor: str
    witnesses: Witnesses
    durations: Durations

    def wait_role(self, node: str, role: Role, seconds: float) -> bool:
        """Wait until a node's agent reports that it has a role and has completed every step of it."""
        deadline = time.monotonic() + seconds

        def done() -> str:
            status = self.lab.status(node)
            if status is not None and status.role is role:
                complete = status.change_complete if role is Role.ACTIVE else status.synced
                if complete:
                    return "yes"
            return "late" if time.monotonic() > deadline else ""

        return wait_until(done, deadline_seconds=seconds + _SLACK_SECONDS, what=f"{node} {role}") == "yes"


def active_node(lab: Lab) -> str | None:
    """The only node whose agent reports that it is active; None if no or both agents do."""
    claiming = [node for node in lab.nodes if lab.role(node) is Role.ACTIVE]
    return claiming[0] if len(claiming) == 1 else None
