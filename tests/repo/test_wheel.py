"""What is installed: natpair is all of its package and no tool of the proof; natpair-lab adds its commands to it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from repo.documents import files
from repo.rules import LAB, ROOT, SRC, modules

NATPAIR = "import natpair.cli.main as m; m.entry()"
TOOLS = ("attack", "emulator", "chaos", "traffic_", "drill", "bench")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run([ROOT / "scripts/wheels", folder], check=True, capture_output=True, timeout=120)
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


def names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def tools_of_the_proof(found: Iterable[str]) -> set[str]:
    return {tool for name in found for tool in TOOLS if tool in name}


@pytest.mark.parametrize("package", [SRC, LAB], ids=lambda package: package.name)
def test_a_wheel_holds_every_file_of_its_package(package: Path, wheels: dict[str, Path]) -> None:
    packed = {name for name in names(wheels[package.name]) if name.startswith(f"{package.name}/")}
    assert packed == {str(path.relative_to(package.parent)) for path in files(package)}


def test_a_gateway_gets_no_tool_of_the_proof(wheels: dict[str, Path]) -> None:
    assert not tools_of_the_proof(names(wheels["natpair"]))
    assert tools_of_the_proof(names(wheels["natpair_lab"])) == set(TOOLS)  # they would be found


def test_every_module_of_natpair_can_be_imported_alone(wheels: dict[str, Path]) -> None:
    everything = [module.name for module in modules(SRC) if module.name != "natpair.__main__"]
    result = run_with([wheels["natpair"]], f"import importlib\nfor name in {everything}: importlib.import_module(name)")
    assert result.returncode == 0, result.stderr
    missing = run_with([wheels["natpair"]], "import natpair_lab")
    assert "No module named 'natpair_lab'" in missing.stderr


def test_natpair_alone_says_how_to_get_the_lab(wheels: dict[str, Path]) -> None:
    shown = run_with([wheels["natpair"]], "import natpair; print(natpair.__file__); " + NATPAIR, "--help")
    assert str(wheels["natpair"]) in shown.stdout.splitlines()[0]
    assert "Example: natpair check" in shown.stdout
    assert "chaos" not in shown.stdout
    for command in ("lab", "drill", "bench", "chaos"):
        refused = run_with([wheels["natpair"]], NATPAIR, command)
        assert refused.returncode == 77
        assert "part of natpair-lab, which is not installed" in refused.stderr
        assert "pip install natpair-lab" in refused.stderr


def test_natpair_lab_adds_its_commands(wheels: dict[str, Path]) -> None:
    shown = run_with([*wheels.values()], NATPAIR, "chaos", "--list")
    assert shown.returncode == 0, shown.stderr
    assert "Keepalived" in shown.stdout


def run_with(wheels: list[Path], code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` with these wheels and the libraries that .venv has, but without the editable natpair of this clone."""
    libraries = wheels[0].parent / "libraries"
    if not libraries.exists():
        libraries.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if "natpair" not in path.name:
                (libraries / path.name).symlink_to(path)
    start = f"import sys; sys.path[:0] = {[str(wheel) for wheel in wheels]}; sys.path.append({str(libraries)!r})\n"
    argv = [sys.executable, "-I", "-S", "-c", start + code, *arguments]  # -S: no .pth file is read
    return subprocess.run(argv, cwd="/", check=False, capture_output=True, text=True, timeout=60)
