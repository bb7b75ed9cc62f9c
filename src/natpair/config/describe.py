"""What each key accepts, as a phrase, derived from the models. Error texts and the docs table both use it."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from types import NoneType, UnionType
from typing import Any

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from natpair.core.model import Gateway

_WORDS: dict[type, str] = {
    IPv4Address: 'an IPv4 address such as "192.0.2.221"',
    IPv4Interface: 'an IPv4 address with prefix length such as "192.168.1.3/24"',
    IPv4Network: 'an IPv4 network such as "192.168.1.0/24"',
    IPv6Address: 'an IPv6 address such as "2600:3c0f:18:34::1"',
    IPv6Interface: 'an IPv6 address with prefix length such as "2001:db8::3/64"',
    str: "text in quotes",
    bool: "true or false",
    int: "a whole number",
}
_PATTERNS = {
    r"^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$": 'an interface name such as "eth1", at most 15 characters',
    r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$": "lower-case letters, digits and inner hyphens, at most 32 characters",
    r"^[0-9a-f]{8}$": "8 hexadecimal digits",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits, as sha256sum prints them",
    r"^[A-Za-z0-9](-?[A-Za-z0-9])*$": "letters, digits and single inner hyphens, at most 64 characters",
    r"^(https?://|/)[\x21-\x7e]+\.(whl|tar\.gz|tgz)$": "a URL or an absolute path that ends in .whl, .tar.gz or .tgz",
}


def field_at(location: Sequence[int | str]) -> FieldInfo | None:
    """The model field at `location`, ignoring array indexes; None if there is no such key."""
    model: type[BaseModel] | None = Gateway
    field: FieldInfo | None = None
    for part in location:
        if isinstance(part, int):
            continue
        if model is None or part not in model.model_fields:
            return None
        field = model.model_fields[part]
        model = _model_in(field.annotation)
    return field


def model_of(location: Sequence[int | str]) -> type[BaseModel] | None:
    """The model of the table at `location`; Gateway for an empty location."""
    if not location:
        return Gateway
    field = field_at(location)
    return _model_in(field.annotation) if field else None


def accepted(location: Sequence[int | str]) -> str:
    """What `location` accepts, as a phrase; empty if unknown."""
    field = field_at(location)
    if field is None:
        return ""
    one_element = isinstance(location[-1], int)
    return _phrase(field.annotation, field.metadata, element=one_element)


def leaves(
    model: type[BaseModel] = Gateway, prefix: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every key that holds a value, with its location, in the order of the models."""
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is None:
            yield (*prefix, name), field
        else:
            yield from leaves(inner, (*prefix, name))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        if (found := _model_in(argument)) is not None:
            return found
    return None


def _phrase(annotation: Any, metadata: Sequence[Any], *, element: bool = False) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _phrase(arguments[0], [*metadata, *_flat(arguments[1:])], element=element)
    if origin is tuple:
        inner = _phrase(arguments[0], ())
        return inner if element else _list_phrase(inner, metadata)
    if origin in {typing.Union, UnionType}:
        return " or ".join(_phrase(a, metadata, element=element) for a in arguments if a is not NoneType)
    if origin is typing.Literal:
        return " or ".join(str(a) for a in arguments)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(f'"{member.value}"' for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a table with {', '.join(annotation.model_fields)}"
    return _scalar_phrase(annotation, metadata)


def _flat(metadata: Sequence[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _list_phrase(inner: str, metadata: Sequence[Any]) -> str:
    low, high = _bounds(metadata, annotated_types.MinLen, annotated_types.MaxLen)
    if low is not None and low == high:
        return f"exactly {low}, each {inner}"
    if low is not None and high is not None:
        return f"a list of {low} to {high}, each {inner}"
    return f"a list, each {inner}"


def _scalar_phrase(annotation: Any, metadata: Sequence[Any]) -> str:
    for item in metadata:
        pattern = getattr(item, "pattern", None)
        if pattern is not None:
            return _PATTERNS.get(str(pattern), f"text matching {pattern}")
    low, high = _bounds(metadata, annotated_types.Ge, annotated_types.Le)
    words = _WORDS.get(annotation, str(annotation))
    if low is None:
        return words
    return f"{words} from {low} to {high}" if high is not None else f"{words}, at least {low}"


def _bounds(metadata: Sequence[Any], low: type, high: type) -> tuple[Any, Any]:
    found: dict[type, Any] = {}
    for item in metadata:
        for kind, attribute in ((low, low.__name__), (high, high.__name__)):
            if isinstance(item, kind):
                name = {"MinLen": "min_length", "MaxLen": "max_length"}.get(attribute, attribute.lower())
                found[kind] = getattr(item, name)
    return found.get(low), found.get(high)
