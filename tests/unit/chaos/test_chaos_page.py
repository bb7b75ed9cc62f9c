"""docs/chaos.md keeps up with the catalogue, the invariants and the report."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from natpair_lab.chaos.fault import Invariant
from natpair_lab.chaos.result import FaultResult, Verdict
from repo.rules import ROOT

PAGE = (ROOT / "docs" / "chaos.md").read_text()


def test_the_table_has_every_fault_as_the_catalogue_has_it() -> None:
    argv = [sys.executable, ROOT / "scripts" / "chaos-page", "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"docs/chaos.md is stale, see scripts/chaos-page:\n{done.stderr}"


@pytest.mark.parametrize("invariant", list(Invariant))
def test_every_invariant_is_explained(invariant: Invariant) -> None:
    assert f"\n| {invariant} |" in PAGE


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(FaultResult)])
def test_every_field_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE or name in ("seconds", "checks", "invariants")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_is_explained(verdict: Verdict) -> None:
    assert f"`{verdict}`" in PAGE
