from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from natpair.config.load import parse
from natpair.core.rendered import Capabilities, Checker
from natpair.render.bundle import render_all
from samples import gateway
from strategies import Tables, dump_toml, gateway_tables


@settings(max_examples=60)
@given(gateway_tables())
def test_any_valid_gateway_renders_the_same_bytes_each_time(tables: Tables) -> None:
    straight, reversed_ = parse(dump_toml(tables)), parse(dump_toml(tables, reverse=True))
    for node in straight.node:
        files = render_all(straight, node.name)
        assert files == render_all(reversed_, node.name)
        assert [file.path for file in files] == sorted({file.path for file in files})
        for file in files:
            assert file.text.endswith("\n"), file.path
            assert not re.search(r"\{\{|\}\}|\{%|\bNone\b|Undefined|<.* object at", file.text), file.path


@settings(max_examples=30)
@given(gateway_tables())
def test_braces_and_quotes_close_in_every_daemon_file(tables: Tables) -> None:
    known = parse(dump_toml(tables))
    for file in render_all(known, known.node[0].name):
        if file.checker is not None:
            code = re.sub(r"#.*", "", file.text)
            assert code.count("{") == code.count("}"), file.path
            assert code.count('"') % 2 == 0, file.path


def test_files_are_natpairs_own() -> None:
    for file in render_all(gateway(), "nat-a"):
        assert "natpair" in file.path
        assert file.mode == 0o644
        assert "nat-a" in file.text.splitlines()[0] + file.text.splitlines()[1]


def test_what_a_daemon_reads_has_a_judge() -> None:
    unjudged = {"routes.ip", "guard.tc"}
    for file in render_all(gateway(), "nat-a"):
        if "/generated/" in file.path and file.path.rsplit("/", 1)[-1] not in unjudged:
            assert isinstance(file.checker, Checker), file.path


def test_a_stranger_has_no_files() -> None:
    with pytest.raises(KeyError):
        render_all(gateway(), "nat-c")


def test_capabilities_reach_only_what_they_concern() -> None:
    plain = render_all(gateway(), "nat-a")
    newer = render_all(gateway(), "nat-a", capabilities=Capabilities(keepalived_late_master_steps_down=True))
    differing = [new for old, new in zip(plain, newer, strict=True) if old != new]
    assert [file.path.rsplit("/", 1)[-1] for file in differing] == ["keepalived.conf"]
    assert "timer_expired_backup" in differing[0].text
