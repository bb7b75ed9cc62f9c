"""What somebody sees who is not where they think: no node, another lab, another file, a long bench."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import CompletionItem

from natpair.cli import client, complete
from natpair.cli.main import cli, run
from natpair.errors import LabError
from natpair_lab.cli import bench
from natpair_lab.testbed import netns
from natpair_lab.testbed.world import Lab
from samples import EXAMPLE, text_with


@pytest.fixture
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "labs"
    folder.mkdir()
    (folder / ".made-netns-folder").touch()
    monkeypatch.setattr(complete, "LABS", folder)
    monkeypatch.setattr(netns, "LABS", folder)
    return folder


@pytest.fixture
def no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONFIG", str(tmp_path / "gateway.toml"))
    monkeypatch.setattr(client, "APPLIED", str(tmp_path / "applied.toml"))
    monkeypatch.setattr(client.agentsocket, "_ask", _nobody)


def _nobody(*_: object, **__: object) -> None:
    raise FileNotFoundError


def words(argv: list[str], capsys: pytest.CaptureFixture[str], code: int = 69) -> str:
    assert run(argv) == code
    out, err = capsys.readouterr()
    return out + err


@pytest.mark.parametrize("argv", [["status"], ["switchover"], ["drain"], ["undrain"], ["failback"]])
def test_a_machine_that_is_no_node_says_so(
    argv: list[str], labs: Path, no_node: None, capsys: pytest.CaptureFixture[str]
) -> None:
    said = words(argv, capsys)
    assert "this machine is not a node" in said
    assert "natpair init" in said
    assert "systemctl" not in said
    (labs / "ux" / "nodes" / "left").mkdir(parents=True)
    said = words(argv, capsys)
    assert "a lab is running: ux" in said
    assert "natpair lab exec --name ux left -- natpair status" in said


def test_a_node_whose_agent_is_silent_is_told_of_the_agent(
    tmp_path: Path, no_node: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gateway.toml").touch()
    said = words(["status"], capsys)
    assert "no agent answers" in said
    assert "systemctl status natpair-agent" in said


def test_a_lab_of_another_name_is_named(labs: Path) -> None:
    (labs / "ux").mkdir()
    with pytest.raises(LabError, match="no lab called lab is up; there is ux"):
        Lab.attach("lab")


def test_labs_are_listed_and_nothing_else(labs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no lab is running" in words(["lab", "list"], capsys, 0)
    (labs / "ux").mkdir()
    assert "half built" in words(["lab", "list"], capsys, 0)
    assert json.loads(words(["lab", "list", "--json"], capsys, 0))["labs"] == [{"name": "ux", "phase": "half built"}]


Offer = Callable[[object, object, str], list[CompletionItem]]


@pytest.mark.parametrize(
    ("argv", "half", "offered"),
    [
        (["lab", "status", "--name"], "", ["ux"]),
        (["render", str(EXAMPLE), "--node"], "", ["nat-a", "nat-b"]),
        (["diff", str(EXAMPLE), "--node"], "nat-b", ["nat-b"]),
        (["render", "/nowhere", "--node"], "", []),
        (["init", "--region"], "us-o", ["us-ord"]),
        (["chaos", "--fault"], "68", ["68"]),
        (["rollback"], "", ["3", "12"]),
    ],
)
def test_the_shell_offers(
    argv: list[str], half: str, offered: list[str], labs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from click.shell_completion import ShellComplete

    (labs / "ux").mkdir()
    for name in ("000003.json", "000012.json", "other"):
        (tmp_path / name).touch()
    monkeypatch.setattr(complete, "GENERATIONS", tmp_path)
    found = ShellComplete(cli, {}, "natpair", "_NATPAIR_COMPLETE").get_completions(argv, half)
    assert [item.value for item in found] == offered


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["render", "FILE", "--node", "nat-z"], '"nat-z" is not a node of this pair'),
        (["apply", "FILE", "--node", "nat-z", "--dry-run"], '"nat-z" is not a node of this pair'),
        (["diff", "FILE", "--node", "nat-z"], '"nat-z" is not a node of this pair'),
    ],
)
def test_the_right_file_is_named(
    argv: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text_with())
    said = words([str(file) if word == "FILE" else word for word in argv], capsys, 78)
    assert f"natpair: {file}: 1 problem" in said
    assert f"{file}:" in said.splitlines()[2]
    assert problem in said


def test_a_whole_bench_asks_first() -> None:
    mine, theirs = pty.openpty()
    code = "from natpair_lab.cli import bench; bench._agree(75, whole=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stderr=theirs) as asking:
        os.close(theirs)
        os.write(mine, b"n\n")
        assert asking.wait(timeout=60) != 0
        assert "75 runs, each in its own lab: about 25 minutes. Continue? [y/N]" in os.read(mine, 4096).decode()
    os.close(mine)


def test_a_chosen_bench_says_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    bench._agree(3, whole=False)
    assert "3 runs, each in its own lab: about 1 minute" in capsys.readouterr().err
