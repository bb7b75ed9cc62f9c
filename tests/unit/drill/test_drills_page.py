"""docs/drills.md and the command line keep up with the code."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from natpair.core.model import Profile
from natpair_lab.cli import drill as drill_command
from natpair_lab.drill.kinds import KindName
from natpair_lab.drill.result import Report, RunResult, Steps

PAGE = (Path(__file__).parents[3] / "docs" / "drills.md").read_text()
FIELDS = [field.name for shape in (RunResult, Report, Steps) for field in dataclasses.fields(shape)]


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "schema"])
def test_every_field_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("kind", list(KindName))
def test_every_kind_is_explained(kind: KindName) -> None:
    assert f"`{kind}`" in PAGE


def test_the_command_line_knows_every_kind_and_profile() -> None:
    assert tuple(drill_command.KINDS) == tuple(kind.value for kind in KindName)
    assert tuple(drill_command.PROFILES) == tuple(profile.value for profile in Profile)
