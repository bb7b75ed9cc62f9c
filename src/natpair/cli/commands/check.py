"""`natpair check FILE`: report every error in a configuration, and valid settings that are probably a mistake."""

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
@click.option("--strict", is_flag=True, help="Treat warnings as errors: exit code 78.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(file: Path, strict: bool, as_json: bool) -> int:
    """Check FILE and print every problem at once, with file, line, key, value and what is expected.

    FILE may be - for standard input. The exit code is 0 if FILE can be used and 78 if not. A setting that is valid
    but probably a mistake gives a warning. If FILE is this node's own /etc/natpair/gateway.toml, the command also
    checks the pair's key and lists the files on this node that differ from it. It changes nothing.
    """
    from natpair.config.advice import advise
    from natpair.config.load import parse, with_lines
    from natpair.core.model import config_hash

    source = "standard input" if str(file) == "-" else str(file)
    try:
        text = _text(file, source)
        gateway = parse(text, source=source)
        _check_placement(gateway, source, text)
        _check_key(gateway, file)
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
        say(f"{symbols().bad} {source} has {warnings}, which --strict treats as errors (hash {digest})")
        return
    say(f"{symbols().good} {source} is valid (hash {digest})")
    say(
        f"  {first.name} and {second.name} translate {gateway.private_network} to {fips}; clients use the gateway "
        f"{gateway.pair.vip.ip}"
    )
    say(f"  profile {gateway.pair.profile}: a dead node is detected within {gateway.timing.detect_ms} ms")


def _warn(warnings: list[Problem], source: str) -> None:
    if warnings:
        talk(f"{symbols(sys.stderr).warning} valid, but please check:")
    for warning in warnings:
        talk()
        talk(problem_block(warning, source, label="suggested"))


def _check_key(gateway: Gateway, file: Path) -> None:
    """Raise ConfigError if `file` is this node's own configuration and its copy of the key cannot be used."""
    if not file.exists() or file.resolve() != Path(paths.CONFIG).resolve():
        return
    from natpair.cli.node import require_key

    require_key(gateway)


def _drift(gateway: Gateway, file: Path) -> Iterator[Problem]:
    """For a node's own configuration: the installed files that differ from what it renders."""
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
            message = "the installed file differs from what this configuration renders"
            yield Problem("", changed.path, message, "run 'natpair diff', then 'natpair apply'")


def _check_placement(gateway: Gateway, source: str, text: str) -> None:
    """On a node of this pair: raise ConfigError if an own address is on another interface than the file says."""
    from natpair.cli.node import this_node
    from natpair.config.load import with_lines
    from natpair.core.placement import misplaced
    from natpair.system.machine import look

    try:
        me = this_node(gateway)
        found = misplaced(me, look().interfaces)
    except (NatpairError, OSError):
        return  # not one of the pair's nodes
    index, accepted = gateway.bit_of(me.name), "the addresses of this machine; 'ip address' shows them"
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
