"""How an account stands against a file: what is wrong, worst first. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from natpair.cloud.blockers import Remark
from natpair.cloud.desired import Wanted
from natpair.cloud.observed import Found
from natpair.cloud.plan import Kind, Plan, Step

_APPLY = "`natpair cloud apply` does it"
# What a step that is left to do means for a pair that was made before.
_MISSING = {
    Kind.GROUP: "there is no placement group: nothing keeps the nodes on different machines",
    Kind.FIREWALL: "the Cloud Firewall is gone",
    Kind.RULES: "the rules of the Cloud Firewall are not those of the file",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """`made` False: nothing of the pair is on the account. `problems` first those that nothing here can mend."""

    made: bool
    problems: tuple[Remark, ...]
    notes: tuple[Remark, ...]


def condition_of(wanted: Wanted, found: Found, plan: Plan) -> Condition:
    """Everything that is wrong, and what is only worth knowing."""
    made = not found.nothing
    problems = (*plan.blockers, *_apart(found), *_power(wanted, found), *(_left(step) for step in plan.steps))
    return Condition(made, problems if made else plan.blockers, plan.remarks if made else ())


def _left(step: Step) -> Remark:
    return Remark(_MISSING.get(step.kind, f"still to do: {step.text}"), _APPLY)


def _apart(found: Found) -> Iterator[Remark]:
    hosts = [there.instance.host_uuid for there in found.nodes if there]
    if len(hosts) > 1 and None not in hosts and len(set(hosts)) == 1:
        cure = "power one of them off and on, standby first: the platform places it anew; or ask Linode support"
        yield Remark("both nodes stand on the same machine, whose failure would take the pair", cure)
    elif found.group is not None and not found.group.is_compliant:
        cure = "the platform moves one of them by itself; if it stays so, ask Linode support"
        yield Remark(f"the placement group {found.group.label} is not compliant", cure)


def _power(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for node, there in zip(wanted.nodes, found.nodes, strict=True):
        if there is None:
            continue
        shown = f"{node.name} (Linode {there.instance.id})"
        if node.adopted is not None and not there.instance.running:
            yield Remark(f"{shown} is {there.instance.status}", "boot it")
        if there.instance.watchdog_enabled is False:
            cure = "turn the shutdown watchdog (Lassie) on in Linode's Cloud Manager"
            yield Remark(f"{shown} does not come back by itself after a crash: its watchdog is off", cure)
