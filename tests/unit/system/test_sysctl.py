from __future__ import annotations

from pathlib import Path

import pytest

from natpair.errors import DaemonError
from natpair.system.sysctl import Assignment, differing, load, parse

TEXT = "# why\nnet/a = 1\n\n; also a comment\n-net/b =  2 \n"


def tree(root: Path, **values: str) -> Path:
    (root / "net").mkdir()
    for name, value in values.items():
        (root / "net" / name).write_text(value)
    return root


def test_lines_become_assignments() -> None:
    assert parse(TEXT) == (Assignment("net/a", "1", optional=False), Assignment("net/b", "2", optional=True))


def test_what_differs_is_written(tmp_path: Path) -> None:
    root = tree(tmp_path, a="0\n", b="2\n")
    assert [a.key for a in differing(parse(TEXT), root=root)] == ["net/a"]
    assert load(TEXT, root=root) == ()
    assert differing(parse(TEXT), root=root) == ()


def test_an_optional_key_may_be_missing(tmp_path: Path) -> None:
    root = tree(tmp_path, a="0\n")
    (root / "net" / "b").mkdir()
    assert [a.key for a in load(TEXT, root=root)] == ["net/b"]


def test_any_other_may_not(tmp_path: Path) -> None:
    root = tree(tmp_path, b="0\n")
    (root / "net" / "a").mkdir()
    with pytest.raises(DaemonError, match="refused net/a"):
        load(TEXT, root=root)
    assert (root / "net" / "b").read_text() == "2\n"


def test_what_is_for_an_interface_that_is_not_there_waits_for_it(tmp_path: Path) -> None:
    for place in ("all", "eth0"):
        (tmp_path / "net/ipv4/conf" / place).mkdir(parents=True)
        (tmp_path / "net/ipv4/conf" / place / "rp_filter").write_text("0\n")
    text = "net/ipv4/conf/eth0/rp_filter = 2\nnet/ipv4/conf/eth1.5/rp_filter = 2\n"
    assert load(text, root=tmp_path) == ()
    assert (tmp_path / "net/ipv4/conf/eth0/rp_filter").read_text() == "2\n"
    (tmp_path / "net/ipv4/conf/eth1.5/rp_filter").mkdir(parents=True)  # the kernel refuses
    with pytest.raises(DaemonError):
        load(text, root=tmp_path)
