"""The whole command line as tests see it: every command that people type, its examples, and the schemas of its JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import click
import jsonschema_rs

from natpair.cli.main import cli
from natpair.cli.manual import examples, walk
from repo.rules import LAB, SRC

SCHEMAS = (SRC / "schemas", LAB / "schemas")


def commands() -> dict[str, click.Command]:
    """`natpair lab up` and so on → command, for every one that is not hidden."""
    return {" ".join(words): command for words, command in walk(cli, click.Context(cli, info_name="natpair"))}


def command_lines(command: click.Command) -> list[list[str]]:
    """The natpair calls among a command's examples, as words after `natpair`."""
    parts = [part for example in examples(command) for part in example.split("&&")]
    return [words[1:] for part in parts if (words := shlex.split(part)) and words[0] == "natpair"]


def parse(words: list[str]) -> click.Context:
    """Parse a command line without running anything; click's error if it is wrong."""
    command: click.Command = cli
    context = click.Context(cli, info_name="natpair")
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        if found is None:
            raise click.UsageError(f"no such command: {rest[0]}")
        command, rest = found, rest[1:]
    return command.make_context(command.name or "natpair", rest, parent=context)


def schemas() -> dict[str, dict[str, Any]]:
    """Schema name (`natpair/status/v1`) → schema."""
    found = [json.loads(path.read_text()) for folder in SCHEMAS for path in sorted(folder.glob("*.json"))]
    return {schema["properties"]["schema"]["const"]: schema for schema in found}


def complaints(document: Mapping[str, Any]) -> list[str]:
    """Where `document` is not as the schema that it names wants it."""
    schema = schemas().get(str(document.get("schema")))
    if schema is None:
        return [f"no schema in {[str(folder) for folder in SCHEMAS]} for {document.get('schema')}"]
    validator = jsonschema_rs.validator_for(schema)
    return [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(document)]
