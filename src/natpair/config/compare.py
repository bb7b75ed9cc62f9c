"""Compare two configurations: which keys differ, with their old and new values as in the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from natpair.core.model import Gateway


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key whose value differs. A side without the key has None. Values are written as in the file."""

    key: str
    before: str | None
    after: str | None


def compare(old: Gateway, new: Gateway) -> tuple[KeyChange, ...]:
    """Every key that differs, in the order of the models. Defaults are filled in on both sides."""
    before, after = dict(_flat("", old.model_dump(mode="json"))), dict(_flat("", new.model_dump(mode="json")))
    keys = [*after, *(key for key in before if key not in after)]
    return tuple(KeyChange(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, inner)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, inner in enumerate(value):
            yield from _flat(f"{prefix}[{index}]", inner)
    else:
        yield prefix, _said(value)


def _said(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_said, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "not set" if value is None else f'"{value}"' if isinstance(value, str) else str(value)
