"""`natpair cloud status` and `natpair cloud destroy`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from natpair.cli.commands import cloud_common as common
from natpair.cli.named import in_its_file
from natpair.cli.output import emit_json, say, symbols, table, talk

if TYPE_CHECKING:
    from natpair.cloud.desired import Wanted
    from natpair.cloud.destroy import UndoStep
    from natpair.cloud.health import Condition
    from natpair.cloud.observed import Found
    from natpair.config.auto import Draft

PROBLEMS = 2


@click.command(name="status", epilog="Example: natpair cloud status gateway.toml --json")
@common.file_argument
@common.json_option
@in_its_file
def status(file: Path, as_json: bool) -> int:
    """Compare the account with FILE and show the result, problems first.

    Exit code 0 if the account is as FILE says, 2 if not. It changes nothing.
    """
    from natpair.config.load import load_draft

    wanted, found, condition = common.run(_examine(load_draft(file)))
    if as_json:
        emit_json(_document(wanted, found, condition))
    else:
        _say_status(wanted, found, condition)
    return 0 if condition.made and not condition.problems else PROBLEMS


async def _examine(draft: Draft) -> tuple[Wanted, Found, Condition]:
    from natpair.cloud.desired import wanted_of
    from natpair.cloud.health import condition_of
    from natpair.cloud.observed import observe
    from natpair.cloud.plan import make_plan

    wanted = wanted_of(draft)
    async with common.api_of(draft, only_look=True) as client:
        found = await observe(client, wanted)
    return wanted, found, condition_of(wanted, found, make_plan(wanted, found))


def _say_status(wanted: Wanted, found: Found, condition: Condition) -> None:
    if not condition.made:
        say(f"{symbols().bad} {wanted.pair} does not exist on the account\n    run `natpair cloud apply` to create it")
    elif not condition.problems:
        say(f"{symbols().good} the account is as gateway.toml says")
    common.say_remarks(condition.problems, condition.notes)
    say()
    rows = [_row(node) for node in _nodes(wanted, found)]
    say(table(rows, ("NODE", "LINODE", "LABEL", "STATUS", "MACHINE", "OWNS", "SHARED TO IT")))


def _row(node: dict[str, object]) -> list[object]:
    def listed(name: str) -> str:
        values = node[name]
        return ", ".join(map(str, values)) if isinstance(values, list) and values else "-"

    machine = str(node["host_uuid"] or "-")[:8]
    number = node["linode"] or "-"
    return [
        node["name"],
        number,
        node["label"] or "-",
        node["status"],
        machine,
        listed("fips_owned"),
        listed("fips_shared"),
    ]


def _nodes(wanted: Wanted, found: Found) -> list[dict[str, object]]:
    documents: list[dict[str, object]] = []
    for node, there in zip(wanted.nodes, found.nodes, strict=True):
        number = there.instance.id if there else None
        owned = [fip for fip, owner in found.owners.items() if there and owner.linode_id == number]
        documents.append(
            {
                "name": node.name,
                "linode": number,
                "adopted": node.adopted is not None,
                "label": there.instance.label if there else None,
                "status": there.instance.status if there else "absent",
                "host_uuid": there.instance.host_uuid if there else None,
                "fips_owned": owned,
                "fips_shared": sorted(there.shared & set(wanted.known_fips)) if there else [],
            }
        )
    return documents


def _document(wanted: Wanted, found: Found, condition: Condition) -> dict[str, object]:
    return {
        "schema": "natpair/cloud-status/v1",
        "pair": wanted.pair,
        "stamp": wanted.stamp,
        "made": condition.made,
        "problems": common.plain_remarks(condition.problems),
        "notes": common.plain_remarks(condition.notes),
        "nodes": _nodes(wanted, found),
        "firewall": found.firewall.id if found.firewall else None,
        "placement_group": found.group.id if found.group else None,
    }


@click.command(name="destroy", epilog="Example: natpair cloud destroy gateway.toml")
@common.file_argument
@common.yes_option
@common.every_option
@common.json_option
@in_its_file
def destroy(file: Path, yes: bool, every: float, as_json: bool) -> None:
    """Remove what natpair created for FILE. It first shows the list and asks for the pair's name.

    Anything without this file's stamp is left alone. An adopted Linode loses only the pair's shares.
    """
    from natpair.config.load import load_draft

    with common.only_one(file):
        draft = load_draft(file)
        steps = common.run(_left(draft))
        if steps:
            _ask(draft, steps, yes=yes)

        def tell(step: UndoStep) -> None:
            talk(f"{symbols().arrow} {step.text}")

        done = common.run(_destroy(file, draft, every, tell)) if steps else ()
    if as_json:
        emit_json({"schema": "natpair/cloud-destroy/v1", "pair": draft.gateway.pair.name, "done": list(done)})
    elif done:
        say(f"{symbols().good} {draft.gateway.pair.name}: removed everything that natpair created")
    else:
        say(f"{symbols().good} {draft.gateway.pair.name}: nothing to remove")


async def _left(draft: Draft) -> tuple[UndoStep, ...]:
    from natpair.cloud.desired import wanted_of
    from natpair.cloud.destroy import undo_steps
    from natpair.cloud.observed import observe

    wanted = wanted_of(draft, undoing=True)
    async with common.api_of(draft, only_look=True) as client:
        return undo_steps(wanted, await observe(client, wanted))


def _ask(draft: Draft, steps: tuple[UndoStep, ...], *, yes: bool) -> None:
    if yes:
        return
    for step in steps:
        talk(f"  {step.text}")
    name = draft.gateway.pair.name
    if not sys.stdin.isatty():
        raise click.UsageError("stdin is not a terminal: read the list above, then run this again with --yes")
    if click.prompt(f"To remove all of this permanently, type the name of the pair ({name})", err=True) != name:
        raise click.Abort


async def _destroy(file: Path, draft: Draft, every: float, tell: Callable[[Any], None]) -> tuple[UndoStep, ...]:
    from natpair.cloud.destroy import destroy as take_away
    from natpair.cloud.execute import Pace

    async with common.api_of(draft) as client:
        return await take_away(client, draft, common.saver(file), Pace(look_every_seconds=every), tell)
