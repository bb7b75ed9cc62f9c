"""The adapter against BIRD itself: sessions, the role, a role file that it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from checks.scratch import Scratch
from contract.daemons import FILES, call, eventually, running

pytestmark = pytest.mark.root

SESSIONS = """
from natpair.system import bird
try:
    print(await bird.sessions())
except DaemonError:
    print("unresponsive")
"""
ANNOUNCED = """
from natpair.system import bird
said = await bird.announced()
print(said.primary, said.med)
"""
ANNOUNCE = """
from natpair.core.announcement import announcement_for
from natpair.core.model import BgpPolicy
from natpair.render.bird import role_file
from natpair.system import bird
active, epoch, policy = sys.argv[1] == "active", int(sys.argv[2]), BgpPolicy(sys.argv[3])
desired = announcement_for(active=active, epoch=epoch, policy=policy)
await bird.announce(role_file(desired))
print(await bird.announced() == desired)
"""
BREAK = """
from natpair.system import bird
try:
    await bird.announce("define COMM = ;\\n")
except DaemonError as error:
    print(error.message)
"""
STANDBY = "False 4294967294"


@pytest.fixture(scope="module", autouse=True)
def log(machine: Scratch) -> Iterator[Callable[[], str]]:
    assert call(machine, SESSIONS) == "unresponsive", "before its start"
    with running(machine, "natpair-bird") as log:
        eventually(lambda: call(machine, SESSIONS), "(0, 4)")
        yield log


@pytest.fixture(autouse=True)
def _standby(machine: Scratch) -> None:
    call(machine, ANNOUNCE, "standby", "0", "newest-wins")


def test_a_bird_that_starts_is_standby_whatever_the_role_file_said(machine: Scratch) -> None:
    assert call(machine, ANNOUNCED) == STANDBY


@pytest.mark.parametrize("policy", ["newest-wins", "primary-secondary"])
@pytest.mark.parametrize(("role", "epoch"), [("active", 2), ("active", 2**31 - 1), ("standby", 7), ("active", 3000)])
def test_every_announcement_is_read_back_as_it_was_made(machine: Scratch, role: str, epoch: int, policy: str) -> None:
    assert call(machine, ANNOUNCE, role, str(epoch), policy) == "True"


def test_a_change_of_role_leaves_the_sessions_alone(machine: Scratch, log: Callable[[], str]) -> None:
    call(machine, ANNOUNCE, "active", "20", "newest-wins")
    before = len(log())
    call(machine, ANNOUNCE, "active", "22", "newest-wins")
    said = log()[before:]
    assert "Reconfigured" in said
    assert "Restarting protocol" not in said
    assert call(machine, SESSIONS) == "(0, 4)"


def test_a_role_file_that_bird_refuses_changes_nothing_and_is_told(machine: Scratch) -> None:
    call(machine, ANNOUNCE, "active", "20", "newest-wins")
    said = call(machine, BREAK)
    assert "refused" in said
    assert "syntax error" in said
    assert call(machine, ANNOUNCED) == f"True {2**31 - 20}"
    assert call(machine, ANNOUNCE, "active", "22", "newest-wins") == "True", "and the next good one is taken"


def test_the_rendered_role_file_is_that_of_a_standby(machine: Scratch) -> None:
    machine.write("/run/natpair/bird/role.conf", FILES["/etc/natpair/generated/bird-standby.conf"])
    call(machine, "from natpair.system import bird\nawait bird.command('configure')")
    assert call(machine, ANNOUNCED) == STANDBY
