"""Manual pages in roff (man(7)), from the same texts as `--help`: one page for each command that is not hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

SECTION = 8
_EXAMPLE = re.compile(r"Examples?: ")


def pages(command: click.Command, version: str) -> dict[str, str]:
    """File name → page for `command` and everything below it that is not hidden."""
    context = click.Context(command, info_name="natpair")
    return {f"{'-'.join(words)}.{SECTION}": _page(found, words, version) for words, found in walk(command, context)}


def walk(command: click.Command, context: click.Context) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """`command` and all commands below it, each with the words that call it, without the table's hidden ones."""
    yield tuple(context.command_path.split()), command
    if isinstance(command, click.Group):
        hidden = {name for name, entry in getattr(command, "entries", {}).items() if entry.hidden}
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and name not in hidden:
                yield from walk(inner, click.Context(inner, info_name=name, parent=context))


def examples(command: click.Command) -> list[str]:
    """The example command lines at the end of a command's help, without the prose around them."""
    found = []
    for part in _EXAMPLE.split(command.epilog or "")[1:]:
        line = re.split(r"\.(?: |$)|, (?:and|or) ", part, maxsplit=1)[0]
        found.append(line.strip())
    return found


def _page(command: click.Command, words: tuple[str, ...], version: str) -> str:
    title = "-".join(words)
    context = click.Context(command, info_name=words[-1], parent=None)
    text = command.help or ""
    first, _, rest = text.partition("\n\n")
    lines = [
        f'.TH "{title.upper()}" "{SECTION}" "" "natpair {version}" "natpair"',
        ".SH NAME",
        f"{_safe(title)} \\- {_safe(' '.join(first.split()).rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_safe(' '.join(words))}",
        _safe(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_paragraphs(f"{first}\n\n{rest}"),
    ]
    options = [record for p in command.get_params(context) if (record := p.get_help_record(context)) is not None]
    lines += _definitions("OPTIONS", options)
    if isinstance(command, click.Group):
        lines += _definitions("COMMANDS", list(_commands(command, context)))
    for example in examples(command):
        lines += [".SH EXAMPLE", ".nf", _safe(example), ".fi"]
    lines += [".SH SEE ALSO", ".BR natpair (8)"]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[str, str]]:
    for words, command in walk(group, context):
        if len(words) == len(context.command_path.split()) + 1:
            yield words[-1], command.get_short_help_str(200)


def _definitions(title: str, entries: list[tuple[str, str]]) -> list[str]:
    lines = [f".SH {title}"] if entries else []
    for term, text in entries:
        lines += [".TP", f".B {_safe(term)}", _safe(" ".join(text.split()))]
    return lines


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in filter(None, (" ".join(part.split()) for part in text.split("\n\n"))):
        yield ".PP"
        yield _safe(paragraph)


def _safe(text: str) -> str:
    """Escape `text` for roff: backslash, minus, and a leading dot or quote."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in {".", "'"} else escaped
