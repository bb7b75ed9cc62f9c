"""Raw tables → models, with pydantic's errors turned into clear problems.

If something is wrong, the valid fields are kept in a *partial* gateway. The cross checks run on it, so that the user
sees all problems at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from natpair.config.describe import accepted, leaves, model_of
from natpair.config.secrets import masked
from natpair.core.model import Gateway
from natpair.errors import Problem

_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of validation: the gateway if the file is valid, else the problems and the valid parts.

    Attributes of `partial` may be missing; only `checks.cross_check` may use it.
    """

    gateway: Gateway | None
    partial: Gateway
    problems: tuple[Problem, ...]


def validate(raw: Mapping[str, Any]) -> Checked:
    """Check the shape of `raw`: unknown keys, missing keys, types, ranges."""
    try:
        gateway = Gateway.model_validate_json(_as_json(raw), strict=True)
    except ValidationError as error:
        details = [detail for detail in error.errors(include_url=False) if not _is_echo(detail, raw)]
        problems = tuple(_problem(detail, raw) for detail in details)
        return Checked(None, _salvage_gateway(raw), _without_repeats(problems))
    return Checked(gateway, gateway, ())


def key_path(location: Sequence[int | str]) -> str:
    """`("node", 1, "private_address")` → `node[1].private_address`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _as_json(raw: object) -> str:
    # Strict mode over JSON: pydantic's lax mode would accept a string as a number, or a number as an address.
    # JSON has no dates; TOML's dates become tables, which no key accepts.
    return json.dumps(raw, default=lambda date: {"date": str(date)})


def _problem(detail: ErrorDetails, raw: Mapping[str, Any]) -> Problem:
    location = detail["loc"]
    key = key_path(location)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Problem(key, _shown(_lookup(raw, location), location), "unknown key", _did_you_mean(location))
    if kind == "missing":
        return Problem(key, "", "is missing", accepted(location))
    value = _lookup(raw, location)
    if location == ("node",):
        return _nodes_problem(value)
    return Problem(key, _shown(value, location), _message(detail), _near_value(value, accepted(location)))


def _nodes_problem(value: object) -> Problem:
    if isinstance(value, dict):
        return Problem("node", "", "is a single table", "[[node]] with double brackets, once for each of the two nodes")
    if not isinstance(value, list):
        return Problem("node", "", "wrong type of value", "a [[node]] table for each of the two nodes")
    count = len(value)
    message = f"the file has {count} node{'s' if count != 1 else ''}, but a pair needs 2"
    return Problem("node", "", message, "a [[node]] table for each of the two nodes")


def _is_echo(detail: ErrorDetails, raw: Mapping[str, Any]) -> bool:
    """Whether pydantic calls a list too short only because it dropped elements with errors of their own."""
    given = _lookup(raw, detail["loc"])
    return detail["type"] == "too_short" and isinstance(given, list) and len(given) >= detail["ctx"]["min_length"]


def _message(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind in {"too_short", "too_long"}:
        return "wrong number of entries"
    if kind.endswith(("_type", "_parsing")):
        return "wrong type of value"
    if kind.startswith(("greater_than", "less_than")):
        return "out of range"
    return "not a valid value"


def _did_you_mean(location: Sequence[int | str]) -> str:
    model = model_of(location[:-1])
    names = list(model.model_fields) if model else []
    name = str(location[-1])
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    homes = _tables_with(name)
    if homes:
        return f"{name} belongs in {' or '.join(homes)}"
    return "one of " + ", ".join(names)


def _tables_with(name: str) -> list[str]:
    """The tables that have a key called `name`, as the file writes them."""
    found = {location[:-1] for location, _ in leaves() if location[-1] == name}
    return ["the top of the file" if not at else f"[[{at[0]}]]" if at[0] == "node" else f"[{at[0]}]" for at in found]


def _near_value(value: object, phrase: str) -> str:
    """`phrase`, preceded by "did you mean" if `value` is similar to one of its quoted choices."""
    choices = re.findall(r'"([^"]+)"', phrase) if phrase.startswith("one of ") else []
    close = get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    return f'did you mean "{close[0]}"? {phrase}' if close else phrase


def _without_repeats(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    return tuple({problem.key: problem for problem in reversed(problems)}.values())[::-1]


def _lookup(raw: object, location: Sequence[int | str]) -> object:
    for part in location:
        try:
            raw = raw[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return raw
    return raw


def _shown(value: object, location: Sequence[int | str]) -> str:
    value = masked(value, location)
    return shortened(value if isinstance(value, str) else json.dumps(value, default=str))


def shortened(text: str) -> str:
    """`text`, cut to the length that a problem shows."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _salvage_gateway(raw: Mapping[str, Any]) -> Gateway:
    kept: dict[str, Any] = {}
    for name, field in Gateway.model_fields.items():
        if name == "node":
            nodes = raw.get("node")
            kept[name] = tuple(_salvage(("node", 0), n) for n in nodes) if isinstance(nodes, list) else ()
        elif (model := model_of((name,))) is not None:
            value = raw.get(name, {})
            kept[name] = _salvage((name,), value) if isinstance(value, dict) else model.model_construct()
        else:
            kept[name] = raw.get(name, field.default)
    return Gateway.model_construct(**kept)


def _salvage(location: Sequence[int | str], raw: object) -> BaseModel:
    """The model at `location` with the valid fields of `raw`; an invalid or missing field has no attribute."""
    model = model_of(location)
    if model is None:  # pragma: no cover - called with locations of models only
        raise TypeError(location)
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if isinstance(raw, dict) and name in raw:
            try:
                values[name] = TypeAdapter(field.rebuild_annotation()).validate_json(_as_json(raw[name]), strict=True)
            except ValidationError:
                continue
        elif not field.is_required():
            values[name] = field.get_default(call_default_factory=True)
    partial = model.model_construct(**values)
    # model_construct fills in defaults even for fields with an invalid value: remove those again.
    for name in set(model.model_fields) - set(values):
        partial.__dict__.pop(name, None)
    return partial
