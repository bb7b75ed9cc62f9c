"""Every byte of every file of two gateways. After a deliberate change: pytest tests/golden --update-goldens."""

from __future__ import annotations

import shutil

import pytest

from golden.cases import CASES, FOLDER, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_files_are_as_agreed(case: Case, request: pytest.FixtureRequest) -> None:
    for node, files in case.bundles().items():
        if request.config.getoption("--update-goldens", default=False):
            shutil.rmtree(FOLDER / case.name / node, ignore_errors=True)
        for file in files:
            golden = case.golden(node, file)
            if request.config.getoption("--update-goldens", default=False):
                golden.parent.mkdir(parents=True, exist_ok=True)
                golden.write_text(file.text)
            assert golden.exists(), f"{golden} is missing: pytest tests/golden --update-goldens"
            assert file.text == golden.read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_golden_file_is_left_over(case: Case) -> None:
    for node, files in case.bundles().items():
        kept = {path for path in (FOLDER / case.name / node).rglob("*") if path.is_file()}
        assert kept == {case.golden(node, file) for file in files}
