"""From a file to a running pair: look, do the first step, look again, until nothing is left.

Nothing is remembered between two steps, so a run that ended anywhere is taken up by the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from natpair.cloud.desired import wanted_of
from natpair.cloud.execute import Materials, Pace, Site, carry_out
from natpair.cloud.observed import observe
from natpair.cloud.plan import Kind, Plan, Step, make_plan
from natpair.cloud.platform import Offer
from natpair.config.auto import Draft
from natpair.config.load import parse_draft
from natpair.errors import ApiError, ConfigError, NotReady, Problem
from natpair.linode.client import LinodeClient

_MOST_TRIES = 3


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of it: the steps that were done, and the file as it is now."""

    done: tuple[Step, ...]
    draft: Draft
    plan: Plan


async def apply(
    client: LinodeClient,
    draft: Draft,
    offer: Offer,
    materials: Materials,
    pace: Pace,
    tell: Callable[[Step], None],
) -> Applied:
    """Carry out every step; `tell` hears of each before it begins.

    ConfigError when something stands in the way, NotReady when a step does not come about, ApiError as the API refuses.
    """
    done: list[Step] = []
    tries = 0
    while True:
        wanted = wanted_of(draft)
        found = await observe(client, wanted)
        plan = make_plan(wanted, found)
        refuse_if_blocked(plan)
        if not plan.steps:
            return Applied(tuple(done), draft, plan)
        step = plan.steps[0]
        tries = tries + 1 if done and done[-1] == step else 1
        if tries > _MOST_TRIES:
            raise NotReady(
                f"done {_MOST_TRIES} times, and still to do: {step.text}", cure="see what undoes it, then run it again"
            )
        tell(step)
        site = Site(client, draft, wanted, found, offer, materials, pace)
        text = await _carefully(site, step)
        done.append(step)
        if text is not None:
            materials.save(text)
            draft = parse_draft(text)


async def _carefully(site: Site, step: Step) -> str | None:
    try:
        return await carry_out(site, step)
    except ApiError as error:
        # Whether it was done is seen by looking. But an address that shows late cannot be told from none: then a
        # person decides when to run it again, because two would be paid for.
        if not error.uncertain or step.kind is Kind.ALLOCATE:
            raise
        return None


def refuse_if_blocked(plan: Plan) -> None:
    """ConfigError with everything that stands in the way."""
    if plan.blockers:
        raise ConfigError("the account", [Problem("", "", one.text, one.cure) for one in plan.blockers])
