"""The command numbers against conntrackd itself: each does what its option does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from checks.scratch import Scratch, scratch_node
from contract.daemons import NODE, call, eventually, furnish, running
from natpair.system.conntrackd import Command

pytestmark = pytest.mark.root

ASK = """
from natpair.system import conntrackd
try:
    print(await conntrackd.command(conntrackd.Command[sys.argv[1]], seconds=5))
except DaemonError as error:
    print("unresponsive", error.fix)
"""
JOB = """
from natpair.core.actions import ConntrackJob
from natpair.system import conntrackd
await conntrackd.job(ConntrackJob(sys.argv[1]))
"""
INCARNATION = "from natpair.system import conntrackd\nprint(conntrackd.incarnation())"
FLOW = ("--protonum", "udp", "--src", "192.168.1.101", "--dst", "198.51.100.10", "--sport", "40000", "--dport", "7")


def ask(machine: Scratch, command: str) -> str:
    return call(machine, ASK, command)


def internal(machine: Scratch) -> int:
    """Entries in the internal cache: what this node would tell its peer."""
    (line,) = [line for line in ask(machine, "STATS").splitlines() if "current active connections" in line][:1]
    return int(line.split()[-1])


@pytest.fixture(scope="module", autouse=True)
def log(machine: Scratch) -> Iterator[Callable[[], str]]:
    assert ask(machine, "STATS").startswith("unresponsive see"), "before its start"
    assert call(machine, INCARNATION) == "0"
    machine.run("sysctl", "-qw", "net.netfilter.nf_conntrack_events=1")
    with running(machine, "natpair-conntrackd") as log:
        eventually(lambda: "external inject" in ask(machine, "STATS"), True)
        yield log


@pytest.fixture
def flow(machine: Scratch) -> Iterator[None]:
    machine.run("conntrack", "-I", *FLOW, "--timeout", "120")
    eventually(lambda: internal(machine), 1)
    yield
    machine.run("conntrack", "-D", *FLOW)
    eventually(lambda: internal(machine), 0)


@pytest.mark.parametrize("command", [command.name for command in Command])
def test_every_command_is_answered_at_once(machine: Scratch, command: str) -> None:
    assert not ask(machine, command).startswith("unresponsive")


def test_statistics_are_those_of_the_caches(machine: Scratch, flow: None) -> None:
    answer = ask(machine, "STATS")
    assert "cache internal" in answer
    assert "external inject" in answer


def test_a_flush_empties_the_internal_cache_and_not_the_kernel(machine: Scratch, flow: None) -> None:
    ask(machine, "FLUSH_INTERNAL")
    eventually(lambda: internal(machine), 0)
    assert "198.51.100.10" in machine.run("conntrack", "-L").stdout
    ask(machine, "RESYNC_KERNEL")
    eventually(lambda: internal(machine), 1)


@pytest.mark.parametrize(
    ("job", "left"),
    [("abandon", 0), ("complete", 1), ("bulk", 1)],
)
def test_each_job_does_its_part(machine: Scratch, flow: None, job: str, left: int) -> None:
    call(machine, JOB, job)
    eventually(lambda: internal(machine), left)
    call(machine, JOB, "complete")
    eventually(lambda: internal(machine), 1)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("SEND_BULK", "bulk update"),
        ("REQUEST_DUMP", "resync"),
        ("FLUSH_INTERNAL", "flush"),
        ("RESYNC_KERNEL", "resync"),
    ],
)
def test_the_log_names_what_was_asked(machine: Scratch, log: Callable[[], str], command: str, words: str) -> None:
    before = len(log())
    ask(machine, command)
    eventually(lambda: words in log()[before:], True)


def test_a_new_start_is_another_incarnation() -> None:
    """In a machine of its own: the others' conntrackd lives on."""
    with scratch_node(NODE) as machine:
        furnish(machine)
        seen = set()
        for _ in range(2):
            with running(machine, "natpair-conntrackd"):
                eventually(lambda: "external inject" in ask(machine, "STATS"), True)
                seen.add(call(machine, INCARNATION))
                assert call(machine, INCARNATION) in seen
        assert len(seen) == 2
        assert "0" not in seen
