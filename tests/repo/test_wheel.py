"""What is installed is what stands in src: a template left out of the wheel would fail on a node, not here."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from repo.documents import files
from repo.rules import ROOT, SRC


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return next(folder.glob("natpair-*.whl"))


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("natpair/")}
    assert packed == {str(path.relative_to(SRC.parent)) for path in files(SRC)}


def test_natpair_runs_from_the_wheel(wheel: Path) -> None:
    run = f"import sys; sys.path.insert(0, {str(wheel)!r}); import natpair.cli.main as m; print(m.__file__); m.entry()"
    argv = [sys.executable, "-c", run, "--help"]
    result = subprocess.run(argv, cwd=wheel.parent, check=True, capture_output=True, text=True, timeout=60)
    assert str(wheel) in result.stdout.splitlines()[0]
    assert "Example: natpair check" in result.stdout
