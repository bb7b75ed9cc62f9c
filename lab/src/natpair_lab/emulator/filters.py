"""Lists as Linode returns them: the X-Filter header and pages.

A filter is a JSON object of attributes and operators: `{"region": "us-east", "vcpus": {"+gte": 2}, "+or": […],
"+order_by": "label", "+order": "desc"}`. A list can only be filtered by the attributes that the specification marks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from natpair_lab.emulator.body import Json
from natpair_lab.emulator.refused import Complaint, Refused, invalid, not_found

PAGE_SIZES = range(25, 501)
DEFAULT_PAGE_SIZE = 100

_DEEPEST = 10
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "+gt": lambda value, bound: value > bound,
    "+gte": lambda value, bound: value >= bound,
    "+lt": lambda value, bound: value < bound,
    "+lte": lambda value, bound: value <= bound,
}


def filtered(items: Sequence[Json], header: str, attributes: frozenset[str]) -> list[Json]:
    """The items that pass an X-Filter header, in the order that it asks for."""
    if not header:
        return list(items)
    try:
        wanted = json.loads(header)
    except (ValueError, RecursionError):
        raise invalid("X-Filter must be valid JSON.") from None
    if not isinstance(wanted, dict):
        raise invalid("X-Filter must be a JSON object.")
    conditions = {name: value for name, value in wanted.items() if name not in ("+order", "+order_by")}
    _check(conditions, attributes)
    return _ordered([item for item in items if _matches(item, conditions)], wanted, attributes)


def _check(conditions: Mapping[str, Any], attributes: frozenset[str], depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise invalid("X-Filter is nested too deeply.")
    for name, value in conditions.items():
        if name in ("+and", "+or"):
            if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
                raise invalid(f"{name} must be an array of objects.")
            for part in value:
                _check(part, attributes, depth + 1)
        elif name.startswith("+"):
            raise invalid(f"{name} is not a valid operator here.")
        elif name not in attributes:
            raise invalid(f"Cannot filter on {name}", name)
        elif isinstance(value, dict):
            _check_operators(name, value)
        elif isinstance(value, list):
            raise invalid(f"Cannot filter on {name} with an array.", name)


def _check_operators(name: str, operators: Mapping[str, Any]) -> None:
    for operator, bound in operators.items():
        if operator not in _COMPARISONS and operator not in ("+contains", "+neq"):
            raise invalid(f"{operator} is not a valid operator.", name)
        if isinstance(bound, dict | list):
            raise invalid(f"{operator} needs a plain value.", name)


def _matches(item: Json, conditions: Mapping[str, Any]) -> bool:
    return all(_holds(item, name, value) for name, value in conditions.items())


def _holds(item: Json, name: str, wanted: Any) -> bool:
    if name == "+and":
        return all(_matches(item, part) for part in wanted)
    if name == "+or":
        return any(_matches(item, part) for part in wanted)
    value = _attribute(item, name)
    if isinstance(wanted, dict):
        return all(_compare(value, operator, bound) for operator, bound in wanted.items())
    return _equal(value, wanted)


def _attribute(item: Json, name: str) -> Any:
    value: Any = item
    for part in name.split("."):
        if isinstance(value, list):
            value = [one.get(part) for one in value if isinstance(one, dict)]
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, list):
        return wanted in value
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _compare(value: Any, operator: str, bound: Any) -> bool:
    if operator == "+neq":
        return not _equal(value, bound)
    if operator == "+contains":
        texts = value if isinstance(value, list) else [value]
        return any(isinstance(text, str) and str(bound).lower() in text.lower() for text in texts)
    numbers = isinstance(value, int | float) and isinstance(bound, int | float)
    texts_both = isinstance(value, str) and isinstance(bound, str)
    return (numbers or texts_both) and _COMPARISONS[operator](value, bound)


def _ordered(items: list[Json], wanted: Mapping[str, Any], attributes: frozenset[str]) -> list[Json]:
    order_by, order = wanted.get("+order_by"), wanted.get("+order", "asc")
    if order not in ("asc", "desc"):
        raise invalid("+order must be one of asc, desc.")
    if order_by is None:
        return items if order == "asc" else items[::-1]
    if not isinstance(order_by, str) or order_by not in attributes:
        raise invalid(f"Cannot order by {order_by}")
    return sorted(items, key=lambda item: _sort_key(_attribute(item, order_by)), reverse=order == "desc")


def _sort_key(value: Any) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return (0, float(value), "")
    return (1, 0.0, json.dumps(value))


def page(items: Sequence[Json], query: Mapping[str, str]) -> Json:
    """The envelope `{data, page, pages, results}`; 404 for a page after the last."""
    size = _number(query, "page_size", DEFAULT_PAGE_SIZE)
    number = _number(query, "page", 1)
    if size not in PAGE_SIZES:
        complaint = f"Must be between {PAGE_SIZES.start} and {PAGE_SIZES.stop - 1}"
        raise Refused(400, Complaint(complaint, "page_size"))
    if number < 1:
        raise invalid("Must be 1 or greater", "page")
    pages = max(1, -(-len(items) // size))
    if number > pages:
        raise not_found()
    start = (number - 1) * size
    return {"data": list(items[start : start + size]), "page": number, "pages": pages, "results": len(items)}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise invalid("Must be an integer", name)
    return int(text)
