"""docs/roles.svg is drawn from the table of moves, is not stale, and no arrow runs through a foreign box."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

from natpair.core.messages import Phase
from natpair.core.moves import NEXT

ROOT = Path(__file__).parents[3]
SVG = "{http://www.w3.org/2000/svg}"


def drawn() -> ElementTree.Element:
    return ElementTree.fromstring((ROOT / "docs" / "roles.svg").read_text())  # noqa: S314 - our own file


def test_the_picture_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "draw-states", "--check"], timeout=60, check=False)
    assert done.returncode == 0, "docs/roles.svg is stale: .venv/bin/python scripts/draw-states"


def test_it_shows_every_phase_and_every_move_once() -> None:
    moves = [path.findtext(f"{SVG}title") for path in drawn().iter(f"{SVG}path") if path.get("marker-end")]
    assert sorted(moves, key=str) == sorted(f"{a} to {b}" for a, following in NEXT.items() for b in following)
    words = [text.text for text in drawn().iter(f"{SVG}text")]
    assert all(phase.value in words for phase in Phase)


def boxes() -> dict[str, tuple[float, float, float, float]]:
    """The edges of each phase's box: the box comes before its name."""
    found = {}
    for shape, name in pairwise(drawn()):
        if shape.tag == f"{SVG}rect" and name.text in set(Phase):
            x, y, width, height = (float(shape.get(key, "")) for key in ("x", "y", "width", "height"))
            found[str(name.text)] = (x, y, x + width, y + height)
    return found


def test_no_arrow_runs_through_a_box() -> None:
    places = boxes()
    assert len(places) == len(Phase)
    for path in drawn().iter(f"{SVG}path"):
        if not path.get("marker-end"):
            continue
        own = str(path.findtext(f"{SVG}title")).split(" to ")
        numbers = list(map(float, re.findall(r"[\d.]+", path.get("d", ""))))
        for step in range(51):
            t = step / 50
            x, y = (
                (1 - t) ** 2 * numbers[axis] + 2 * t * (1 - t) * numbers[2 + axis] + t**2 * numbers[4 + axis]
                for axis in (0, 1)
            )
            hit = [name for name, (x1, y1, x2, y2) in places.items() if x1 <= x <= x2 and y1 <= y <= y2]
            assert set(hit) <= set(own), f"{own} runs through {hit}"
