"""`natpair check FILE`: everything that is wrong with a configuration, or that nothing is."""

from __future__ import annotations

from pathlib import Path

import click

from natpair.cli.output import emit_json, say, symbols
from natpair.errors import ConfigError, Problem

_SCHEMA = "natpair/check/v1"


@click.command(name="check", epilog="Example: natpair check examples/gateway.toml")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(file: Path, as_json: bool) -> int:
    """Check FILE and print all problems at once: key, value, and what would be accepted.

    Exit code 0 if it can be used, 78 if not. Nothing on this machine is looked at or changed.
    """
    from natpair.config.load import load
    from natpair.core.digest import config_hash

    try:
        gateway = load(file)
    except ConfigError as error:
        if not as_json:
            raise
        emit_json({"schema": _SCHEMA, "file": str(file), "ok": False, "problems": [_plain(p) for p in error.problems]})
        return error.exit_code
    digest = config_hash(gateway)
    if as_json:
        emit_json({"schema": _SCHEMA, "file": str(file), "ok": True, "problems": [], "config_hash": digest})
        return 0
    first, second = gateway.node
    fips = ", ".join(map(str, gateway.pair.fips))
    say(f"{symbols().good} {file} is good (hash {digest})")
    say(f"  {first.name} and {second.name}: {gateway.private_network} behind {gateway.pair.vip.ip} goes out as {fips}")
    say(f"  profile {gateway.pair.profile}: a dead node is noticed within {gateway.timing.detect_ms} ms")
    return 0


def _plain(problem: Problem) -> dict[str, object]:
    return {
        "key": problem.key,
        "line": problem.line,
        "value": problem.value,
        "message": problem.message,
        "accepted": problem.accepted,
    }
