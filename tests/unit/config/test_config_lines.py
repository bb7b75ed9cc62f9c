from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given

from natpair.config.lines import line_of, map_lines
from strategies import Tables, dump_toml, gateway_tables

TRICKY = '''\
title = "a # no comment, [no table], = nothing"  # a comment with "quotes" and [brackets]
'single' = 'it''s'
"quoted.key" = 1
long = """
[not.a.table]
x = 1
"""
a.b.c = 2

[table]
list = [
  1,  # one
  [2, 3],
  { x = 4, y = [5] },

  "six",
]
when = 2026-01-01T00:00:00Z
[[rows]]
n = 1.5
[rows.inner]
m = 1
[[rows]]
n = 2
'''.replace("'it''s'", "'its'")


def paths(value: object, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{prefix}.{key}" if prefix else key
            yield path
            yield from paths(inner, path)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield f"{prefix}[{index}]"
            yield from paths(inner, f"{prefix}[{index}]")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("title", 1),
        ("single", 2),
        ("quoted.key", 3),
        ("long", 4),
        ("a.b.c", 8),
        ("table.list", 11),
        ("table.list[0]", 12),
        ("table.list[1][1]", 13),
        ("table.list[2].y[0]", 14),
        ("table.list[3]", 16),
        ("table.when", 18),
        ("rows[0].n", 20),
        ("rows[0].inner.m", 22),
        ("rows[1].n", 24),
    ],
)
def test_keys_are_found_on_their_lines(key: str, line: int) -> None:
    assert map_lines(TRICKY)[key] == line


def test_every_path_of_a_tricky_file_is_known() -> None:
    assert set(paths(tomllib.loads(TRICKY))) <= set(map_lines(TRICKY))


def test_a_missing_key_is_placed_at_the_table_around_it() -> None:
    lines = map_lines(TRICKY)
    assert line_of(lines, "rows[1].absent") == 23
    assert line_of(lines, "table.list[9]") == 11
    assert line_of(lines, "nowhere.at.all") is None


@given(gateway_tables())
def test_every_key_of_any_gateway_has_the_line_it_stands_on(tables: Tables) -> None:
    text = dump_toml(tables)
    written = text.splitlines()
    lines = map_lines(text)
    for path in paths(tomllib.loads(text)):
        name = path.rsplit("]", 1)[-1] if path.endswith("]") else path.rsplit(".", 1)[-1]
        assert name in written[lines[path] - 1]
