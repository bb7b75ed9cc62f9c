"""Signals that wait: for this process, and for what it starts."""

from __future__ import annotations

import signal
import subprocess

import pytest

from natpair.system.signals import undisturbed

SHOT_AT = ["sh", "-c", "kill -INT $$; echo alive"]


@pytest.mark.parametrize(("children", "said"), [(True, "alive\n"), (False, "")])
def test_a_ctrl_c_waits_and_spares_the_children_if_it_must(children: bool, said: str) -> None:
    heard = ""
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the block is the subject
        with undisturbed(children=children):
            signal.raise_signal(signal.SIGINT)
            heard = subprocess.run(SHOT_AT, capture_output=True, text=True, timeout=10, check=False).stdout
        pytest.fail("the signal was lost")
    assert heard == said
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
