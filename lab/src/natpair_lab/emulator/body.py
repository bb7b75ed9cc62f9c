"""The JSON of requests: pydantic models, whose errors become complaints that name the field.

A null counts as absent, as it does at Linode for optional fields. Keys that no model has are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from natpair_lab.emulator.refused import Complaint, Refused

Json = dict[str, Any]

# As in Linode's specification of Linodes and firewalls. Its text adds that a label ends with a letter or a digit.
_LABEL = r"^[a-zA-Z]((?!--|__|\.\.)[a-zA-Z0-9-_.])+(?<=[a-zA-Z0-9])\Z"
Label64 = Annotated[str, Field(min_length=3, max_length=64, pattern=_LABEL)]
Label32 = Annotated[str, Field(min_length=3, max_length=32, pattern=_LABEL)]
Item = TypeVar("Item")
# The strict types apply to items: a JSON array is a list, and becomes a tuple.
Many = Annotated[tuple[Item, ...], Field(strict=False)]
Tags = Many[Annotated[str, Field(min_length=3, max_length=50)]]
FirewallId = Annotated[int, Field(ge=-1)]


class Body(BaseModel):
    """The base of all requests."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, regex_engine="python-re")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class Nothing(Body):
    """A request without content."""


Model = TypeVar("Model", bound=Body)

_WORDS = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "bool_type": "must be a boolean",
    "list_type": "must be an array",
    "tuple_type": "must be an array",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "literal_error": "is not valid",
}


def read(model: type[Model], given: Any, place: str = "") -> Model:
    """Parse a request, or 400 with every error. `place` is where `given` stands in the request."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        misfits = error.errors(include_url=False, include_input=False)
        raise Refused(400, *(_complaint(place, one["loc"], one["type"], one["msg"]) for one in misfits)) from None


def _complaint(place: str, where: tuple[int | str, ...], kind: str, message: str) -> Complaint:
    field = place
    for part in where:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else part
    words = _WORDS.get(kind, message.removeprefix("Value error, "))
    return Complaint(f"{where[-1] if where else place} {words}", field)
