"""`natpair generations | rollback | confirm`: list earlier configurations, return to one, keep the present one."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli import complete
from natpair.cli import node as machine
from natpair.cli.commands.apply import HEALTH_SECONDS, report
from natpair.cli.output import emit_json, say, symbols, table, talk
from natpair.core import paths
from natpair.errors import ConfigError, NoInput, NotReady

if TYPE_CHECKING:
    from natpair.apply.generations import Generation
    from natpair.config.compare import KeyChange

_RETRY_SECONDS = 0.5


@click.command(name="generations", epilog="Example: natpair generations --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def generations(as_json: bool) -> None:
    """List the configurations applied to this node, oldest first, with what each one changed."""
    from natpair.apply import confirm
    from natpair.apply import generations as kept

    found = [kept.load(number) for number in kept.numbers()]
    waiting = confirm.read()
    rows: list[dict[str, object]] = [
        {
            "number": generation.number,
            "made": datetime.fromtimestamp(generation.made, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "why": generation.why,
            "digest": generation.digest,
            "changes": [_short(change) for change in _changes(earlier, generation)],
        }
        for earlier, generation in zip([None, *found], found, strict=False)
    ]
    if as_json:
        deadline = time.time() + waiting.left_seconds if waiting else None
        emit_json({"schema": "natpair/generations/v1", "generations": rows, "goes_back_at": deadline})
    elif not rows:
        talk("no generation yet: natpair apply creates the first one")
    else:
        lines = [(r["number"], r["made"], r["why"], _joined(r["changes"])) for r in rows]
        say(table(lines, ("", "MADE", "WHY", "CHANGED")))
        if waiting is not None:
            left = max(0.0, waiting.left_seconds)
            said = f"not confirmed: rolls back to {waiting.back_to} in {left:.0f} s unless you run: natpair confirm"
            talk(f"{symbols(sys.stderr).warning} {said}")


def _changes(earlier: Generation | None, later: Generation) -> tuple[KeyChange, ...]:
    from natpair.config.compare import compare
    from natpair.config.load import parse

    try:
        return compare(parse(earlier.config), parse(later.config)) if earlier is not None else ()
    except ConfigError:  # written for another version of natpair
        return ()


def _joined(changes: object) -> str:
    return "; ".join(map(str, changes)) or "-" if isinstance(changes, list) else "-"


def _short(change: KeyChange) -> str:
    return f"{change.key} = {change.after if change.after is not None else 'absent'}"


@click.command(name="rollback", epilog="Example: natpair rollback 3")
@click.argument("number", type=click.IntRange(1), required=False, shell_complete=complete.generations)
@click.option("--yes", is_flag=True, help="Do not ask, even if live flows would break or stall.")
@click.option(
    "--health-seconds",
    type=click.FloatRange(3, 600),
    default=HEALTH_SECONDS,
    show_default=True,
    help="Undo the rollback if the node is not as healthy as before within this time.",
)
@click.option("--when-due", is_flag=True, hidden=True, help="Wait for an unconfirmed apply's deadline first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def rollback(number: int | None, yes: bool, health_seconds: float, when_due: bool, as_json: bool) -> None:
    """Return this node to the configuration before the last apply, or to generation NUMBER of `natpair generations`.

    The command restores all files of that generation, gateway.toml included. If gateway.toml has edits that were
    never applied, it saves them beside it as gateway.toml.edited.
    """
    from natpair.apply.generations import load

    machine.require_root()
    if when_due:
        _when_due(health_seconds)
        return
    back_to = load(number if number is not None else _previous())
    _go_back(back_to, f"rolled back to {back_to.number}", health_seconds, yes=yes, as_json=as_json)


def _previous() -> int:
    """The newest generation that differs from the one in force."""
    from natpair.apply.generations import load, numbers

    kept = [load(number) for number in numbers()]
    earlier = [one.number for one in kept if one.digest != kept[-1].digest]
    if not earlier:
        raise NoInput("there is no earlier generation to roll back to", fix="natpair generations lists what is kept")
    return earlier[-1]


def _go_back(
    to: Generation, why: str, health_seconds: float, *, yes: bool, as_json: bool, regardless: bool = False
) -> None:
    from natpair.apply.settle import Regardless, Settled
    from natpair.apply.transaction import go_back
    from natpair.config.compare import compare
    from natpair.config.load import find_node, parse
    from natpair.core.model import config_hash
    from natpair.core.rendered import rendered_digest
    from natpair.system.machine import own_addresses

    gateway = parse(to.config, source=f"generation {to.number}")
    me = find_node(gateway, hostname=socket.gethostname(), addresses=own_addresses())
    old = machine.in_force()
    effects = machine.what_if(old, gateway, me)
    machine.tell(effects)
    machine.agree(effects, yes=yes)
    _keep_edits()
    digest = rendered_digest(to.files)
    settle = (Regardless if regardless else Settled)(config_hash(gateway), health_seconds, talk, digest)
    plan = go_back(to.number, why, settle=settle)
    changes = compare(old, gateway) if old is not None else ()
    report(plan, me.name, changes, effects, dry_run=False, as_json=as_json)


def _keep_edits() -> None:
    from natpair.apply.generations import load, numbers
    from natpair.system.files import read_if_there, write_atomic

    text = read_if_there(Path(paths.CONFIG))
    if text is not None and text not in (load(number).config for number in numbers()):
        aside = Path(f"{paths.CONFIG}.edited")
        write_atomic(aside, text)
        talk(f"saved the edits that were never applied as {aside}")


def _when_due(health_seconds: float) -> None:
    """Wait for the deadline, then roll back; if an apply is running at that moment, wait until it has ended."""
    from natpair.apply import confirm
    from natpair.apply.generations import load
    from natpair.system.wait import ticks

    turns = ticks(_RETRY_SECONDS)
    with confirm.only_guard() as alone:
        if alone:
            _finish_cut_off()
        while alone and (found := confirm.await_due()) is not None:
            next(turns)
            why = f"not confirmed in time: rolled back to {found.back_to}"
            with suppress(NotReady):
                _go_back(load(found.back_to), why, health_seconds, yes=True, as_json=False, regardless=True)


def _finish_cut_off() -> None:
    """Undo what a killed apply left, and make the agent load the configuration that is then in force."""
    from natpair.apply.settle import Regardless
    from natpair.apply.transaction import resume_cut_off
    from natpair.core.model import config_hash

    now = machine.in_force() if resume_cut_off() else None
    if now is not None:
        Regardless(config_hash(now), 0, talk).done()


@click.command(name="confirm", epilog="Example: natpair confirm")
def confirm() -> None:
    """Keep what `natpair apply --confirm` changed. Exit code 75 if there is nothing to confirm."""
    from natpair.apply import confirm
    from natpair.apply.transaction import alone

    machine.require_root()
    fix = "natpair generations shows which configuration is in force, and why"
    if confirm.read() is None:  # before taking the lock, so that a machine that is no node gets no lock file
        raise NotReady("there is nothing to confirm", fix=fix)
    with alone():  # a rollback that is running holds this lock
        found = confirm.read()
        if found is None:
            raise NotReady("there is nothing to confirm", fix=fix)
        if found.due:
            raise NotReady("too late: the time to confirm is over, and this node rolls back", fix=fix)
        confirm.clear()
    say(f"{symbols().good} confirmed: this configuration is kept")
