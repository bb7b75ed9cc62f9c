"""Create a pair from a file: read the account, perform the first step, and repeat until no step is left.

Nothing is remembered between two steps, so the next run can continue after an interruption at any point.
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
    """The result: the steps that were done, and the file as it is now."""

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
    """Perform every step; `tell` is called before each one.

    Raise ConfigError if there are blockers, NotReady if a step has no effect, and ApiError if the API refuses a call.
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
                f"tried {_MOST_TRIES} times without effect: {step.text}",
                fix="find out what undoes this step, then run this again",
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
        # The next look shows whether the step was done. But an address may show up late, and allocating twice costs
        # money. So after an uncertain allocation a person decides when to run this again.
        if not error.uncertain or step.kind is Kind.ALLOCATE:
            raise
        return None


def refuse_if_blocked(plan: Plan) -> None:
    """Raise ConfigError if there are blockers."""
    if plan.blockers:
        raise ConfigError("the account", [Problem("", "", one.text, one.fix) for one in plan.blockers])
