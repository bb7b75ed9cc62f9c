"""The API token: read from a file or the environment, never shown."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from natpair.errors import NatpairError, Unsupported

ENVIRONMENT = ("NATPAIR_LINODE_TOKEN", "LINODE_TOKEN", "LINODE_CLI_TOKEN")

_OTHERS_MAY_READ = stat.S_IRGRP | stat.S_IROTH
_HIDDEN = "***"
_FIX = f"put it into a file of mode 0600 and name that, or set {ENVIRONMENT[0]}; never on a command line"


class Token:
    """A secret that formats as `***`. Only `header()` returns it, and only the transport calls that."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise Unsupported("the Linode token is empty or holds characters no token has", fix=_FIX)
        self._text = text

    def header(self) -> str:
        """The value of the Authorization header."""
        return f"Bearer {self._text}"

    def hide_in(self, text: str) -> str:
        """`text` with the token, should a server have echoed it, replaced."""
        return text.replace(self._text, _HIDDEN)

    def __repr__(self) -> str:
        return f"Token({_HIDDEN})"

    def __reduce__(self) -> str:
        raise TypeError("a token is not written anywhere")


def read_token(file: Path | None, environment: Mapping[str, str]) -> Token:
    """The token in `file` if one is named, else in the first of `ENVIRONMENT` that is set.

    Unsupported, with a fix, when there is none, or when others than the owner may read the file.
    """
    if file is not None:
        return Token(_from_file(file))
    for name in ENVIRONMENT:
        if environment.get(name, "").strip():
            return Token(environment[name].strip())
    raise Unsupported("no token for Linode's API", fix=_FIX)


def _from_file(file: Path) -> str:
    try:
        mode = file.stat().st_mode
        text = file.read_bytes().decode("ascii", errors="replace").strip()
    except OSError as error:
        raise _unreadable(file, error.strerror or "cannot be read") from None
    if mode & _OTHERS_MAY_READ:
        raise Unsupported(f"{file}: others than its owner may read the token", fix=f"chmod 600 {file}")
    return text


def _unreadable(file: Path, why: str) -> NatpairError:
    return Unsupported(f"{file}: {why}", fix=_FIX)
