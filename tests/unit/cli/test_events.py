"""natpair events as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from journals import GIVER, TAKER, line, move
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
    assert run(["events", *both, "--json", "--kind", "role"]) == 0
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


STORY = [
    move(1000.0, "booting", "standby"),
    line(2000.0, "repair", thing="sysctl net/ipv4/ip_forward", found="0", put="1", suspects=["sysctl"]),
    line(2010.0, "daemon", name="BIRD", what="ended", how="killed", pid=7),
    line(2010.4, "daemon", name="BIRD", what="started", pid=8, seconds=0.4),
    line(2012.0, "condition", code="no-bgp", what="began", severity="critical", text="none of 4", seconds=1.0),
    line(2100.0, "condition", code="no-bgp", what="ended", seconds=89.0),
    {**line(3000.0, "apply", text="apply by root: 3 files changed"), "node": ""},
    line(3002.0, "condition", code="drained", what="began", severity="info", text="nat-a is drained", seconds=1.0),
]


def test_one_timeline_has_everything_with_its_cause_and_its_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(written(tmp_path / "events.jsonl", STORY))
    assert run(["events", file]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("1970")]
    assert [line.split("  ", 1)[1] for line in told[1:]] == [
        "repair  nat-a  sysctl net/ipv4/ip_forward: found 0, repaired: 1 (may have been: sysctl)",
        "daemon  nat-a  BIRD was killed or crashed, and was back after 0.4 s  (for 0.4 s)",
        "condition  nat-a  critical: none of 4 (no-bgp)  (for 89 s)",
        "apply  nat-a  apply by root: 3 files changed",
        "condition  nat-a  info: nat-a is drained (drained)  (not ended yet)",
    ]


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (["--kind", "repair", "--kind", "daemon"], ["repair", "daemon"]),
        (["--kind", "role"], ["start"]),
        (["--since", "1970-01-01T00:40:00Z"], ["apply", "condition"]),
        (["--since", "1970-01-01T00:34:00", "--kind", "condition"], ["condition", "condition"]),
        (["--since", "1h"], ["condition"]),
        (["--last", "2"], ["apply", "condition"]),
        (["--kind", "takeover"], []),
    ],
)
def test_entries_are_chosen_by_kind_and_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], kinds: list[str]
) -> None:
    file = str(written(tmp_path / "events.jsonl", STORY))
    assert run(["events", file, "--json", *options]) == 0
    assert [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()] == kinds


def test_a_time_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(written(tmp_path / "events.jsonl", STORY))
    assert run(["events", file, "--since", "yesterday"]) == 64
    assert "15m" in capsys.readouterr().err


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
