"""Whether a node is as healthy as before, and when its agent is restarted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from natpair.apply import settle
from natpair.apply.settle import Regardless, Settled, worse
from natpair.core.messages import Alarm, Phase
from natpair.core.replies import FipReplies, ReplyState, Where
from natpair.core.snapshot import snapshot
from natpair.core.state import NodeState
from natpair.core.status import Status
from natpair.errors import DaemonError
from nodes import HASH, NO_BGP, SICK, UNRESPONSIVE, active, node, says, standby
from nodes import WELL as GOOD


def said(state: NodeState, config: str = HASH) -> Status:
    return replace(snapshot(state, 0.0), config_hash=config)


WELL = said(standby())


def test_equal_is_not_worse() -> None:
    assert worse(WELL, said(standby()), HASH) == ""
    assert worse(said(active()), said(standby()), HASH) == ""
    assert worse(said(standby(health=SICK)), said(standby(health=SICK)), HASH) == ""


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (None, "does not answer"),
        (said(standby(), "other"), "another configuration"),
        (said(node(Phase.BOOTING, says(Phase.ACTIVE))), "role is booting, it was standby"),
        (said(standby(health=SICK)), "failed health checks: gateway answers"),
        (said(standby(health=UNRESPONSIVE)), "failed health checks: conntrackd answers"),
        (said(standby(health=NO_BGP)), "none of the 4 BGP sessions"),
        (said(standby(said=says(Phase.STANDBY))), "neither nat-a nor nat-b serves"),
    ],
)
def test_what_is_worse_is_named(after: Status | None, reason: str) -> None:
    assert reason in worse(WELL, after, HASH)


def serving(state: ReplyState, **changes: Any) -> Status:
    silent = FipReplies("192.0.2.222", state, Where.FIP)
    return said(active(health=replace(GOOD, replies=(silent,)), **changes))


def test_an_apply_waits_until_it_is_known_whether_packets_come_back() -> None:
    assert "not known yet" in worse(serving(ReplyState.ANSWERED), serving(ReplyState.ASKING), HASH)
    assert worse(serving(ReplyState.ANSWERED), serving(ReplyState.ANSWERED), HASH) == ""
    assert "nothing comes back for 192.0.2.222" in worse(serving(ReplyState.ANSWERED), serving(ReplyState.SILENT), HASH)


def test_a_node_that_gave_the_role_away_for_it_is_not_well_again() -> None:
    after = said(standby(unanswered_at=-5.0))
    assert "no replies arrived" in worse(serving(ReplyState.ANSWERED), after, HASH)
    assert worse(after, after, HASH) == "", "it was so before"


def test_what_only_the_peer_sees_undoes_no_apply() -> None:
    told = (Alarm("no-replies", "nothing comes back for 192.0.2.222"),)
    assert worse(WELL, said(standby(said=says(Phase.ACTIVE, alarms=told))), HASH) == ""


class Machine:
    """An agent that answers what it is told to, and counts its restarts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: Callable[[int], Status | None]) -> None:
        self.asked, self.restarts, self._answers = 0, 0, answers
        monkeypatch.setattr(settle.agentsocket, "status_or_none", self._answer)
        monkeypatch.setattr(settle.reload, "restart_agent", self._restart)
        monkeypatch.setattr(settle, "STEADY_SECONDS", 0.3)

    def _answer(self) -> Status | None:
        self.asked += 1
        return self._answers(self.asked)

    def _restart(self) -> bool:
        self.restarts += 1
        return True


def silent(_text: str) -> None:
    """Nobody listens to the progress."""


def test_without_an_agent_there_is_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda _: None)
    Settled("new", 9, silent).done()
    Settled("new", 9, silent).undone()
    assert machine.restarts == 0


def test_an_agent_with_another_configuration_is_restarted_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda asked: said(standby(), "new" if asked > 3 else HASH))
    Settled("new", 9, silent).done()
    assert machine.restarts == 1


def test_another_version_s_files_of_the_same_configuration_restart_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda asked: replace(said(standby()), rendered="new" if asked > 3 else "old"))
    Settled(HASH, 9, silent, "new").done()
    assert machine.restarts == 1


def test_an_agent_that_does_not_end_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, lambda _: replace(said(standby()), rendered="old"))
    monkeypatch.setattr(settle.reload, "listener_of", lambda _: 7)
    with pytest.raises(DaemonError, match="has not ended"):
        Settled(HASH, 1, silent, "new").done()


def test_health_that_does_not_come_back_is_an_error_that_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda asked: said(standby(health=NO_BGP if asked > 1 else standby().health)))
    with pytest.raises(DaemonError, match="none of the 4 BGP sessions"):
        Settled(HASH, 1, silent).done()
    assert machine.restarts == 0


def test_well_for_a_moment_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, lambda asked: said(standby(health=NO_BGP if asked % 2 == 0 else standby().health)))
    with pytest.raises(DaemonError):
        Settled(HASH, 1, silent).done()


def test_nobody_s_health_keeps_an_unconfirmed_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda asked: said(standby(health=NO_BGP if asked > 1 else standby().health)))
    Regardless("new", 1, silent).done()
    assert machine.restarts == 1


def test_on_the_way_back_the_agent_gets_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda asked: said(standby(), HASH if asked == 1 else "new"))
    Settled("new", 9, silent).undone()
    assert machine.restarts == 1
