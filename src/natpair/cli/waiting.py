"""Waiting for a pair: how an installation ends, and what a script does before it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from natpair.cli.client import request
from natpair.cli.output import talk
from natpair.errors import AgentUnreachable, NotReady
from natpair.system.wait import poll

_LOOK_EVERY_SECONDS = 0.5
_PAIRED = frozenset({"active", "standby"})
_NOT_A_PAIR = frozenset({"no-usable-standby", "vrrp-fault", "claim-refused", "flows-lacking", "config-differs"})
"""Conditions with which the other node could not take over, or not well; critical ones are in the way as well."""


def wait_until_ready(timeout: float) -> None:
    """Return once one node is active and the other a standby in sync; NotReady with what is missing after `timeout`."""
    missing = ""

    def ready() -> bool:
        nonlocal missing
        before, missing = missing, missing_word()
        if missing and missing != before:
            talk(f"waiting: {missing}")
        return not missing

    if not poll(ready, deadline_seconds=timeout, poll_seconds=_LOOK_EVERY_SECONDS):
        cure = "see `natpair status` on both nodes, and `journalctl -u natpair-agent`"
        raise NotReady(f"the pair is not ready after {timeout:g} s: {missing}", cure=cure)


def missing_word() -> str:
    """What the pair lacks at the moment, empty if nothing."""
    try:
        _, document = request("GET", "/v1/status")
    except AgentUnreachable as error:
        return error.message
    return lacking(document)


def lacking(document: Mapping[str, Any]) -> str:
    """What a status document lacks for a ready pair, empty if nothing."""
    me, peer, view = document["node"], document["peer"], document["peer_view"]
    if not view["fresh"]:
        return f"{me} is {document['role']}, {peer} is not heard"
    roles = {me: document["role"], peer: view["role"]}
    if set(roles.values()) != _PAIRED:
        return f"{me} is {roles[me]}, {peer} is {roles[peer]}"
    standby_synced = document["synced"] if roles[me] == "standby" else view["synced"]
    if not standby_synced:
        return "the standby is not in sync yet"
    return "; ".join(str(c["text"]) for c in document.get("conditions", ()) if _in_the_way(c))


def _in_the_way(condition: Mapping[str, Any]) -> bool:
    return condition["severity"] == "critical" or condition["code"] in _NOT_A_PAIR
