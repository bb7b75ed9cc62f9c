"""Reads and checks the pair's heartbeat key. No message ever shows the key.

It has a module of its own because each thing outside the process has one adapter.
"""

from __future__ import annotations

import stat
from pathlib import Path

from natpair.errors import ConfigError, Problem

_KEY = "heartbeat.key_file"
_KEY_BYTES = 32
_ACCEPTED = f"at least {_KEY_BYTES} bytes, the same file on both nodes"


def read_key(path: str) -> bytes:
    """The key. ConfigError if it is missing, cannot be read or is too short."""
    try:
        key = Path(path).read_bytes().strip()
    except FileNotFoundError as error:
        raise ConfigError(path, [Problem(_KEY, path, "the file is missing", _ACCEPTED)]) from error
    except OSError as error:
        raise ConfigError(path, [Problem(_KEY, path, f"cannot be read: {error.strerror}", _ACCEPTED)]) from error
    if len(key) < _KEY_BYTES:
        raise ConfigError(path, [Problem(_KEY, path, "the key is too short", _ACCEPTED)])
    return key


def key_problems(path: str) -> tuple[Problem, ...]:
    """What is wrong with this machine's key file, which only its owner may read."""
    try:
        read_key(path)
    except ConfigError as error:
        return tuple(error.problems)
    mode = stat.S_IMODE(Path(path).stat().st_mode)
    if mode & 0o077:
        return (Problem(_KEY, path, f"others may read the key: its mode is {mode:04o}", f"chmod 600 {path}"),)
    return ()
