"""Words, tables and JSON as people and programs get them."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from natpair.cli import output


class Role(StrEnum):
    ACTIVE = "active"


@dataclass(frozen=True)
class View:
    role: Role
    address: IPv4Address
    networks: tuple[IPv4Network, ...]


def stream(encoding: str, *, tty: bool = False) -> io.TextIOWrapper:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return tty

    return Terminal(io.BytesIO(), encoding=encoding)


def test_json_is_one_document_with_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    view = View(Role.ACTIVE, IPv4Address("192.0.2.1"), (IPv4Network("10.0.0.0/8"),))
    output.emit_json(
        {"schema": "natpair/x/v1", "view": view, "at": datetime(2030, 1, 1, tzinfo=UTC), "path": Path("/x")}
    )
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "schema": "natpair/x/v1",
        "view": {"role": "active", "address": "192.0.2.1", "networks": ["10.0.0.0/8"]},
        "at": "2030-01-01T00:00:00+00:00",
        "path": "/x",
    }
    assert captured.err == ""
    assert captured.out.isascii()


def test_json_keeps_the_order_of_keys(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit_json({"b": 1, "a": {"d", "c"}})
    assert list(json.loads(capsys.readouterr().out).items()) == [("b", 1), ("a", ["c", "d"])]


@pytest.mark.parametrize("value", [object(), float("nan"), b"bytes"])
def test_json_refuses_what_has_no_form(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        output.emit_json({"value": value})


def test_columns_are_aligned() -> None:
    assert output.table([("nat-a", 1), ("b", 22)], headers=("node", "flows")) == "node   flows\nnat-a  1\nb      22"
    assert output.table([]) == ""


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", output.UNICODE), ("ascii", output.ASCII), ("latin-1", output.ASCII)]
)
def test_signs_are_those_the_stream_can_print(encoding: str, expected: output.Symbols) -> None:
    assert output.symbols(stream(encoding)) == expected


def test_the_fallback_is_ascii() -> None:
    assert "".join(getattr(output.ASCII, name) for name in output.Symbols.__slots__).isascii()


def test_text_the_stream_cannot_print_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = stream("ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    output.say("naïve → yes")
    terminal.flush()
    assert terminal.buffer.getvalue() == b"na?ve ? yes\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("tty", "environment", "wanted"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, tty: bool, environment: dict[str, str], wanted: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert output.colour_wanted(stream("utf-8", tty=tty)) is wanted
