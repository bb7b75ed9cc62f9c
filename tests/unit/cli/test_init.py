"""natpair init: answers become a file that passes check; nothing is asked without a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from natpair.cli.commands import init
from natpair.cli.commands.init import QUESTIONS
from natpair.cli.main import run
from natpair.config.load import load
from samples import gateway

GIVEN = {
    "--name": "nat-a",
    "--private-interface": "eth1",
    "--private": "192.168.1.3/24",
    "--public-interface": "eth0",
    "--public": "203.0.113.3/24",
    "--public6": "2001:db8:100::3/64",
    "--peer-name": "nat-b",
    "--peer-private": "192.168.1.4/24",
    "--peer-public": "203.0.113.4/24",
    "--peer-public6": "2001:db8:100::4/64",
    "--vip": "192.168.1.1/24",
    "--fip": "192.0.2.221",
    "--region": "us-ord",
    "--profile": "balanced",
}


def words(**changes: str | None) -> list[str]:
    given = {**GIVEN, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    return [word for option, value in given.items() if value is not None for word in (option, value)]


@pytest.fixture(autouse=True)
def no_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "_guesses", dict)


def test_every_question_has_its_option() -> None:
    assert {question.option for question in QUESTIONS} == set(GIVEN)


def test_the_answers_become_the_gateway_they_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "gateway.toml"
    assert run(["init", str(file), *words()]) == 0
    assert load(file) == gateway()
    capsys.readouterr()
    assert run(["init", str(file), *words()]) == 64
    assert "--force" in capsys.readouterr().err
    assert run(["init", str(file), *words(), "--fip", "192.0.2.222", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answers"]["fips"] == "192.0.2.221 192.0.2.222"
    assert len(load(file).pair.fips) == 2


def test_without_a_terminal_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(tmp_path / "g.toml"), *words(vip=None, peer_name=None)]) == 64
    assert "missing: --peer-name, --vip" in capsys.readouterr().err
    assert not (tmp_path / "g.toml").exists()


@pytest.mark.parametrize("bad", ["192.168.9.1/24", 'x"\n[nat]\nmax_flows = 1', "auto"])
def test_an_answer_that_cannot_be_used_writes_nothing(
    tmp_path: Path, bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", str(tmp_path / "g.toml"), *words(vip=bad)]) == 78
    said = capsys.readouterr().err
    assert "problem" in said
    assert not (tmp_path / "g.toml").exists()
    assert str(tmp_path / "g.toml.draft") in said
    assert 'region = "us-ord"' in (tmp_path / "g.toml.draft").read_text()


def test_at_a_terminal_each_question_explains_itself_and_takes_the_guess(tmp_path: Path) -> None:
    mine, theirs = pty.openpty()
    argv = [sys.executable, "-m", "natpair", "init", str(tmp_path / "g.toml"), *words(vip=None, profile=None)]
    with subprocess.Popen(argv, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE) as asking:
        os.close(theirs)
        os.write(mine, b"192.168.1.1/24\n\n")
        said = asking.communicate(timeout=30)[0]
        shown = os.read(mine, 65536).decode()
    os.close(mine)
    assert asking.returncode == 0, shown
    assert b"passes natpair check" in said
    assert "the gateway address of your private instances" in shown
    assert load(tmp_path / "g.toml") == gateway()


def test_a_wrong_answer_is_asked_again_at_its_question(tmp_path: Path) -> None:
    mine, theirs = pty.openpty()
    unknown = {"name": None, "private": None, "private_interface": None, "peer_private": None, "vip": None, "fip": None}
    argv = [sys.executable, "-m", "natpair", "init", str(tmp_path / "g.toml"), *words(**unknown, region=None)]
    answers = [
        ("nat_A", "nat-a"),
        ("10.0.0.3", "eth1"),
        ("eth0", "192.168.1.3/24"),
        ("192.168.1.4", "192.168.1.4/24"),
        ("192.168.2.1/24", "192.168.1.1/24"),
        ("10.9.9.9", "192.0.2.221"),
        ("chicago", "us-ord"),
    ]
    with subprocess.Popen(argv, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE) as asking:
        os.close(theirs)
        os.write(mine, "".join(f"{wrong}\n{right}\n" for wrong, right in answers).encode())
        shown = read_all(mine)
        asking.communicate(timeout=60)
    os.close(mine)
    assert asking.returncode == 0, shown
    assert load(tmp_path / "g.toml") == gateway()
    for wrong, _ in answers:
        assert f" {wrong}: " in shown
    assert "did you mean us-ord?" in shown


def read_all(terminal: int) -> str:
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(terminal, 65536):
            shown += piece
    return shown.decode()


def test_the_key_is_made_once_and_is_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, key = tmp_path / "g.toml", tmp_path / "pair.key"
    assert run(["init", str(file), *words()]) == 0
    assert key.stat().st_mode & 0o777 == 0o600
    made = key.read_text()
    assert len(bytes.fromhex(made)) == 32
    said = capsys.readouterr().err
    for line in (f"install -D -m 600 {key} /etc/natpair/pair.key", "ssh root@203.0.113.4 mkdir -p", "  natpair apply"):
        assert line in said
    assert run(["init", str(file), *words(), "--force"]) == 0
    assert key.read_text() == made
    key.unlink()
    assert run(["init", str(file), *words(), "--force", "--no-key"]) == 0
    assert not key.exists()
