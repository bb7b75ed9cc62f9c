"""The rules about documents, lock files and versions on the tree, and on samples that break them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from repo import documents
from repo.rules import ROOT

LOCKS = sorted(ROOT.glob("requirements*.lock"))


def test_links_lead_somewhere() -> None:
    complaints = [line for path in documents.files(ROOT, ".md") for line in documents.check_links(path)]
    assert not complaints, "\n".join(complaints)


def test_a_broken_link_and_a_missing_heading_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, long\n[a](gone.md) [b](#nope) [c](#a-title-long) ![d](no.svg) [e](mailto:a@b)\n```\n[f](g)\n```\n"
    )
    assert list(documents.check_links(page)) == [
        "page.md: gone.md leads nowhere",
        "page.md: #nope has no such heading",
        "page.md: no.svg leads nowhere",
    ]


def test_no_file_says_where_packages_come_from() -> None:
    complaints = [line for path in documents.files(ROOT) for line in documents.check_no_index(path)]
    assert not complaints, "\n".join(complaints)


def test_an_index_option_is_found(tmp_path: Path) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text("--index" + "-url somewhere\n")
    assert list(documents.check_no_index(lock))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_files_hold_pins_and_hashes_only(lock: Path) -> None:
    assert not list(documents.check_lock(lock.read_text()))


@pytest.mark.parametrize(
    "line", ["click>=8", "click==8.5.1", "click @ https://x/y.whl", "-r other.txt", "    --hash=md5:ab"]
)
def test_a_line_without_pin_or_hash_is_found(line: str) -> None:
    assert list(documents.check_lock(line))


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = (ROOT / "requirements.lock").read_text()
    for dependency in project["dependencies"]:
        name = dependency.split(">")[0]
        assert f"\n{name}==" in locked, f"{name} is not locked: run scripts/lock"


def test_the_changelog_tells_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert documents.newest_version((ROOT / "CHANGELOG.md").read_text()) == project["version"]


def test_the_newest_version_is_the_top_entry() -> None:
    assert documents.newest_version("# Log\n\n## [0.2.0] - 2030-01-01\n\n## [0.1.0] - 2029-01-01\n") == "0.2.0"
    assert documents.newest_version("# Log\n") == ""


def test_every_decision_is_linked() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for decision in (ROOT / "docs" / "adr").glob("*.md"):
        assert f"(adr/{decision.name})" in index
