"""src/natpair/config/reference.toml shows every key of the models, explained, at its default, and no other."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from natpair.core.model import Gateway
from repo.documents import DocumentedKey, documented_keys, model_keys
from repo.rules import SRC

REFERENCE = SRC / "config" / "reference.toml"


def complaints(shown: dict[str, DocumentedKey], model: type[BaseModel]) -> list[str]:
    keys = model_keys(model)
    found = [f"{key} is not in the reference" for key in keys.keys() - shown.keys()]
    found += [f"{key} is in the reference, but natpair has no such key" for key in shown.keys() - keys.keys()]
    found += [f"{key} is not explained" for key, entry in shown.items() if not entry.explained]
    for key in keys.keys() & shown.keys():
        default = keys[key]
        # Without a default, or with the default "not set", the value shown is only an example.
        if default is not ... and default is not None and not same(default, shown[key].value):
            found.append(f"{key} is shown as {shown[key].value!r}, its default is {default!r}")
    return sorted(found)


def same(default: object, shown: object) -> bool:
    try:
        return bool(TypeAdapter(type(default)).validate_python(shown) == default)
    except ValidationError:
        return False


def test_the_reference_shows_every_key_at_its_default() -> None:
    assert not complaints(dict(documented_keys(REFERENCE.read_text())), Gateway)


class Inner(BaseModel):
    size: int = 3
    name: str


class Outer(BaseModel):
    one: Inner
    many: tuple[Inner, ...] = ()
    gone: str | None = None


GOOD = """\
# Why.
gone = "x"

[one]
# How big.
# size = 3
name = "a"  # what it is

# Several.
[[many]]
size = 3
name = "b"
"""


def test_a_good_reference_passes() -> None:
    assert complaints(dict(documented_keys(GOOD)), Outer) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("# size = 3\n", "# size = 4\n", "one.size is shown as 4, its default is 3"),
        ("# size = 3\n", "", "one.size is not in the reference"),
        ("# size = 3\n", "# size = 3\nextra = 1\n", "one.extra is in the reference, but natpair has no such key"),
        ("# Why.\n", "", "gone is not explained"),
    ],
)
def test_a_bad_reference_is_found(old: str, new: str, complaint: str) -> None:
    assert complaint in complaints(dict(documented_keys(GOOD.replace(old, new))), Outer)
