"""Explain what is wrong with a text that is not TOML.

`tomllib` says where it stopped and what its grammar expects. The usual mistakes are recognised and named: another
format, missing or typographic quotes, a duplicate table or key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from natpair.config.secrets import masked_line
from natpair.errors import Problem

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_EXPECTED = 'lines such as key = "value", below headers such as [pair]'
_KEY = re.compile(r"^\s*([\w.-]+)\s*=\s*(.*)$")
_YAML = re.compile(r"^\s*(?:- +)?[\w.-]+:(?:\s|$)|^---\s*$")
_CURLY = re.compile(r"=\s*\[?\s*[\u2018-\u201f\u00ab\u00bb]")
_TWICE = re.compile(r"^Cannot declare (\(.*\)) twice$")


@dataclass(frozen=True, slots=True)
class _Broken:
    """Where tomllib stopped: its reason, the whole text in lines, and the number of the line, from 1."""

    reason: str
    lines: list[str]
    line: int
    column: str

    @property
    def here(self) -> str:
        """The line itself."""
        return self.lines[self.line - 1] if self.line <= len(self.lines) else ""


def toml_problem(error: tomllib.TOMLDecodeError, text: str) -> Problem:
    """The problem of a `text` that tomllib refused with `error`."""
    message = str(error)
    place = _PLACE.search(message)
    line = int(place[1]) if place and place[1] else text.count("\n") + 1
    column = f" at column {place[2]}" if place and place[2] else ""
    broken = _Broken(_PLACE.sub("", message), text.splitlines(), line, column)
    for explain in _EXPLAINED:
        for problem in explain(broken):
            return problem
    return _problem(broken, f"not valid TOML{column}: {broken.reason}", _EXPECTED)


def _problem(broken: _Broken, message: str, accepted: str, line: int | None = None) -> Problem:
    line = line or broken.line
    shown = broken.lines[line - 1].strip() if line <= len(broken.lines) else ""
    return Problem("", masked_line(shown), message, accepted, line)


def _json(broken: _Broken) -> Iterator[Problem]:
    first = next((line.strip() for line in broken.lines if line.strip()), "")
    if first.startswith("{"):
        yield _problem(broken, "this looks like JSON, but a gateway.toml is in TOML format", _EXPECTED)


def _yaml(broken: _Broken) -> Iterator[Problem]:
    if _YAML.match(broken.here):
        yield _problem(broken, "this looks like YAML, but a gateway.toml is in TOML format", _EXPECTED)


def _curly_quotes(broken: _Broken) -> Iterator[Problem]:
    if _CURLY.search(broken.here):
        yield _problem(broken, "these are typographic quotes, as word processors write them", 'straight quotes: "…"')


def _twice(broken: _Broken) -> Iterator[Problem]:
    if (found := _TWICE.match(broken.reason)) is None:
        return
    name = ".".join(re.findall(r"'([^']*)'", found[1]))
    if name == "node":
        yield _problem(broken, "[node] is defined twice", "[[node]] with double brackets, once for each node")
        return
    header = re.compile(rf"^\s*\[\s*{re.escape(name)}\s*\]")
    before = next((at for at, line in enumerate(broken.lines[: broken.line - 1], 1) if header.match(line)), None)
    where = f" on line {before}" if before else ""
    yield _problem(broken, f"[{name}] is already defined{where}", f"one table [{name}] with all of its keys below it")


def _overwritten(broken: _Broken) -> Iterator[Problem]:
    key = _KEY.match(broken.here)
    if broken.reason != "Cannot overwrite a value" or key is None:
        return
    for at in range(broken.line - 1, 0, -1):
        line = broken.lines[at - 1]
        if line.lstrip().startswith("["):
            return
        if (other := _KEY.match(line)) is not None and other[1] == key[1]:
            yield _problem(broken, f"{key[1]} is already set on line {at}", "each key only once in its table")
            return


def _open_string(broken: _Broken) -> Iterator[Problem]:
    if broken.reason == r"Illegal character '\n'":
        yield _problem(broken, 'the closing " is missing', 'text in quotes: "…"')
    elif broken.reason in {'Expected "\'"', "Unterminated string"}:
        for at, line in enumerate(broken.lines, 1):
            value = (_KEY.match(line) or ("", "", ""))[2]
            for quote in ('"""', "'''", "'"):
                if value.startswith(quote) and value.count(quote) == 1:
                    yield _problem(broken, f"the closing {quote} is missing", f"{quote}…{quote}", at)
                    return


def _unquoted(broken: _Broken) -> Iterator[Problem]:
    key = _KEY.match(broken.here)
    if key is None or not key[2]:
        return
    value = key[2].partition("#")[0].strip()
    items = value.strip("[],").split(",") if value.startswith("[") else [value]
    if any(set(item) & set("\"'{}[]=") for item in items) or all(_is_toml(item.strip()) for item in items):
        return
    quoted = [item.strip() if _is_toml(item.strip()) else f'"{item.strip()}"' for item in items]
    right = f"[{', '.join(quoted)}]" if value.startswith("[") else quoted[0]
    yield _problem(broken, "text and addresses must be in quotes", masked_line(f"{key[1]} = {right}"))


def _is_toml(value: str) -> bool:
    try:
        tomllib.loads(f"x = {value}\n")
    except tomllib.TOMLDecodeError:
        return False
    return True


_EXPLAINED: tuple[Callable[[_Broken], Iterator[Problem]], ...] = (
    _json,
    _curly_quotes,
    _yaml,
    _twice,
    _overwritten,
    _open_string,
    _unquoted,
)
