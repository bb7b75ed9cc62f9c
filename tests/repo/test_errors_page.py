"""docs/errors.md is true: each exit code it lists is provoked here, and no error of natpair's has another."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from natpair import errors
from natpair.cli import main
from repo.rules import ROOT

PAGE = ROOT / "docs" / "errors.md"
ROWS = [line.split(" | ") for line in PAGE.read_text().splitlines() if re.match(r"\| \d+ \|", line)]
CODES = {int(row[0].strip("| ")) for row in ROWS}


def commands() -> Iterator[tuple[int, str, str]]:
    for row in ROWS:
        for found in re.finditer(r"`(natpair [^`]+)`([^`]*)", row[2]):
            yield int(row[0].strip("| ")), found[1], found[2]


@pytest.mark.parametrize(
    ("code", "line", "condition"),
    [row for row in commands() if "another user" not in row[2]],
    ids=lambda value: str(value)[:50],
)
def test_the_example_of_each_code_ends_with_it(code: int, line: str, condition: str) -> None:
    if "(root)" in condition and os.geteuid() != 0:
        code = errors.Unsupported.exit_code  # who is not root hears that first
    argv = [sys.executable, "-m", "natpair", *shlex.split(line)[1:]]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    if code >= errors.Usage.exit_code:
        assert done.stderr
        assert not done.stdout


def test_who_is_not_root_changes_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (row,) = [row for row in commands() if "another user" in row[2]]
    assert main.run([*shlex.split(row[1])[1:], "examples/gateway.toml", "--node", "nat-a"]) == row[0] == 77
    assert "only root" in capsys.readouterr().err


def test_every_class_of_error_is_on_the_page() -> None:
    classes = [found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, Exception)]
    assert {found.exit_code for found in classes if hasattr(found, "exit_code")} <= CODES
    assert {main.EX_USAGE, main.EX_SOFTWARE, main.EX_CANTCREAT, main.INTERRUPTED, main.BROKEN_PIPE} <= CODES
    assert 128 + signal.SIGTERM in CODES


def test_a_refusing_api_has_the_codes_of_the_page() -> None:
    made = [errors.ApiError("call", 401, []), errors.ApiError("call", 500, [], retryable=True)]
    assert [error.exit_code for error in made] == [77, 75]
