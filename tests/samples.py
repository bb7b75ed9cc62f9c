"""Gateways for tests: the example in the repository, and variations of its text."""

from __future__ import annotations

from pathlib import Path

from natpair.config.load import parse
from natpair.core.model import Gateway
from natpair.core.rendered import RenderedFile
from natpair.render.base import Sides
from natpair.render.bundle import render_all

EXAMPLE = Path(__file__).parents[1] / "examples" / "gateway.toml"


def text_with(*replacements: tuple[str, str], extra: str = "") -> str:
    """The example's text with replacements, each of which must hit, and `extra` at the end."""
    text = EXAMPLE.read_text()
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text + extra


def gateway(*replacements: tuple[str, str], extra: str = "") -> Gateway:
    """The example as a gateway, varied as by `text_with`."""
    return parse(text_with(*replacements, extra=extra))


def sides(node: str = "nat-a", **variation: str) -> Sides:
    """The example seen from one node."""
    return Sides.of(gateway(extra=variation.get("extra", "")), node)


def rendered(name: str, of: Gateway | None = None, node: str = "nat-a") -> RenderedFile:
    """The one file of a node whose path ends in `name`."""
    (file,) = [file for file in render_all(of or gateway(), node) if file.path.endswith(name)]
    return file
