"""natpair events as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from journals import GIVER, TAKER, move
from natpair.cli.main import run


def written(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def both(tmp_path: Path) -> list[str]:
    files = (written(tmp_path / "a.jsonl", GIVER), written(tmp_path / "b.jsonl", TAKER))
    return [str(file) for file in files]


def test_both_nodes_are_told_as_one_change(both: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", *both]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "1970-01-01T00:01:40.000Z  switchover  nat-a active → standby; nat-b standby → active  (e23)\n"
    )
    assert "      100 ms  nat-b  standby to preparing: why preparing\n" in out
    assert "      600 ms  nat-a  traffic-relay  (4.25 ms)\n" in out


def test_json_is_a_line_for_each_node(both: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", *both, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["node"], line["id"], line["took_ms"]) for line in lines] == [
        ("nat-a", "e23", 500.0),
        ("nat-b", "e23", 210.0),
    ]


def test_what_was_rotated_away_is_read_and_what_is_damaged_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "events.1.jsonl", [move(1.0, "booting", "standby")])
    new = written(tmp_path / "events.jsonl", [move(50.0, "standby", "fault")])
    new.write_text(new.read_text() + '{"time": 51, "eve\n[1]\n{"event": "x"}\n')
    assert run(["events", str(new), "--json"]) == 0
    assert [json.loads(line)["after"] for line in capsys.readouterr().out.splitlines()] == ["standby", "fault"]
    assert run(["events", str(new), "--json", "--last", "1"]) == 0
    assert [json.loads(line)["after"] for line in capsys.readouterr().out.splitlines()] == ["fault"]


def test_no_file_is_66_and_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", str(tmp_path / "none.jsonl")]) == 66
    assert "--lab NAME" in capsys.readouterr().err


def test_followed_changes_are_told_when_they_have_ended(tmp_path: Path) -> None:
    file = written(tmp_path / "events.jsonl", GIVER)
    argv = [sys.executable, "-m", "natpair", "events", str(file), "--follow", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        try:
            first = json.loads(following.stdout.readline())
            written(file, [*GIVER, move(200.0, "standby", "challenging")])
            written(file, [*GIVER, move(200.0, "standby", "challenging"), move(200.1, "challenging", "active")])
            second = json.loads(following.stdout.readline())
        finally:
            following.kill()
    assert (first["kind"], second["kind"], second["took_ms"]) == ("switchover", "takeover", 100.0)
