"""Wait until a pair is ready: for the end of an installation, and for scripts."""

from __future__ import annotations

from natpair.cli import client
from natpair.cli.output import talk
from natpair.core.condition import Severity
from natpair.core.status import Status, missing_for_pair
from natpair.errors import AgentUnreachable, NotReady
from natpair.system.wait import poll

_LOOK_EVERY_SECONDS = 0.5
_IN_THE_WAY = frozenset({"no-usable-standby", "vrrp-fault", "claim-refused", "flows-missing", "config-differs"})
"""Conditions with which a handover would be refused or break flows. Critical conditions count as well."""


def wait_until_ready(timeout: float) -> None:
    """Return when one node is active and the other a standby in sync. Raise NotReady after `timeout` seconds."""
    missing = ""

    def ready() -> bool:
        nonlocal missing
        before, missing = missing, missing_word()
        if missing and missing != before:
            talk(f"waiting: {missing}")
        return not missing

    if not poll(ready, deadline_seconds=timeout, poll_seconds=_LOOK_EVERY_SECONDS):
        fix = "see `natpair status` on both nodes, and `journalctl -u natpair-agent`"
        raise NotReady(f"the pair is not ready after {timeout:g} s: {missing}", fix=fix)


def missing_word() -> str:
    """What is missing now; empty if nothing is."""
    try:
        return missing(client.status())
    except AgentUnreachable as error:
        return error.message


def missing(status: Status) -> str:
    """What is missing for a pair that is ready and can hand over; empty if nothing is."""
    in_the_way = (one.text for one in status.conditions if one.severity is Severity.CRITICAL or one.code in _IN_THE_WAY)
    return missing_for_pair(status) or "; ".join(in_the_way)
