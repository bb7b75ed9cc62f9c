"""One word for each thing: the words that docs/glossary.md replaces are used nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from repo.documents import files
from repo.rules import LAB, ROOT, SRC

GLOSSARY = ROOT / "docs" / "glossary.md"
SUFFIXES = {".py", ".md", ".json", ".toml", ".j2", ".sh"}


def replaced() -> list[str]:
    """The single words of the glossary's last column."""
    rows = [line.split("|") for line in GLOSSARY.read_text().splitlines() if line.startswith("| ")]
    listed = [word.strip() for row in rows[1:] for word in re.sub(r"\(.*?\)", "", row[3]).split(",")]
    return [word for word in listed if re.fullmatch(r"[a-z]+", word) and word not in {"master", "backup"}]


def found_in(text: str) -> Iterator[str]:
    """Each use of a replaced word or its usual forms, also as a part of a name: `fix_cure`, `CureText`, `mended`."""
    for word in replaced():
        forms = rf"{word}(?:s|es|d|ed|ing)?"
        capital = rf"{word.capitalize()}(?:s|es|d|ed|ing)?"
        upper = rf"{word.upper()}(?:S|ES|D|ED|ING)?"
        pattern = rf"(?<![A-Za-z]){forms}(?![a-z])|(?<![A-Z]){capital}(?![a-z])|(?<![A-Za-z]){upper}(?![A-Za-z])"
        for match in re.finditer(pattern, text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{line}: {match.group()}"


def test_replaced_words_are_used_nowhere() -> None:
    places = [*files(SRC), *files(LAB), *files(ROOT / "docs"), *files(ROOT / "tests"), ROOT / "README.md"]
    places += [ROOT / "CONTRIBUTING.md", *files(ROOT / "examples")]
    own = {GLOSSARY, ROOT / "tests/repo/test_words.py"}
    texts = {path: path.read_text() for path in places if path.suffix in SUFFIXES and path not in own}
    uses = [f"{path.relative_to(ROOT)}:{use}" for path, text in texts.items() for use in found_in(text)]
    assert not uses, "\n" + "\n".join(uses)


@pytest.mark.parametrize(
    "text", ["the cure", "self.cure = x", "NO_CURE = 1", "isMuted, Mute", "it mends", "wished", "set_leg"]
)
def test_a_replaced_word_is_found(text: str) -> None:
    assert list(found_in(text))


@pytest.mark.parametrize(
    "text",
    ["secure", "obscure", "legal", "college", "amended", "recommend", "judgment", "LEGACY", "HEALTH"],
)
def test_other_words_are_not_taken_for_one(text: str) -> None:
    assert not list(found_in(text))
