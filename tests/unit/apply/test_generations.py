"""Generations: whole bundles come back as they were, the newest few are kept, a damaged one is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from natpair.apply import generations
from natpair.core import paths
from natpair.core.rendered import RenderedFile
from natpair.errors import NoInput
from natpair.render.bundle import render_all
from samples import EXAMPLE, gateway

CONFIG = EXAMPLE.read_text()
BUNDLE = (
    RenderedFile(paths.CONFIG, CONFIG),
    RenderedFile(paths.APPLIED, CONFIG),
    *render_all(gateway(), "nat-a"),
)


def test_a_bundle_comes_back_as_it_was(tmp_path: Path) -> None:
    made = generations.save(BUNDLE, "applied", folder=tmp_path / "g")
    again = generations.load(made.number, folder=tmp_path / "g")
    assert again == made
    assert (again.number, again.why, again.config) == (1, "applied", CONFIG)
    assert set(again.bundle) == set(BUNDLE)
    assert (tmp_path / "g" / "000001.json").stat().st_mode & 0o777 == 0o600


def test_equal_files_have_one_digest_in_any_order(tmp_path: Path) -> None:
    assert generations.digest_of(BUNDLE) == generations.digest_of(BUNDLE[::-1])
    assert generations.digest_of(BUNDLE) != generations.digest_of(BUNDLE[1:])


def test_only_the_newest_are_kept_and_numbers_go_on(tmp_path: Path) -> None:
    for _ in range(generations.KEPT + 3):
        generations.save(BUNDLE, "applied", folder=tmp_path)
    assert generations.numbers(folder=tmp_path) == list(range(4, generations.KEPT + 4))


@pytest.mark.parametrize("damage", ["", "{}", '{"number": 3, "made": 1, "why": "x", "files": [{}]}'])
def test_a_damaged_one_is_told_and_passed_over(tmp_path: Path, damage: str) -> None:
    generations.save(BUNDLE, "applied", folder=tmp_path)
    (tmp_path / "000002.json").write_text(damage)
    with pytest.raises(NoInput, match="no generation 2") as caught:
        generations.load(2, folder=tmp_path)
    assert caught.value.fix == "kept generations: 1, 2"
    newest = generations.newest(folder=tmp_path)
    assert newest is not None
    assert newest.number == 1


def test_nothing_is_kept_at_first(tmp_path: Path) -> None:
    assert generations.newest(folder=tmp_path / "none") is None
