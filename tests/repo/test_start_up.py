"""Reading commands start fast because the heavy packages are imported where they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from repo.rules import ROOT

HEAVY = frozenset({"pydantic", "aiohttp", "pyroute2", "jinja2", "rich", "structlog", "asyncio", "http"})


def imported_by(*arguments: str) -> set[str]:
    """Top-level names of all modules that a Python with these arguments imports."""
    argv = [sys.executable, "-X", "importtime", *arguments]
    result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("status", "--help"),
        ("status",),
        ("drain", "--help"),
        ("apply", "--help"),
        ("events", "--last", "1", str(ROOT / "README.md")),
        ("completion", "--help"),
    ],
)
def test_no_heavy_package_is_loaded(arguments: tuple[str, ...]) -> None:
    imported = imported_by("-m", "natpair", *arguments)
    assert "click" in imported
    assert not imported & HEAVY


def test_a_heavy_package_would_be_seen() -> None:
    assert "pydantic" in imported_by("-c", "import natpair.core.model")
