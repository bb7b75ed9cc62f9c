"""Compare an account with a file: what is wrong, worst first. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from natpair.cloud.blockers import Remark
from natpair.cloud.desired import Wanted
from natpair.cloud.observed import Found
from natpair.cloud.plan import Kind, Plan, Step

_APPLY = "run `natpair cloud apply`"
# What a remaining step means for a pair that exists already.
_MISSING = {
    Kind.GROUP: "the placement group is missing: the nodes may end up on the same host",
    Kind.FIREWALL: "the Cloud Firewall is missing",
    Kind.RULES: "the rules of the Cloud Firewall differ from the file",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """`made` False: the account has nothing of the pair. `problems` starts with those that natpair cannot fix."""

    made: bool
    problems: tuple[Remark, ...]
    notes: tuple[Remark, ...]


def condition_of(wanted: Wanted, found: Found, plan: Plan) -> Condition:
    """All problems, and the notes."""
    made = not found.nothing
    problems = (*plan.blockers, *_apart(found), *_power(wanted, found), *(_left(step) for step in plan.steps))
    return Condition(made, problems if made else plan.blockers, plan.remarks if made else ())


def _left(step: Step) -> Remark:
    return Remark(_MISSING.get(step.kind, f"still to do: {step.text}"), _APPLY)


def _apart(found: Found) -> Iterator[Remark]:
    hosts = [there.instance.host_uuid for there in found.nodes if there]
    if len(hosts) > 1 and None not in hosts and len(set(hosts)) == 1:
        fix = "power the standby off and on, so that the platform places it again; or ask Linode support"
        yield Remark("both nodes are on the same host, so one host failure would stop the pair", fix)
    elif found.group is not None and not found.group.is_compliant:
        fix = "wait for the platform to move a node; if this does not change, ask Linode support"
        yield Remark(f"the placement group {found.group.label} is not compliant", fix)


def _power(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for node, there in zip(wanted.nodes, found.nodes, strict=True):
        if there is None:
            continue
        shown = f"{node.name} (Linode {there.instance.id})"
        if node.adopted is not None and not there.instance.running:
            yield Remark(f"{shown} is {there.instance.status}", "boot it")
        if there.instance.watchdog_enabled is False:
            fix = "turn the shutdown watchdog (Lassie) on in Linode's Cloud Manager"
            yield Remark(f"{shown} does not restart after a crash, because its watchdog is off", fix)
