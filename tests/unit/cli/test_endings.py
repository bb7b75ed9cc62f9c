"""Endings that no command decides itself: nobody reads, output is closed, a word that is no command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from natpair.cli.main import BROKEN_PIPE, run
from repo.rules import ROOT

NATPAIR = (sys.executable, "-m", "natpair")
TALKATIVE = [
    ["check", "examples/gateway.toml"],
    ["check", "examples/gateway.toml", "--json"],
    ["client-config", "examples/gateway.toml", "--json"],
    ["chaos", "--list"],
    ["--help"],
    ["lab", "fault", "--help"],
    ["--version"],
]


@pytest.mark.parametrize("words", TALKATIVE, ids=" ".join)
def test_a_reader_that_went_away_is_no_fault(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*NATPAIR, *words], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == BROKEN_PIPE
    assert "bug" not in done.stderr
    assert "Errno" not in done.stderr


@pytest.mark.parametrize("words", TALKATIVE[:2], ids=" ".join)
def test_a_closed_output_is_a_reader_that_went_away(words: list[str]) -> None:
    argv = ["sh", "-c", 'exec "$@" >&-', "sh", *NATPAIR, *words]
    done = subprocess.run(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, "")


@pytest.mark.parametrize("closing", [">&- 2>&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_bug(closing: str) -> None:
    argv = ["sh", "-c", f'exec "$@" {closing}', "sh", *NATPAIR, "check", "/nowhere/gateway.toml"]
    assert subprocess.run(argv, capture_output=True, cwd=ROOT, check=False).returncode in {78, BROKEN_PIPE}


@pytest.mark.parametrize(
    ("words", "meant"), [(["chekc"], "check"), (["lab", "stauts"], "status"), (["swichover"], "switchover")]
)
def test_a_word_that_is_no_command(words: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 64
    assert f"Did you mean '{meant}'?" in capsys.readouterr().err


def test_a_word_like_no_command_gets_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["xyzzy"]) == 64
    assert "mean" not in capsys.readouterr().err
