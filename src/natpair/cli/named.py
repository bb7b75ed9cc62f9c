"""Problems that are found behind the reading of a file still name the file, with the line of each key.

What needs the account or the machine to be judged finds them long after the text was parsed, where only the gateway is
known: `in_its_file` gives such an error the path that was typed.
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
"""What stands for a file in an error whose raiser does not know which one it was."""


def in_its_file(function: Callable[P, R]) -> Callable[P, R]:
    """For a command with an argument `file`: a ConfigError of a nameless file becomes one of this file."""

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
    except (ConfigError, ValueError):  # gone or changed meanwhile: the problems are as true without lines
        problems = list(error.problems)
    named = ConfigError(str(file), problems)
    named.cure = error.cure
    return named
