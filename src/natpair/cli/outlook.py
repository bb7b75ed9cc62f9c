"""What `natpair cloud watch` tells: the findings of a look, what is new since the last one, and the way to a node.

The decisions are those of `core.account`, the same as an agent's; only who is active has to be asked for.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from natpair.core.account import Account
from natpair.core.model import Gateway, Node
from natpair.core.status import Role, parse
from natpair.errors import CommandFailed, NatpairError
from natpair.system.process import arun

STATUS_SECONDS = 20.0
SWITCHOVER_SECONDS = 45.0
_REFUSED = 75
# What ssh needs of our environment to find its keys.
_PASSED_ON = ("HOME", "USER", "SSH_AUTH_SOCK")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, or that somebody wants to know. Equal ones are the same one."""

    event: str
    node: str
    text: str


def findings(account: Account, nodes: Iterable[str]) -> tuple[Finding, ...]:
    """All of a look, shares first."""
    gone = [Finding("share-missing", lack.node, f"{lack.fip} {lack.why}") for lack in account.lacks]
    works = [Finding("maintenance-ahead", node, work.what) for node in nodes for work in account.ahead(node)]
    cures = ((trouble, f" ({trouble.cure})" if trouble.cure else "") for trouble in account.troubles)
    blind = [Finding("account-unseen", "", f"{trouble.part}: {trouble.why}{cure}") for trouble, cure in cures]
    return tuple(dict.fromkeys((*gone, *works, *blind)))


def changes(before: Sequence[Finding], after: Sequence[Finding]) -> tuple[Finding, ...]:
    """What is new, and what is over."""
    over = [replace(one, event=f"{one.event}-over") for one in before if one not in after]
    return (*(one for one in after if one not in before), *over)


class Remote:
    """The nodes, reached by the words of `--ssh`, in which `{node}` and `{address}` stand for the node."""

    def __init__(self, gateway: Gateway, words: str) -> None:
        self._words = shlex.split(words)
        self._nodes = {node.name: node for node in gateway.node}

    async def is_active(self, node: str) -> bool:
        """Whether `node` says that it is active; NatpairError if it says nothing."""
        document = await self._ask(node, ("natpair", "status", "--json"), STATUS_SECONDS)
        try:
            return parse(document).role is Role.ACTIVE
        except ValueError as error:
            raise NatpairError(f"{node} answers no status: {error}", cure="is natpair up to date there?") from error

    async def switch_over(self, node: str) -> str:
        """Ask `node` to hand the role over, never by force; why it did not, empty if it did."""
        document = await self._ask(node, ("natpair", "switchover", "--json"), SWITCHOVER_SECONDS)
        return "" if document.get("ok") is True else str(document.get("message") or "no reason given")

    async def _ask(self, name: str, command: tuple[str, ...], seconds: float) -> dict[str, Any]:
        argv = [*_filled(self._words, self._nodes[name]), *command]
        env = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        try:
            done = await arun(argv, timeout=seconds, ok=(0, _REFUSED), env=env)
        except CommandFailed as error:
            cure = "see whether --ssh is right: it is put before 'natpair status --json'"
            raise NatpairError(f"{name} cannot be asked: {error.message}", cure=cure) from error
        try:
            document = json.loads(done.stdout)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise NatpairError(f"{name} answers no JSON: {done.stdout[:80]!r}", cure="is natpair installed there?")
        return document


def _filled(words: Sequence[str], node: Node) -> list[str]:
    address = str(node.public_address.ip)
    return [word.replace("{node}", node.name).replace("{address}", address) for word in words]


async def leave(account: Account, gateway: Gateway, remote: Remote, now: float) -> tuple[Account, tuple[Finding, ...]]:
    """Let the active node hand over if work on it is due; the account as it is then, and what to tell."""
    lead = gateway.watch.maintenance_lead_seconds
    first, second = (node.name for node in gateway.node)
    told: list[Finding] = []
    for node, peer in ((first, second), (second, first)):
        work = account.to_leave(node, now, lead)
        if work is None:
            continue
        reason, done = "", False
        theirs = account.obstacle(work, peer)
        try:
            if not await remote.is_active(node):
                continue
            reason = f"{peer} has work no later: {theirs.what}" if theirs else await remote.switch_over(node)
            done = not reason
        except NatpairError as error:
            reason = error.message
        if done:
            account = account.left(node, now, lead)
            told.append(Finding("switchover", node, f"{work.what}: {peer} has the role now"))
            # One a look: who is active has just changed.
            break
        told.append(Finding("no-switchover", node, f"{work.what}: {reason}"))
    return account, tuple(told)
