"""The one `NodeState` of the process. It is created before all other parts of the agent, and they all share it.

It has a module of its own because all parts import it and it imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable

from natpair.core.state import NodeState

Follower = Callable[[NodeState, NodeState], None]


class StateCell:
    """Any part may read the state or follow it. Only the decision loop, and adoption before it, replace it."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._followers: list[Follower] = []

    def get(self) -> NodeState:
        """The state as of the last step."""
        return self._state

    def put(self, state: NodeState) -> None:
        """Replace the state. Followers are called by `publish`, after the actions of the step."""
        self._state = state

    def subscribe(self, follower: Follower) -> None:
        """Call `follower` with the state before and after each step."""
        self._followers.append(follower)

    def publish(self, before: NodeState) -> None:
        """Call the followers after a step. `before` is the state before that step."""
        for follower in self._followers:
            follower(before, self._state)
