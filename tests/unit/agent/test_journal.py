"""What the agent writes down and finds again, also when a file is missing, damaged or the disk full."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.agent import journal
from natpair.agent.journal import Events, Remembered

keys = st.lists(st.text(max_size=5), max_size=2).map(tuple)
macs = st.sampled_from(["", "02:00:00:00:00:04"])
remembered = st.builds(Remembered, st.booleans(), st.integers(0, 2**40), st.booleans(), st.booleans(), keys, macs)


@given(state=remembered)
def test_what_is_remembered_is_recalled(tmp_path_factory: pytest.TempPathFactory, state: Remembered) -> None:
    path = str(tmp_path_factory.getbasetemp() / "state.json")
    journal.remember(state, path)
    assert journal.recall(path) == state


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", "{}", '{"role": "active"}', '{"role":"active","epoch":"x","boosted":1,"fenced":1}'],
)
def test_a_damaged_memory_is_none(tmp_path: Path, damage: str) -> None:
    (tmp_path / "state.json").write_text(damage)
    assert journal.recall(str(tmp_path / "state.json")) == Remembered()


def test_no_memory_is_none(tmp_path: Path) -> None:
    assert journal.recall(str(tmp_path / "state.json")) == Remembered()


def test_the_memory_says_what_agent_stopped_reads(tmp_path: Path) -> None:
    for active, word in ((True, "active"), (False, "standby")):
        journal.remember(Remembered(active=active, epoch=3), str(tmp_path / "state.json"))
        assert json.loads((tmp_path / "state.json").read_text())["role"] == word


def test_reserved_generations_are_on_the_disk(tmp_path: Path) -> None:
    path = str(tmp_path / "epoch")
    assert journal.reserved_generation(path) == 0
    for ceiling in (1000, 2000):
        journal.reserve_generation(ceiling, path)
        assert journal.reserved_generation(path) == ceiling
    assert [entry.name for entry in tmp_path.iterdir()] == ["epoch"]


@pytest.mark.parametrize("damage", ["", "many\n", "12 13\n"])
def test_a_damaged_epoch_file_counts_as_lost(tmp_path: Path, damage: str) -> None:
    (tmp_path / "epoch").write_text(damage)
    assert journal.reserved_generation(str(tmp_path / "epoch")) == 0


def test_drained_is_a_file_that_is_there(tmp_path: Path) -> None:
    path = str(tmp_path / "drained")
    for drained in (False, True, True, False, False):
        journal.save_drained(drained, path)
        assert journal.is_drained(path) is drained


def test_events_are_one_object_a_line_with_the_transition_they_belong_to(tmp_path: Path) -> None:
    events = Events(str(tmp_path / "events.jsonl"))
    events.record("fifo", role="MASTER")
    events.transition = "nat-a-22-1"
    events.record("step", step="announced", took_ms=1.5)
    assert events.flush(5.0)
    first, second = (json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines())
    assert (first["event"], first["transition"], first["role"]) == ("fifo", "", "MASTER")
    assert (second["transition"], second["step"], second["took_ms"]) == ("nat-a-22-1", "announced", 1.5)
    assert first["time"] <= second["time"]


def test_the_log_never_grows_beyond_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_EVENTS_LIMIT_BYTES", 1000)
    events = Events(str(tmp_path / "events.jsonl"))
    for number in range(200):
        events.record("step", number=number)
        assert events.flush(5.0)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) < 2500
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])["number"] == 199


def test_a_log_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    Events(str(tmp_path / "no" / "such" / "folder")).record("step")


def test_the_peers_mac_outlives_a_reboot_and_nothing_else_is_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "peer-mac"
    assert journal.peer_mac(str(path)) == ""
    for mac in ("02:00:00:00:00:04", "02:00:00:00:00:05"):
        journal.save_peer_mac(mac, str(path))
        assert journal.peer_mac(str(path)) == mac
    for damage in (b"", b"02:00", b"any accept", b"\xff\xfe"):
        path.write_bytes(damage)
        assert journal.peer_mac(str(path)) == ""
