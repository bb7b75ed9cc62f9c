"""Rules about files that are not source: links, versions, lock files, the reference configuration."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

_IGNORED = frozenset({".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__"})

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)[^)]*\)|!\[[^\]]*\]\(([^)\s]+)[^)]*\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)

# Joined here, so that this file does not hold what it looks for. The one good use says "do not write it".
_INDEX_OPTION = re.compile(
    rf"(?<!no-emit-)({'|'.join(('index' + '[-_]url', 'find' + '[-_]links', 'trusted' + '-host'))})"
)


def files(root: Path, suffix: str = "") -> Iterator[Path]:
    """Every file of the project, without what tools leave in the folder."""
    for path in sorted(root.rglob(f"*{suffix}")):
        if path.is_file() and not _IGNORED & set(path.relative_to(root).parts):
            yield path


def check_links(path: Path) -> Iterator[str]:
    """Relative links of a markdown file lead to a file that is there, and to a heading it has."""
    for match in _LINK.finditer(_FENCE.sub("", path.read_text())):
        target = match.group(1) or match.group(2)
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = path.parent / file if file else path
        if not found.exists():
            yield f"{path.name}: {target} leads nowhere"
        elif anchor and found.suffix == ".md" and anchor not in anchors(found.read_text()):
            yield f"{path.name}: {target} has no such heading"


def anchors(markdown: str) -> set[str]:
    """The names of a file's headings as links spell them."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(_FENCE.sub("", markdown)))
    return {heading.strip().replace(" ", "-") for heading in plain}


def check_no_index(path: Path) -> Iterator[str]:
    """Where packages come from is the machine's business and stands in no file of ours."""
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return
    if match := _INDEX_OPTION.search(text):
        yield f"{path.name}: names {match.group()}"


def check_lock(text: str) -> Iterator[str]:
    """A lock file holds pinned packages and their hashes, nothing else."""
    for number, line in enumerate(text.splitlines(), 1):
        pinned = re.fullmatch(r"[a-z0-9][a-z0-9.-]*==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|#.*|", line)
        if "://" in line or not pinned:
            yield f"line {number}: {line}"


def newest_version(changelog: str) -> str:
    """The version of the top entry of a keep-a-changelog file; empty if there is none."""
    match = re.search(r"^## \[([^\]]+)\]", changelog, re.MULTILINE)
    return match.group(1) if match else ""


@dataclass(frozen=True)
class DocumentedKey:
    """A key as the reference file shows it: its value there, and whether some comment stands by it."""

    value: Any
    explained: bool


def model_keys(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every settable key below `model` by dotted name, with its default; `...` where there is none."""
    keys: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner = next((arg for arg in (field.annotation, *get_args(field.annotation)) if _is_model(arg)), None)
        if inner is not None:
            keys |= model_keys(inner, f"{prefix}{name}.")
        else:
            keys[f"{prefix}{name}"] = ... if field.is_required() else field.get_default(call_default_factory=True)
    return keys


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


_TABLE = re.compile(r"#? ?\[{1,2}([a-z_.]+)\]{1,2}$")
_KEY = re.compile(r"#? ?([a-z_0-9]+) = (.+)$")


def documented_keys(text: str) -> Mapping[str, DocumentedKey]:
    """The keys a reference file shows, active or commented out (`# key = value`), by dotted name.

    A key is explained by a comment of its own paragraph above it, or on its own line.
    """
    keys: dict[str, DocumentedKey] = {}
    table, commented = "", False
    for line in text.splitlines():
        if not line.strip():
            commented = False
        elif match := _TABLE.match(line):
            table = match.group(1) + "."
        elif match := _KEY.match(line):
            name, value = match.groups()
            keys.setdefault(table + name, DocumentedKey(_value(value), commented or " #" in value))
        elif line.startswith("#"):
            commented = True
    return keys


def _value(text: str) -> Any:
    return tomllib.loads(f"value = {text}")["value"]
