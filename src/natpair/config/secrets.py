"""Hide values that must never be shown: those of keys that sound like secrets, and those that look like one.

Problems are printed and put into JSON, and end in logs when `natpair check` runs in a pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

HIDDEN = "(not shown)"

_SOUNDS = re.compile(
    r"token|secret|passw|passphrase|credential|api_?key|private_?key|(?:^|_)key(?:$|_)|(?:^|_)pat$", re.I
)
_NO_SECRET = re.compile(r"_file$|_path$|^authorized_keys?$", re.I)
# Linode's tokens and our keys have 64 hexadecimal digits. Other secrets are long and mix letters with digits.
_LOOKS = re.compile(r"^(?:[0-9a-fA-F]{40,}|(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/_=-]{32,})$")
_PAIR = re.compile(r"([\w.\"'-]+)(\s*[=:]\s*)([^,}\]#]+)")


def sounds_secret(name: str) -> bool:
    """Whether a key called `name` probably holds a secret itself, not the path of a file with one."""
    return bool(_SOUNDS.search(name)) and not _NO_SECRET.search(name)


def masked(value: object, location: Sequence[int | str] = ()) -> object:
    """`value`, which is at `location` in a file, with everything hidden that is or may be a secret."""
    names = [part for part in location if isinstance(part, str)]
    if names and any(map(sounds_secret, names)) and not _NO_SECRET.search(names[-1]):
        return HIDDEN
    if isinstance(value, dict):
        return {name: masked(inner, (*location, str(name))) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, location) for inner in value]
    if isinstance(value, str) and _LOOKS.match(value) and "sha256" not in "".join(names):
        return HIDDEN
    return value


def masked_line(line: str) -> str:
    """A line of a file, which need not be TOML, with secrets hidden."""

    def hide(found: re.Match[str]) -> str:
        name, equals, value = found.groups()
        bare = value.strip().strip("\"'“”")
        secret = sounds_secret(name.strip("\"'").rpartition(".")[2]) or _LOOKS.match(bare)
        return f"{name}{equals}{HIDDEN}" if secret else found[0]

    return _PAIR.sub(hide, line)
