"""After an apply: make the agent load the new configuration, and wait until the node is as healthy as before."""

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
"""A node must be healthy for this long without a break. A reload shows its damage at once, a lost BGP session later."""
_POLL_SECONDS = 0.25
_END_SECONDS = 5.0
_BAD_ROLES = frozenset({Role.FAULT, Role.BOOTING})


def worse(before: Status, after: Status | None, wanted_hash: str) -> str:
    """What makes `after` less healthy than `before`, as text; empty if nothing does."""
    if after is None:
        return "the agent does not answer"
    if after.config_hash != wanted_hash:
        return "the agent still uses another configuration"
    news = "; ".join(sorted(after.critical - before.critical))
    if after.role in _BAD_ROLES and before.role not in _BAD_ROLES:
        return f"the node's role is {after.role}, it was {before.role}{f': {news}' if news else ''}"
    if lost := after.failing - before.failing:
        return f"failed health checks: {', '.join(sorted(lost))}"
    if before.bgp.established and not after.bgp.established:
        return f"none of the {after.bgp.total} BGP sessions is Established"
    if after.unanswered and not before.unanswered:
        # The peer may be active by now, so that this node looks healthy again.
        return "no replies arrived for a FIP while this node was active"
    if not news and after.asking and not before.asking:
        return f"not known yet whether replies arrive for {', '.join(after.asking)}"
    return news


class Settled:
    """Restart an agent that uses another configuration than `wanted_hash`, then wait until the node is healthy.

    `rendered` is the digest of the files: another version of natpair renders other files from the same configuration.
    If no agent runs at the beginning, there is nothing to wait for. `progress` is called when the wait begins.
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
        """Wait until the node is as healthy as before. Raise DaemonError with the reason if the time is over."""
        before = self.before
        if before is None:
            return
        self._follow(self._wanted, self._rendered)
        self._progress(f"waiting for this node to be as healthy as before (at most {self._limit:g} s)")
        reason, healthy_since = "", float("inf")

        def steady() -> bool:
            # From one healthy look to another: time in which nobody looked proves nothing.
            nonlocal reason, healthy_since
            reason = self._old_one() or worse(before, agentsocket.status_or_none(), self._wanted)
            now = time.monotonic()
            healthy_since = float("inf") if reason else min(healthy_since, now)
            return now >= healthy_since + STEADY_SECONDS

        if not poll(steady, deadline_seconds=self._limit, poll_seconds=_POLL_SECONDS):
            raise DaemonError(
                f"this node is not as healthy as before: {reason or 'it was healthy only for a moment'}",
                fix="natpair rolled back; see 'natpair status', then correct gateway.toml and apply it again",
            )

    def _old_one(self) -> str:
        """The reason to wait, as text, if the agent that was asked to end still answers."""
        stays = self._told is not None and reload.listener_of(paths.AGENT_SOCKET) == self._told
        return "the agent has not ended yet" if stays else ""

    def undone(self) -> None:
        """Make the agent load the previous configuration again."""
        if self.before is not None:
            self._follow(self.before.config_hash, self.before.rendered)
            poll(lambda: not self._old_one(), deadline_seconds=_END_SECONDS, poll_seconds=_POLL_SECONDS)

    def follow(self) -> None:
        """Make the agent load the new configuration, without waiting."""
        if self.before is not None:
            self._follow(self._wanted, self._rendered)

    def _follow(self, wanted: str, rendered: str) -> None:
        # Compare with what the agent reports, not with the disk: the file may have been edited in place.
        status = agentsocket.status_or_none()
        if status is None:
            return
        if status.config_hash != wanted:
            self._progress("restarting the agent, because it uses another configuration")
        elif rendered and status.rendered != rendered:
            # Another version of natpair renders other files from the same gateway.toml; an old agent loads its own.
            self._progress("restarting the agent, because it uses files of another version of natpair")
        else:
            return
        self._told = reload.listener_of(paths.AGENT_SOCKET)
        reload.restart_agent()


class Regardless(Settled):
    """Settling for automatic rollback. The unconfirmed state is not checked for health."""

    def done(self) -> None:
        """Restart the agent if it uses another configuration. Raise no error."""
        self.follow()


def config_in_force(default: str = paths.CONFIG) -> str:
    """The path of the configuration from which the daemons' files were rendered: the applied copy, if there is one."""
    return paths.APPLIED if Path(paths.APPLIED).exists() else default
