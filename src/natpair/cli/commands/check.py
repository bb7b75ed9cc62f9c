"""`natpair check FILE`: everything that is wrong with a configuration, and what is legal but unwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.output import emit_json, problem_block, say, symbols, talk
from natpair.core import paths
from natpair.errors import ConfigError, NatpairError, Problem

if TYPE_CHECKING:
    from natpair.core.model import Gateway

_SCHEMA = "natpair/check/v1"


@click.command(name="check", epilog="Example: natpair check examples/gateway.toml")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default=paths.CONFIG)
@click.option("--strict", is_flag=True, help="Warnings count as well: exit code 78.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(file: Path, strict: bool, as_json: bool) -> int:
    """Check FILE and print all problems at once: file and line, key, value, and what would be accepted.

    FILE may be - for standard input. Exit code 0 if it can be used, 78 if not. What is legal but unwise is a
    warning. For a node's own /etc/natpair/gateway.toml it also judges the pair's key, and says which files of the node
    are not as rendered.
    Nothing is changed.
    """
    from natpair.config.advice import advise
    from natpair.config.load import parse, with_lines
    from natpair.core.digest import config_hash

    source = "standard input" if str(file) == "-" else str(file)
    try:
        text = _text(file, source)
        gateway = parse(text, source=source)
        _judge_placement(gateway, source, text)
        _judge_key(gateway, file)
    except ConfigError as error:
        if not as_json:
            raise
        problems = [_plain(problem) for problem in error.problems]
        emit_json({"schema": _SCHEMA, "file": str(file), "ok": False, "problems": problems, "warnings": []})
        return error.exit_code
    warnings = [*with_lines(advise(gateway), text), *_drift(gateway, file)]
    digest, ok = config_hash(gateway), not (strict and warnings)
    if as_json:
        told = [_plain(warning) for warning in warnings]
        document = {"schema": _SCHEMA, "file": str(file), "ok": ok, "problems": [], "warnings": told}
        emit_json({**document, "config_hash": digest})
    else:
        _say(gateway, source, digest, len(warnings) if strict else 0)
        _warn(warnings, source)
    return 0 if ok else ConfigError.exit_code


def _text(file: Path, source: str) -> str:
    from natpair.config.load import MOST_BYTES, decoded, read

    return decoded(sys.stdin.buffer.read(MOST_BYTES + 1), source) if str(file) == "-" else read(file)


def _say(gateway: Gateway, source: str, digest: str, against: int) -> None:
    first, second = gateway.node
    fips = ", ".join(map(str, gateway.pair.fips))
    if against:
        warnings = "1 warning" if against == 1 else f"{against} warnings"
        say(f"{symbols().bad} {source} can be used (hash {digest}), and has {warnings} (--strict)")
        return
    say(f"{symbols().good} {source} is good (hash {digest})")
    say(f"  {first.name} and {second.name}: {gateway.private_network} behind {gateway.pair.vip.ip} goes out as {fips}")
    say(f"  profile {gateway.pair.profile}: a dead node is noticed within {gateway.timing.detect_ms} ms")


def _warn(warnings: list[Problem], source: str) -> None:
    if warnings:
        talk(f"{symbols(sys.stderr).warning} valid, but please check:")
    for warning in warnings:
        talk()
        talk(problem_block(warning, source, label="better"))


def _judge_key(gateway: Gateway, file: Path) -> None:
    """ConfigError if this machine is one of the nodes, the file its own, and its copy of the key is not fit for use."""
    if not file.exists() or file.resolve() != Path(paths.CONFIG).resolve():
        return
    from natpair.cli.node import require_key

    require_key(gateway)


def _drift(gateway: Gateway, file: Path) -> Iterator[Problem]:
    """On a node, for its own file: what stands in /etc and is not what this configuration renders."""
    if not file.exists() or file.resolve() != Path(paths.CONFIG).resolve():
        return
    from natpair.apply.transaction import make_plan
    from natpair.cli.node import target

    del gateway
    try:
        plan = make_plan(target(file.read_text(encoding="utf-8"), str(file), None).bundle)
    except (NatpairError, OSError):
        return  # not one of the pair's nodes
    for changed in plan.changed:
        if changed.path != paths.APPLIED:
            message = "the file on this node is not what this configuration makes"
            yield Problem("", changed.path, message, "see 'natpair diff', then 'natpair apply'")


def _judge_placement(gateway: Gateway, source: str, text: str) -> None:
    """On a node of this pair: ConfigError for own addresses that stand on another interface than the file says."""
    from natpair.cli.node import this_node
    from natpair.config.load import with_lines
    from natpair.core.placement import misplaced
    from natpair.system.machine import look

    try:
        me = this_node(gateway)
        found = misplaced(me, look().interfaces)
    except (NatpairError, OSError):
        return  # not one of the pair's nodes
    index, accepted = gateway.bit_of(me.name), "what is on this machine: 'ip address' shows it"
    problems = [Problem(f"node[{index}].{one.field}", str(one.own), str(one), accepted) for one in found]
    if problems:
        raise ConfigError(source, with_lines(problems, text))


def _plain(problem: Problem) -> dict[str, object]:
    return {
        "key": problem.key,
        "line": problem.line,
        "value": problem.value,
        "message": problem.message,
        "accepted": problem.accepted,
    }
