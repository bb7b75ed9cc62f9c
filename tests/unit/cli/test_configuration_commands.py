"""check, render and apply --dry-run as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from natpair.cli.main import run
from natpair.core import paths
from natpair.render.bundle import render_all
from samples import EXAMPLE, gateway, text_with


def test_a_good_file_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(EXAMPLE)]) == 0
    out, err = capsys.readouterr()
    assert "nat-a and nat-b translate 192.168.1.0/24 to 192.0.2.221; clients use the gateway 192.168.1.1" in out
    assert "firewall.management_sources = []" in err


def test_a_bad_file_is_78_with_every_problem_on_stderr(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(text_with(("us-ord", "us-odr"), ('name = "nat-b"', 'name = "nat-a"')))
    assert run(["check", str(bad)]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{bad}: 2 problems" in err
    assert f"{bad}:19: second node: name = nat-a" in err
    assert "did you mean us-ord?" in err


@pytest.mark.parametrize("change", [("us-ord", "us-odr"), ("us-ord", "us-sea")])
def test_json_is_one_document(capsys: pytest.CaptureFixture[str], tmp_path: Path, change: tuple[str, str]) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text_with(change))
    code = run(["check", str(file), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "natpair/check/v1"
    assert document["ok"] is (code == 0)
    assert [(p["key"], p["line"]) for p in document["problems"]] == ([] if code == 0 else [("bgp.region", 27)])


def test_warnings_have_a_line_and_count_only_when_told_to(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text_with(('profile = "balanced"', 'profile = "fast"')))
    assert run(["check", str(file)]) == 0
    assert f"{file}:8: pair.profile = fast\n" in capsys.readouterr().err
    assert run(["check", str(file), "--json", "--strict"]) == 78
    document = json.loads(capsys.readouterr().out)
    assert not document["ok"]
    assert next((w["key"], w["line"]) for w in document["warnings"]) == ("pair.profile", 8)


def test_a_careful_file_has_no_warnings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text_with(extra='[firewall]\nmanagement_sources = ["10.9.0.0/16"]\n'))
    assert run(["check", str(file), "--strict"]) == 0
    assert capsys.readouterr().err == ""


def test_a_missing_file_is_78(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "/nowhere/gateway.toml"]) == 78
    assert "the file does not exist" in capsys.readouterr().err


def test_rendered_files_land_below_the_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["render", str(EXAMPLE), "--node", "nat-b", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    for file in render_all(gateway(), "nat-b"):
        written = tmp_path / file.path.lstrip("/")
        assert written.read_text() == file.text
        assert written.stat().st_mode & 0o7777 == file.mode
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(render_all(gateway(), "nat-b"))


def test_without_a_folder_everything_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", str(EXAMPLE), "--node", "nat-a"]) == 0
    out = capsys.readouterr().out
    for file in render_all(gateway(), "nat-a"):
        assert f"### {file.path} (mode 0644)\n{file.text}" in out


def test_render_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", str(EXAMPLE), "--node", "nat-a", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["node"]) == ("natpair/render/v1", "nat-a")
    assert [file["path"] for file in document["files"]] == [file.path for file in render_all(gateway(), "nat-a")]


def test_a_node_that_is_not_in_the_file_is_told_who_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", str(EXAMPLE), "--node", "nat-c"]) == 78
    assert "nat-a, nat-b" in capsys.readouterr().err


def test_a_dry_run_says_what_would_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["apply", str(EXAMPLE), "--node", "nat-a", "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dry_run"]
    assert paths.SYSCTL in document["changed"]
    assert "sysctls" in document["reloaded"]


def test_on_a_strange_machine_apply_asks_for_the_node(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["apply", str(EXAMPLE), "--dry-run"]) == 78
    assert "--node with one of: nat-a, nat-b" in capsys.readouterr().err
