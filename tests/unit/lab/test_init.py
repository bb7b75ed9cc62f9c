"""The supervisor of a lab host, with small services instead of daemons."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from natpair.errors import LabError
from natpair_lab.testbed import host
from natpair_lab.testbed.init import Unit, describe

Supervise = Callable[..., "object"]

SAY_READY = """
import os, signal, socket, sys, time
def tell(text):
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
"""


def shell(name: str, script: str, **fields) -> Unit:
    return Unit(name, ("sh", "-c", script), **fields)


def python(name: str, script: str, **fields) -> Unit:
    return Unit(name, (sys.executable, "-I", "-S", "-c", SAY_READY + script), **fields)


def test_a_wait_status_in_words():
    assert describe(signal.SIGABRT) == "SIGABRT"
    assert describe(3 << 8) == "status 3"
    assert describe(None) == "nothing"


def test_a_unit_survives_json():
    unit = Unit("x", ("a", "b"), environment=(("K", "V"),), stop_post=("c",), rt_priority=3)
    assert Unit.from_json({**{f: getattr(unit, f) for f in unit.__slots__}, "argv": ["a", "b"]}) == unit


@pytest.mark.root
def test_services_start_in_order_and_wait_for_a_oneshot(supervise, tmp_path: Path):
    mark = tmp_path / "mark"
    host_ = supervise(
        shell("first", f"sleep 0.2; echo done > {mark}", oneshot=True),
        shell("second", f"cat {mark}; exec sleep 60"),
    )
    host_.eventually(lambda: host_.boot() == "done", "the boot")
    host_.eventually(lambda: "done" in host_.log("second"), "the second service's output")
    assert host_.service("first")["last_status"] == 0
    assert host_.service("second")["state"] == "running"


@pytest.mark.root
def test_a_failed_oneshot_is_told_and_keeps_nobody_out(supervise):
    """As with Wants= and After=: what comes after starts when the start of the one before is over, well or not."""
    host_ = supervise(shell("prepare", "exit 3", oneshot=True, restart_delay_ms=None), shell("daemon", "exec sleep 60"))
    host_.eventually(lambda: host_.boot() != "running", "the end of the boot")
    assert host_.boot() == "failed: prepare ended with status 3"
    host_.eventually(lambda: host_.service("daemon")["state"] == "running", "the daemon")
    assert host_.service("prepare")["state"] == "failed"


@pytest.mark.root
def test_a_failed_oneshot_is_started_again_until_it_ends_well(supervise, tmp_path: Path):
    script = f"echo try >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) = 3"
    host_ = supervise(shell("prepare", script, oneshot=True, restart_delay_ms=50))
    host_.eventually(lambda: host_.service("prepare")["state"] == "active", "the third try")
    assert host_.service("prepare")["starts"] == 3


@pytest.mark.root
def test_stop_is_run_when_an_active_oneshot_is_stopped(supervise, tmp_path: Path):
    unit = shell("handover", "exit 0", oneshot=True, stop=("sh", "-c", f"echo over >> {tmp_path}/said"))
    host_ = supervise(unit, shell("daemon", "exec sleep 60"))
    host_.eventually(lambda: host_.boot() == "done", "the boot")
    host_.ask(op="start", service="handover")
    assert host_.service("handover")["starts"] == 1, "it is active already"
    host_.ask(op="stop", service="handover")
    host_.ask(op="stop", service="handover")
    assert (tmp_path / "said").read_text() == "over\n"
    assert host_.service("handover")["state"] == "stopped"


@pytest.mark.root
def test_a_crashed_service_comes_back_with_all_of_its_group_gone(supervise):
    host_ = supervise(shell("daemon", "sleep 61 & exec sleep 60", restart_delay_ms=50))
    host_.eventually(lambda: host_.service("daemon")["state"] == "running", "the start")
    first = host_.service("daemon")["pid"]
    host_.ask(op="kill", service="daemon", signal=str(int(signal.SIGKILL)))
    host_.eventually(lambda: host_.service("daemon")["starts"] == 2, "the restart")
    host_.eventually(lambda: host_.service("daemon")["pid"] not in (first, None), "a new process")
    assert "[init] ended with SIGKILL" in host_.log("daemon")


@pytest.mark.root
def test_a_program_that_does_not_exist_is_told_in_the_log(supervise):
    host_ = supervise(Unit("daemon", ("/no/such/program",), restart_delay_ms=None))
    host_.eventually(lambda: host_.service("daemon")["state"] == "failed", "the end")
    assert "cannot start /no/such/program: No such file or directory" in host_.log("daemon")


@pytest.mark.root
def test_the_boot_waits_for_ready(supervise, tmp_path: Path):
    host_ = supervise(
        python(
            "agent",
            f"time.sleep(0.3); open({str(tmp_path / 'late')!r}, 'w'); tell('READY=1'); time.sleep(60)",
            notify=True,
        ),
        shell("after", f"ls {tmp_path}/late; exec sleep 60"),
    )
    host_.eventually(lambda: host_.boot() == "done", "the boot")
    host_.eventually(lambda: "late" in host_.log("after"), "the output")
    assert "cannot access" not in host_.log("after")
    assert host_.service("agent")["ready"] is True


@pytest.mark.root
def test_the_watchdog_ends_a_service_that_hangs_even_if_it_ignores_the_abort(supervise):
    script = "signal.signal(signal.SIGABRT, signal.SIG_IGN); tell('READY=1'); time.sleep(60)"
    host_ = supervise(python("agent", script, notify=True, watchdog_seconds=0.3, restart_delay_ms=1))
    host_.eventually(lambda: host_.service("agent")["starts"] >= 2, "the restart")
    assert "watchdog: no sign of life" in host_.log("agent")
    assert "ended with SIGKILL" in host_.log("agent")


@pytest.mark.root
def test_the_watchdog_ends_a_stopped_service(supervise):
    host_ = supervise(
        python(
            "agent",
            "tell('READY=1')\nwhile True: tell('WATCHDOG=1'); time.sleep(0.05)",
            notify=True,
            watchdog_seconds=0.5,
        )
    )
    host_.eventually(lambda: host_.boot() == "done", "the boot")
    assert host_.service("agent")["starts"] == 1
    host_.ask(op="kill", service="agent", signal=str(int(signal.SIGSTOP)))
    host_.eventually(lambda: host_.service("agent")["starts"] == 2, "the restart")
    assert "ended with SIGABRT" in host_.log("agent")


@pytest.mark.root
def test_a_service_that_pings_lives(supervise):
    script = "tell('READY=1')\nfor _ in range(30): tell('WATCHDOG=1'); time.sleep(0.05)\nprint('lived', flush=True)"
    host_ = supervise(python("agent", script, notify=True, watchdog_seconds=0.5))
    host_.eventually(lambda: "lived" in host_.log("agent"), "the end of the test")
    assert host_.service("agent")["starts"] == 1


@pytest.mark.root
def test_stop_post_runs_after_every_end(supervise, tmp_path: Path):
    ends = tmp_path / "ends"
    host_ = supervise(
        shell("daemon", "exec sleep 60", restart_delay_ms=1, stop_post=("sh", "-c", f"echo end >> {ends}"))
    )
    host_.eventually(lambda: host_.service("daemon")["pid"], "the start")
    host_.ask(op="kill", service="daemon", signal=str(int(signal.SIGKILL)))
    host_.eventually(lambda: host_.service("daemon")["starts"] == 2 and host_.service("daemon")["pid"], "the restart")
    host_.ask(op="stop", service="daemon")
    assert host_.service("daemon")["state"] == "stopped"
    assert ends.read_text() == "end\nend\n"


@pytest.mark.root
def test_start_stop_and_restart(supervise):
    host_ = supervise(shell("daemon", "exec sleep 60"))
    host_.eventually(lambda: host_.service("daemon")["pid"], "the start")
    host_.ask(op="stop", service="daemon")
    assert host_.service("daemon")["pid"] is None
    host_.ask(op="start", service="daemon")
    host_.eventually(lambda: host_.service("daemon")["pid"], "the second start")
    before = host_.service("daemon")["pid"]
    host_.ask(op="restart", service="daemon")
    host_.eventually(lambda: host_.service("daemon")["pid"] not in (None, before), "the restart")
    assert host_.service("daemon")["starts"] == 3


@pytest.mark.root
def test_an_unknown_service_is_answered_with_those_there_are(supervise):
    host_ = supervise(shell("daemon", "exec sleep 60"))
    with pytest.raises(LabError) as refused:
        host_.ask(op="stop", service="deamon")
    assert refused.value.fix == "one of: daemon"


@pytest.mark.root
def test_log_lines_carry_a_time(supervise):
    host_ = supervise(shell("daemon", "echo hello; exec sleep 60"))
    host_.eventually(lambda: "hello" in host_.log("daemon"), "the output")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z hello", host_.log("daemon").splitlines()[0])


@pytest.mark.root
def test_real_time_priority_is_set(supervise):
    host_ = supervise(
        python("daemon", "print(os.sched_getscheduler(0), os.sched_getparam(0))", rt_priority=7, oneshot=True)
    )
    host_.eventually(lambda: "sched_priority=7" in host_.log("daemon"), "the output")
    assert "Z 2 " in host_.log("daemon")  # SCHED_RR


@pytest.mark.root
def test_orphans_are_reaped(supervise):
    host_ = supervise(shell("daemon", "(sh -c 'sleep 0.05 & ' &) ; exec sleep 60"))
    host_.eventually(lambda: host_.boot() == "done", "the boot")

    def zombies() -> str:
        inside = host.command(host_.ref, ["sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status; true"])
        return run(inside)

    host_.eventually(lambda: not zombies(), "the end of all zombies")


@pytest.mark.root
def test_the_end_of_the_supervisor_is_the_end_of_everything(supervise):
    host_ = supervise(shell("daemon", "setsid sleep 61 & exec sleep 60"))
    host_.eventually(lambda: host_.service("daemon")["pid"], "the start")
    namespace = Path(f"/proc/{host_.ref.pid}/ns/pid").stat().st_ino
    host.end(host_.ref)
    assert not host_.ref.alive()
    # The machine's own init may not have collected the dead supervisor yet.
    others = [path for path in Path("/proc").glob("[0-9]*/ns/pid") if path.parts[2] != str(host_.ref.pid)]
    assert not [path for path in others if inode(path) == namespace]


def inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def run(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout
