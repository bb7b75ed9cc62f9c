"""Give problems that are found after parsing the file's path, and each key its line.

Checks that need the account or the machine run long after the text was parsed and know only the gateway. `in_its_file`
adds the path that the user typed to their errors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from natpair.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")

NAMELESS = frozenset({"gateway.toml", "node"})
"""Placeholders that code uses as the source of a ConfigError if it does not know the file."""


def in_its_file(function: Callable[P, R]) -> Callable[P, R]:
    """For a command with an argument `file`: put this file's path into a ConfigError without one."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ConfigError as error:
            file = kwargs.get("file")
            if error.source not in NAMELESS or not isinstance(file, Path):
                raise
            raise _of(file, error) from error

    return wrapped


def _of(file: Path, error: ConfigError) -> ConfigError:
    from natpair.config.load import read, with_lines

    try:
        problems = with_lines(error.problems, read(file))
    except (ConfigError, ValueError):  # the file is gone or has changed: report the problems without lines
        problems = list(error.problems)
    named = ConfigError(str(file), problems)
    named.fix = error.fix
    return named
