"""The transcript shows the commands that scripts/transcript runs, each with an answer; figures are left to the run."""

from __future__ import annotations

import importlib.util
import shlex
from importlib.machinery import SourceFileLoader
from types import ModuleType

import pytest

from commands import parse
from repo.rules import ROOT

SCRIPT = ROOT / "scripts" / "transcript"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_loader("transcript", SourceFileLoader("transcript", str(SCRIPT)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["transcript"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_page_and_the_readme_are_of_this_script(script: ModuleType) -> None:
    wanted = [step.command for step in script.STEPS]
    short = [step.command for step in script.STEPS if step.short]
    readme = (ROOT / "README.md").read_text()
    shown = readme[readme.index(script.BEGIN) : readme.index(script.END)]
    stale = "stale: .venv/bin/python scripts/transcript (as root)"
    assert script.typed(script.PAGE.read_text()) == wanted, stale
    assert script.typed(shown) == short, stale


def test_another_command_would_be_seen(script: ModuleType) -> None:
    page = script.PAGE.read_text()
    assert script.typed(page.replace("lab down", "lab status")) != script.typed(page)


def test_every_command_has_an_answer_and_still_parses(script: ModuleType) -> None:
    for part in script.PAGE.read_text().split("\n$ ")[1:]:
        assert part.partition("```")[0].count("\n") >= 2
    for step in script.STEPS:
        words = shlex.split(step.command.replace("\\\n", " "))
        if words[0] == "natpair":
            parse(words[1:])
