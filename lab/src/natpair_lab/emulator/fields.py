"""Typed reading of a request's JSON object: every misfit becomes a complaint that names the field.

A null counts as absent, as it does at Linode for optional fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from natpair_lab.emulator.refused import Refused, invalid


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object and where it stands in the request; `prefix` is its dotted path with a final dot."""

    values: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""

    def has(self, name: str) -> bool:
        """Whether the field is there, null or not: what an update must touch."""
        return name in self.values

    def text(self, name: str) -> str | None:
        """A string, or None if absent."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "must be a string")
        return value

    def integer(self, name: str) -> int | None:
        """A whole number, or None if absent."""
        value = self.values.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self.wrong(name, "must be an integer")
        return value

    def flag(self, name: str) -> bool | None:
        """True or false, or None if absent."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "must be a boolean")
        return value

    def required_text(self, name: str) -> str:
        """A string that must be there."""
        value = self.text(name)
        if value is None:
            raise self.missing(name)
        return value

    def required_integer(self, name: str) -> int:
        """A whole number that must be there."""
        value = self.integer(name)
        if value is None:
            raise self.missing(name)
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of strings, or None if absent."""
        values = self._list(name)
        if values is not None and not all(isinstance(value, str) for value in values):
            raise self.wrong(name, "must be an array of strings")
        return None if values is None else tuple(values)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of whole numbers, or None if absent."""
        values = self._list(name)
        if values is None:
            return None
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            raise self.wrong(name, "must be an array of integers")
        return tuple(values)

    def child(self, name: str) -> Fields | None:
        """A nested object, or None if absent."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "must be an object")
        return Fields(value, f"{self.prefix}{name}.")

    def children(self, name: str) -> tuple[Fields, ...] | None:
        """A list of objects, or None if absent."""
        values = self._list(name)
        if values is None:
            return None
        if not all(isinstance(value, dict) for value in values):
            raise self.wrong(name, "must be an array of objects")
        return tuple(Fields(value, f"{self.prefix}{name}[{index}].") for index, value in enumerate(values))

    def wrong(self, name: str, complaint: str) -> Refused:
        """400 about one field: `label must be a string`."""
        return invalid(f"{name} {complaint}", self.prefix + name)

    def missing(self, name: str) -> Refused:
        """400 because a required field is not there."""
        return self.wrong(name, "is required")

    def _list(self, name: str) -> list[Any] | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, list):
            raise self.wrong(name, "must be an array")
        return value
