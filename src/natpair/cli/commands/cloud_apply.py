"""`natpair cloud plan` and `natpair cloud apply`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from natpair.cli.commands import cloud_common as common
from natpair.cli.named import in_its_file
from natpair.cli.output import emit_json, say, symbols, talk

if TYPE_CHECKING:
    from natpair.cloud.applying import Applied
    from natpair.cloud.desired import Wanted
    from natpair.cloud.observed import Found
    from natpair.cloud.plan import Plan
    from natpair.cloud.platform import Offer, PriceLine
    from natpair.config.auto import Draft

_KEY_FOR_SIZE = "=" * 45


@dataclass(frozen=True, slots=True)
class _Look:
    """A plan and the data it was made from."""

    wanted: Wanted
    found: Found
    offer: Offer
    plan: Plan
    prices: tuple[PriceLine, ...]


@click.command(name="plan", epilog="Example: natpair cloud plan gateway.toml")
@common.file_argument
@common.json_option
@in_its_file
def plan(file: Path, as_json: bool) -> None:
    """Show what `natpair cloud apply` would create, change and keep, and the price per month.

    It changes nothing. It reads the account with the token in linode.token_file, NATPAIR_LINODE_TOKEN or LINODE_TOKEN.
    """
    from natpair.config.load import load_draft

    draft = load_draft(file)
    looked = common.run(_look(draft))
    if as_json:
        emit_json(_plan_document(looked))
        return
    _say_plan(looked)


@click.command(name="apply", epilog="Example: natpair cloud apply gateway.toml --yes")
@common.file_argument
@common.yes_option
@common.every_option
@common.json_option
@in_its_file
def apply_(file: Path, yes: bool, every: float, as_json: bool) -> None:
    """Create on Linode what FILE describes, step by step, and write the assigned addresses into FILE.

    After any failure, run it again: it continues from the present state of the account. It never rebuilds a node that
    is set up.
    """
    from natpair.cloud.plan import Step
    from natpair.config.load import load_draft

    with common.only_one(file):
        draft = load_draft(file)
        looked = common.run(_look(draft))
        _refuse(looked)
        if looked.plan.steps:
            if not yes:
                _say_plan(looked)
            common.confirm("Apply this plan?", yes=yes)

        def tell(step: Step) -> None:
            talk(f"{symbols().arrow} {step.text}")

        done = common.run(_apply(file, draft, looked, every, tell))
    if as_json:
        emit_json(_applied_document(done))
    else:
        _say_applied(done)


async def _look(draft: Draft) -> _Look:
    from natpair.cloud.desired import wanted_of
    from natpair.cloud.observed import observe
    from natpair.cloud.plan import make_plan
    from natpair.cloud.platform import check_offer, prices, read_offer

    wanted = wanted_of(draft)
    common.authorized_keys(draft)
    _check_size(draft)
    async with common.api_of(draft, only_look=True) as client:
        offer = await read_offer(client)
        check_offer(wanted, offer)
        found = await observe(client, wanted)
    return _Look(wanted, found, offer, make_plan(wanted, found), prices(wanted, found, offer))


def _check_size(draft: Draft) -> None:
    """Raise ConfigError now, before any Linode is created, if a node's user data would be too large."""
    from natpair.cloud.network import Uplink
    from natpair.cloud.userdata import node_user_data

    for node in draft.gateway.node:
        if node.linode is None:
            node_user_data(draft.gateway, draft.text, _KEY_FOR_SIZE, node, Uplink(IPv4Address("203.0.113.1")))


def _refuse(looked: _Look) -> None:
    from natpair.cloud.applying import refuse_if_blocked

    refuse_if_blocked(looked.plan)


async def _apply(file: Path, draft: Draft, looked: _Look, every: float, tell: Callable[[Any], None]) -> Applied:
    from natpair.cloud.applying import apply
    from natpair.cloud.execute import Materials, Pace

    key = common.ensured_key(common.key_path(file, draft)) if looked.wanted.made else ""
    materials = Materials(key, common.authorized_keys(draft), common.saver(file))
    async with common.api_of(draft) as client:
        return await apply(client, draft, looked.offer, materials, Pace(look_every_seconds=every), tell)


def _say_plan(looked: _Look) -> None:
    plan = looked.plan
    for line in plan.kept:
        say(f"  keep: {line}")
    for number, step in enumerate(plan.steps, start=1):
        say(f"{number:3}. {step.text}")
    if not plan.steps:
        say(f"{symbols().good} nothing to do")
    say()
    common.say_remarks(plan.blockers, plan.remarks)
    for line in common.price_lines(looked.prices):
        say(line)


def _plan_document(looked: _Look) -> dict[str, object]:
    plan = looked.plan
    return {
        "schema": "natpair/cloud-plan/v1",
        "pair": looked.wanted.pair,
        "stamp": looked.wanted.stamp,
        "steps": list(plan.steps),
        "blockers": common.plain_remarks(plan.blockers),
        "remarks": common.plain_remarks(plan.remarks),
        "kept": list(plan.kept),
        "prices": common.plain_prices(looked.prices),
    }


def _applied_document(done: Applied) -> dict[str, object]:
    gateway = done.draft.gateway
    return {
        "schema": "natpair/cloud-apply/v1",
        "pair": gateway.pair.name,
        "stamp": gateway.cloud.stamp,
        "done": list(done.done),
        "fips": list(gateway.pair.fips),
        "nodes": [{"name": node.name, "public_address": node.public_address} for node in gateway.node],
        "remarks": common.plain_remarks(done.plan.remarks),
    }


def _say_applied(done: Applied) -> None:
    gateway = done.draft.gateway
    if done.done:
        steps = "1 step" if len(done.done) == 1 else f"{len(done.done)} steps"
        say(f"{symbols().good} {gateway.pair.name}: {steps} done")
    else:
        say(f"{symbols().good} {gateway.pair.name}: nothing to do")
    common.say_remarks((), done.plan.remarks)
    fips = ", ".join(map(str, gateway.pair.fips))
    say(f"traffic leaves from {fips}; private instances use the gateway {gateway.pair.vip.ip}")
    if done.done:
        login = f"ssh root@{gateway.node[0].public_address.ip} natpair status --wait"
        talk(f"the nodes now install themselves; this takes a few minutes. To wait for them: {login}")
