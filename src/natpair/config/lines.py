"""Find the line of each key in a TOML file, so that every problem has a line number.

`tomllib` keeps no positions. This scanner reads text that `tomllib` has already accepted, so it trusts the grammar and
only follows strings, comments and brackets. Key paths look like `node[1].private_address`. It also keeps the positions
of strings, so that one value can be replaced in the file without changing anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''.*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|\[\[|\]\]|[\[\]{}=,.\n]"
    r"|[^\s\"'\#\[\]{}=,.]+",
    re.DOTALL,
)
_PARENT = re.compile(r"^(.*?)(?:\.[^.\[\]]+|\[\d+\])$")


def map_lines(text: str) -> dict[str, int]:
    """Key path → 1-based line for every table, key and array element of `text`."""
    scanner = _Scanner(list(_tokens(text)))
    scanner.document()
    return scanner.lines


def map_texts(text: str) -> dict[str, tuple[int, int]]:
    """Key path → start and end of its value in `text`, with quotes, for every value that is a one-line string."""
    scanner = _Scanner(list(_tokens(text)))
    scanner.document()
    return scanner.texts


def line_of(lines: Mapping[str, int], key: str) -> int | None:
    """The line of `key`; if the file does not have the key, the line of the nearest table around it."""
    while key:
        if key in lines:
            return lines[key]
        parent = _PARENT.match(key)
        key = parent[1] if parent else ""
    return None


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int
    start: int = 0


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if not piece.startswith("#"):
            yield _Token(piece, line, match.start())
        line += piece.count("\n")


def _bare(piece: str) -> str:
    return piece[1:-1] if piece[:1] in "\"'" else piece


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


@dataclass
class _Scanner:
    tokens: list[_Token]
    lines: dict[str, int] = field(default_factory=dict)
    at: int = 0
    prefix: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    texts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def document(self) -> None:
        while self.at < len(self.tokens):
            text = self.tokens[self.at].text
            if text == "\n":
                self.at += 1
            elif text in {"[", "[["}:
                self._header(array=text == "[[")
            else:
                self._pair(self.prefix)

    def _take(self) -> _Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def _peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else "\n"

    def _newlines(self) -> None:
        while self.at < len(self.tokens) and self._peek() == "\n":
            self.at += 1

    def _names(self, end: frozenset[str]) -> tuple[list[str], int]:
        names: list[str] = []
        line = self.tokens[self.at].line
        while (token := self._take()).text not in end:
            if token.text != ".":
                names.append(_bare(token.text))
        return names, line

    def _header(self, *, array: bool) -> None:
        self._take()
        names, line = self._names(frozenset({"]", "]]"}))
        prefix = ""
        for depth, name in enumerate(names):
            prefix = _join(prefix, name)
            if array and depth == len(names) - 1:
                self.lines.setdefault(prefix, line)
                self.counts[prefix] = self.counts.get(prefix, -1) + 1
            if prefix in self.counts:
                prefix = f"{prefix}[{self.counts[prefix]}]"
        self.lines.setdefault(prefix, line)
        self.prefix = prefix

    def _pair(self, prefix: str) -> None:
        names, line = self._names(frozenset({"="}))
        for name in names:
            prefix = _join(prefix, name)
            self.lines.setdefault(prefix, line)
        self._value(prefix)

    def _value(self, path: str) -> None:
        token = self._take()
        # "[[" as a value is an array in an array, and "]]" closes two arrays: split the tokens.
        if token.text == "[[":
            self.tokens[self.at - 1 : self.at] = [_Token("[", token.line), _Token("[", token.line)]
        if token.text.startswith("["):
            self._array(path)
        elif token.text == "{":
            self._inline_table(path)
        else:
            if token.text[:1] in "\"'" and not token.text.startswith(('"""', "'''")):
                self.texts[path] = (token.start, token.start + len(token.text))
            while self._peek() not in {"\n", ",", "]", "]]", "}"}:
                self.at += 1  # the rest of a float or a date

    def _array(self, path: str) -> None:
        index = 0
        while True:
            self._newlines()
            if self._peek() == "]]":
                line = self.tokens[self.at].line
                self.tokens[self.at : self.at + 1] = [_Token("]", line), _Token("]", line)]
            if self._peek() == "]":
                self.at += 1
                return
            if self._peek() == ",":
                self.at += 1
                continue
            element = f"{path}[{index}]"
            self.lines.setdefault(element, self.tokens[self.at].line)
            self._value(element)
            index += 1

    def _inline_table(self, path: str) -> None:
        while self._peek() != "}":
            if self._peek() in {",", "\n"}:
                self.at += 1
            else:
                self._pair(path)
        self.at += 1
