"""The only module that reads the configuration file: path → text → raw tables → `Gateway`.

Its only error is `ConfigError`, with every problem of the schema and of the cross checks.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from natpair.config.auto import Draft, autos_in, corrected, open_problem, with_stand_ins
from natpair.config.broken import toml_problem
from natpair.config.checks import cross_check
from natpair.config.lines import line_of, map_lines, map_texts
from natpair.config.schema import shortened, validate
from natpair.config.secrets import HIDDEN, masked
from natpair.core.model import Gateway, Node
from natpair.errors import ConfigError, Problem

_OF_A_NODE = re.compile(r"node\[(\d+)\](.*)$", re.DOTALL)
MOST_BYTES = 1_000_000
"""Maximum size of a configuration. It stops the reading of a wrong file, such as /dev/zero."""


def load(path: Path) -> Gateway:
    """The gateway described by the file at `path`. Raise ConfigError with all problems if it cannot be used."""
    return parse(read(path), source=str(path))


def parse(text: str, *, source: str = "gateway.toml") -> Gateway:
    """The gateway described by `text`; `source` names it in errors."""
    gateway, autos, problems = _checked(text, source)
    problems += [open_problem(key) for key in autos]
    if gateway is None or problems:
        raise ConfigError(source, with_lines(problems, text))
    return gateway


def parse_draft(text: str, *, source: str = "gateway.toml") -> Draft:
    """As `parse`, but values that only the platform can assign may still be "auto"."""
    gateway, autos, problems = _checked(text, source)
    if gateway is None or problems:
        raise ConfigError(source, with_lines(problems, text))
    return Draft(text, gateway, frozenset(autos))


def load_draft(path: Path) -> Draft:
    """As `load`, but values that only the platform can assign may still be "auto"."""
    return parse_draft(read(path), source=str(path))


def _checked(text: str, source: str) -> tuple[Gateway | None, tuple[str, ...], list[Problem]]:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [toml_problem(error, text)]) from error
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
    """The node that this machine is: by `name` if given, else by an own address, else by its host name.

    Addresses come before the host name, because a cloned machine is more likely to keep its name than its address.
    """
    names = ", ".join(node.name for node in gateway.node)
    if name is not None:
        return _one([n for n in gateway.node if n.name == name], f'"{name}" is not a node of this pair', names)
    owned = frozenset(addresses)
    by_address = [n for n in gateway.node if {n.private_address.ip, n.public_address.ip} & owned]
    if by_address:
        return _one(by_address, "this machine has addresses of both nodes", names)
    short = (hostname or "").split(".")[0]
    return _one([n for n in gateway.node if n.name == short], "this machine is neither of the pair's nodes", names)


def _one(found: list[Node], message: str, names: str) -> Node:
    if len(found) == 1:
        return found[0]
    problem = Problem("node", "", message, f"--node with one of: {names}")
    raise ConfigError("node", [problem])


def read(path: Path) -> str:
    """The text of the regular file at `path`. Raise ConfigError if it cannot be read."""
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise _unreadable(path, "is not a regular file", "the path of a gateway.toml, or - for standard input")
        return decoded(path.read_bytes() if status.st_size <= MOST_BYTES else b" " * (MOST_BYTES + 1), str(path))
    except FileNotFoundError as error:
        raise _unreadable(path, "the file does not exist", "the path of a gateway.toml") from error
    except IsADirectoryError as error:
        raise _unreadable(path, "is a folder", "the path of a gateway.toml") from error
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}", "a file that this user can read") from error


def decoded(content: bytes, source: str) -> str:
    """The text of a configuration that was read from `source`, without a byte order mark (Windows writes one)."""
    if len(content) > MOST_BYTES:
        raise _unreadable(source, f"is longer than {MOST_BYTES} bytes", "a gateway.toml, which has about 2,000")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        message = f"byte 0x{content[error.start]:02x} at column {column} is not UTF-8"
        raise ConfigError(source, [Problem("", "", message, "a TOML file in UTF-8", line)]) from error


def _unreadable(source: Path | str, message: str, accepted: str) -> ConfigError:
    return ConfigError(str(source), [Problem("", str(source), message, accepted)])


def with_lines(problems: Iterable[Problem], text: str) -> list[Problem]:
    """The problems with the line of each key in `text`, in the order of the file.

    Values are shown as typed, not as parsed (`192.168.1.1` is not `192.168.1.1/32`), and nodes are called by name.
    """
    lines, texts, names = map_lines(text), map_texts(text), _node_names(text)

    def placed(problem: Problem) -> Problem:
        value = problem.value
        if problem.key in texts and value not in {"", HIDDEN}:
            start, end = texts[problem.key]
            value = str(masked(text[start + 1 : end - 1], (problem.key,)))
        node = _OF_A_NODE.match(problem.key)
        name = names.get(int(node[1])) if node else None
        called = f"{name}{node[2].replace('.', ': ', 1)}" if node and name else ""
        line = line_of(lines, problem.key)
        return replace(problem, value=shortened(value), line=line, called=called)

    return sorted(map(placed, problems), key=lambda p: (p.line is None, p.line or 0))


def _node_names(text: str) -> dict[int, str]:
    nodes = tomllib.loads(text).get("node", [])
    named = enumerate(nodes if isinstance(nodes, list) else [])
    found = {at: f"node {node['name']}" for at, node in named if isinstance(node, dict) and "name" in node}
    alike = len(set(found.values())) < len(found)
    return {at: ("first node", "second node")[at] for at in found if at < 2} if alike else found
