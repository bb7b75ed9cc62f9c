"""What an event or a fault has in its hands: the lab, the running traffic, who is who, and how long things last."""

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
    """How long the long kinds last, and how a link dies. Seconds."""

    partition_seconds: float = 130.0
    stop_seconds: float = 60.0
    dead: bool | None = None
    """Kill a link with its carrier still up (True) or with it (False); None: as the kind has it."""


@dataclass(frozen=True, slots=True)
class Injection:
    """What the injector knows: monotonic nanoseconds, None for what did not happen."""

    event_ns: int
    settled_ns: int
    cut_ns: int | None = None
    repaired_ns: int | None = None
    rejoined_ns: int | None = None
    moved_back_ns: int | None = None
    standby_synced: bool | None = None
    refused: str = ""
    refusals: tuple[str, ...] = ()
    """What the agent said to orders that had to be repeated, each sentence once, in order."""


@dataclass(slots=True)
class Scene:
    """A lab under traffic, and what everything that happens in it does."""

    lab: Lab
    traffic: Traffic

    def pass_time(self, seconds: float) -> None:
        """Let the traffic run for a while; LabError as soon as one of its programs is gone."""
        end = time.monotonic() + seconds

        def over() -> bool:
            self.traffic.check()
            return time.monotonic() >= end

        wait_until(over, deadline_seconds=max(0.0, seconds) + _SLACK_SECONDS, what="the end of a watch")

    def order(self, node: str, verb: str, *, force: bool = False) -> tuple[bool, str]:
        """Give a node's agent an order such as `switchover`; whether it was carried out, and what it said."""
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
        """Wait until a node's agent says that it has a role with everything that belongs to it done."""
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
    """The one node whose agent says it is active; None if that is nobody or both."""
    claiming = [node for node in lab.nodes if lab.role(node) is Role.ACTIVE]
    return claiming[0] if len(claiming) == 1 else None
