"""A child that waits for its input: fed, killed before its time, refused, and never left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from natpair.drift import suspects
from natpair.errors import CommandFailed
from natpair.system import process
from natpair.system.process import Spare

SECONDS = 5.0
SAY = ["sh", "-c", 'read -r said; echo "$$ $said"; exit "${said:-0}"']


def pid_of(spare: Spare) -> int:
    assert spare._child is not None
    return spare._child.pid


async def test_the_child_that_waited_gets_the_input_and_the_next_load_has_a_fresh_one() -> None:
    spare = Spare(SAY)
    await spare.ready()
    waiting = pid_of(spare)
    await spare.ready()
    assert pid_of(spare) == waiting, "one is enough"
    assert (await spare.feed("0", timeout=SECONDS)).stdout == f"{waiting} 0\n"
    assert (await spare.feed("0", timeout=SECONDS)).stdout != f"{waiting} 0\n"


async def test_one_that_waits_needs_no_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    spare = Spare(SAY)
    await spare.ready()

    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(process.asyncio, "create_subprocess_exec", refuse)
    assert (await spare.feed("0", timeout=SECONDS)).rc == 0
    with pytest.raises(BlockingIOError):
        await spare.feed("0", timeout=SECONDS)
    with pytest.raises(BlockingIOError):
        await spare.ready()


@pytest.mark.parametrize("known", [False, True], ids=["at that moment", "a while ago"])
async def test_one_that_somebody_killed_is_replaced(known: bool) -> None:
    spare = Spare(SAY)
    await spare.ready()
    killed, child = pid_of(spare), spare._child
    os.kill(killed, signal.SIGKILL)
    if known:
        assert child is not None
        await child.wait()
    done = await spare.feed("0", timeout=SECONDS)
    assert done.stdout.endswith(" 0\n")
    assert not done.stdout.startswith(f"{killed} ")


async def test_a_refusal_is_no_reason_to_try_again() -> None:
    spare = Spare(SAY)
    await spare.ready()
    waiting = pid_of(spare)
    with pytest.raises(CommandFailed, match=f"{waiting} 3"):
        await spare.feed("3", timeout=SECONDS)


async def test_closed_it_leaves_nothing_behind() -> None:
    spare = Spare(SAY)
    await spare.ready()
    waiting = pid_of(spare)
    await spare.close()
    with pytest.raises(ProcessLookupError):
        os.kill(waiting, 0)
    await spare.close()


async def test_a_child_of_ours_is_no_suspect() -> None:
    spare = Spare(SAY)
    await spare.ready()
    try:
        assert suspects._is_ours(Path(f"/proc/{pid_of(spare)}"))
        assert not suspects._is_ours(Path("/proc/self"))
        assert not suspects._is_ours(Path("/proc/0"))
    finally:
        await spare.close()
