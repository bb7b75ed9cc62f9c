"""The only place that reads the configuration file: path → text → raw tables → `Gateway`.

It raises `ConfigError` with every problem it could find, schema and cross checks together, and nothing else.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path

from natpair.config.auto import Draft, autos_in, corrected, open_problem, with_stand_ins
from natpair.config.checks import cross_check
from natpair.config.lines import line_of, map_lines
from natpair.config.schema import validate
from natpair.core.model import Gateway, Node
from natpair.errors import ConfigError, Problem

_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(path: Path) -> Gateway:
    """The gateway described by the file at `path`; ConfigError with all problems if it cannot be used."""
    return parse(_read(path), source=str(path))


def parse(text: str, *, source: str = "gateway.toml") -> Gateway:
    """The gateway described by `text`; `source` names it in errors."""
    gateway, autos, problems = _checked(text, source)
    problems += [open_problem(key) for key in autos]
    if gateway is None or problems:
        raise ConfigError(source, _with_lines(problems, text))
    return gateway


def parse_draft(text: str, *, source: str = "gateway.toml") -> Draft:
    """As `parse`, but what only the platform can give may still be "auto"."""
    gateway, autos, problems = _checked(text, source)
    if gateway is None or problems:
        raise ConfigError(source, _with_lines(problems, text))
    return Draft(text, gateway, frozenset(autos))


def load_draft(path: Path) -> Draft:
    """As `load`, but what only the platform can give may still be "auto"."""
    return parse_draft(_read(path), source=str(path))


def _checked(text: str, source: str) -> tuple[Gateway | None, tuple[str, ...], list[Problem]]:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [_toml_problem(error, text)]) from error
    autos = autos_in(raw)
    checked = validate(with_stand_ins(raw, autos))
    problems = [*checked.problems, *cross_check(checked.partial, partial=checked.gateway is None)]
    return checked.gateway, autos, corrected(problems, autos)


def find_node(
    gateway: Gateway,
    *,
    name: str | None = None,
    hostname: str | None = None,
    addresses: Iterable[IPv4Address] = (),
) -> Node:
    """The node this machine is: by `name` if given, else by an address it owns, else by its host name.

    Addresses go before the host name, because a cloned machine keeps its name more easily than its address.
    """
    names = ", ".join(node.name for node in gateway.node)
    if name is not None:
        return _one([n for n in gateway.node if n.name == name], f'"{name}" is not a node of this pair', names)
    owned = frozenset(addresses)
    by_address = [n for n in gateway.node if {n.private_address.ip, n.public_address.ip} & owned]
    if by_address:
        return _one(by_address, "this machine owns addresses of both nodes", names)
    short = (hostname or "").split(".")[0]
    return _one([n for n in gateway.node if n.name == short], "this machine is neither node of the pair", names)


def _one(found: list[Node], message: str, names: str) -> Node:
    if len(found) == 1:
        return found[0]
    problem = Problem("node", "", message, f"--node with one of: {names}")
    raise ConfigError("node", [problem])


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise _unreadable(path, "there is no such file", "the path of a gateway.toml") from error
    except IsADirectoryError as error:
        raise _unreadable(path, "this is a folder", "the path of a gateway.toml") from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"byte {error.start} is not UTF-8", "a TOML file in UTF-8") from error
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}", "a file this user may read") from error


def _unreadable(path: Path, message: str, accepted: str) -> ConfigError:
    return ConfigError(str(path), [Problem("", str(path), message, accepted)])


def _toml_problem(error: tomllib.TOMLDecodeError, text: str) -> Problem:
    message = str(error)
    place = _TOML_PLACE.search(message)
    line = int(place[1]) if place and place[1] else text.count("\n") + 1
    where = f" at column {place[2]}" if place and place[2] else ""
    shown = text.splitlines()[line - 1].strip() if line <= len(text.splitlines()) else ""
    reason = _TOML_PLACE.sub("", message)
    return Problem("", shown, f"not valid TOML{where}: {reason}", 'lines such as key = "value" below [tables]', line)


def _with_lines(problems: Iterable[Problem], text: str) -> list[Problem]:
    lines = map_lines(text)
    placed = [Problem(p.key, p.value, p.message, p.accepted, line_of(lines, p.key)) for p in problems]
    return sorted(placed, key=lambda p: (p.line is None, p.line or 0))
