"""After an apply: the agent runs with the new configuration, and the node is as well as it was before."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from natpair.apply import reload
from natpair.core import paths
from natpair.core.status import Role, Status
from natpair.errors import DaemonError
from natpair.system import agentsocket
from natpair.system.wait import poll

STEADY_SECONDS = 2.0
"""So long in a row a node has to be well: what a reload breaks shows at once, what BIRD lost after its grace."""
_POLL_SECONDS = 0.25
_END_SECONDS = 5.0
_BAD_ROLES = frozenset({Role.FAULT, Role.BOOTING})


def worse(before: Status, after: Status | None, wanted_hash: str) -> str:
    """In what `after` is not yet as well as `before`, in words; empty if in nothing."""
    if after is None:
        return "the agent does not answer"
    if after.config_hash != wanted_hash:
        return "the agent still runs with another configuration"
    news = "; ".join(sorted(after.critical - before.critical))
    if after.role in _BAD_ROLES and before.role not in _BAD_ROLES:
        return f"the node is {after.role} and was {before.role}{f': {news}' if news else ''}"
    if lost := after.failing - before.failing:
        return f"not any more: {', '.join(sorted(lost))}"
    if before.bgp.established and not after.bgp.established:
        return f"none of {after.bgp.total} BGP sessions is Established"
    if after.unanswered and not before.unanswered:
        # The role may be with the peer by now, so that this node looks well again.
        return "no packets came back for a FIP when this node served with it"
    if not news and after.asking and not before.asking:
        return f"it is not known yet whether packets come back for {', '.join(after.asking)}"
    return news


class Settled:
    """Restarts an agent that runs with another configuration than `wanted_hash`, then waits for its health.

    `rendered` is the digest of the files: another version of natpair makes others of the same configuration. Without
    an agent at the beginning there is nothing to wait for. `progress` is told when waiting begins.
    """

    def __init__(
        self, wanted_hash: str, limit_seconds: float, progress: Callable[[str], None], rendered: str = ""
    ) -> None:
        self._wanted = wanted_hash
        self._rendered = rendered
        self._told: int | None = None
        self._limit = limit_seconds
        self._progress = progress
        self.before = agentsocket.status_or_none()

    def done(self) -> None:
        """Wait until the node is as well as before; DaemonError says what is missing when the time is over."""
        before = self.before
        if before is None:
            return
        self._follow(self._wanted, self._rendered)
        self._progress(f"waiting until this node is as well as before (at most {self._limit:g} s)")
        reason, ill_at = "", time.monotonic()

        def steady() -> bool:
            nonlocal reason, ill_at
            reason = self._old_one() or worse(before, agentsocket.status_or_none(), self._wanted)
            ill_at = time.monotonic() if reason else ill_at
            return time.monotonic() >= ill_at + STEADY_SECONDS

        if not poll(steady, deadline_seconds=self._limit, poll_seconds=_POLL_SECONDS):
            raise DaemonError(
                f"this node is not as well as before: {reason or 'it was well only for a moment'}",
                cure="the previous files are back; see 'natpair status', then change the file and apply again",
            )

    def _old_one(self) -> str:
        """Whether the agent that was told to end still answers, in words."""
        stays = self._told is not None and reload.listener_of(paths.AGENT_SOCKET) == self._told
        return "the agent has not ended yet" if stays else ""

    def undone(self) -> None:
        """Let the agent run with the previous configuration again."""
        if self.before is not None:
            self._follow(self.before.config_hash, self.before.rendered)
            poll(lambda: not self._old_one(), deadline_seconds=_END_SECONDS, poll_seconds=_POLL_SECONDS)

    def follow(self) -> None:
        """Let the agent run with the new configuration, and wait for nothing."""
        if self.before is not None:
            self._follow(self._wanted, self._rendered)

    def _follow(self, wanted: str, rendered: str) -> None:
        # By what the agent says it runs with, not by what changed on disk: the file may have been edited in place.
        status = agentsocket.status_or_none()
        if status is None:
            return
        if status.config_hash != wanted:
            self._progress("the agent runs with another configuration: it is restarted")
        elif rendered and status.rendered != rendered:
            # Another version of natpair makes other files of the same gateway.toml; an old agent would load its own.
            self._progress("the agent runs with files that another version of natpair has made: it is restarted")
        else:
            return
        self._told = reload.listener_of(paths.AGENT_SOCKET)
        reload.restart_agent()


class Regardless(Settled):
    """For the way back to what was in force before: nobody confirmed the present, so its health has no say."""

    def done(self) -> None:
        """Restart the agent if it runs with another configuration; no error."""
        self.follow()


def config_in_force(default: str = paths.CONFIG) -> str:
    """The path of the configuration that the daemons' files were made from: the applied copy, if there is one."""
    return paths.APPLIED if Path(paths.APPLIED).exists() else default
