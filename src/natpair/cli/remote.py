"""How `natpair cloud watch` reaches the nodes: it asks by ssh which one is active, and makes that one hand over.

`core.account.leaving` decides whether a node should hand over, as it does in an agent.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from typing import Any

from natpair.core.account import Account, leaving
from natpair.core.model import Gateway, Node
from natpair.core.status import Role, parse
from natpair.errors import CommandFailed, NatpairError
from natpair.system.process import arun

Line = tuple[str, str, str]
"""A line of `natpair cloud watch`: the event, the node (empty if it concerns the pair) and a text."""

STATUS_SECONDS = 20.0
SWITCHOVER_SECONDS = 45.0
_REFUSED = 75
# What ssh needs of our environment to find its keys.
_PASSED_ON = ("HOME", "USER", "SSH_AUTH_SOCK")


class Remote:
    """The nodes, reached by the command of `--ssh`, in which `{node}` and `{address}` stand for the node."""

    def __init__(self, gateway: Gateway, words: str) -> None:
        self._words = shlex.split(words)
        self._nodes = {node.name: node for node in gateway.node}

    async def is_active(self, node: str) -> bool:
        """Whether `node` reports that it is active. Raise NatpairError if it does not answer."""
        document = await self._ask(node, ("natpair", "status", "--json"), STATUS_SECONDS)
        try:
            return parse(document).role is Role.ACTIVE
        except ValueError as error:
            fix = "check the version of natpair on that node"
            raise NatpairError(f"{node} does not answer with a status: {error}", fix=fix) from error

    async def switch_over(self, node: str) -> str:
        """Ask `node` to hand over, never with --force. Return the reason if it refused, else an empty text."""
        document = await self._ask(node, ("natpair", "switchover", "--json"), SWITCHOVER_SECONDS)
        return "" if document.get("ok") is True else str(document.get("message") or "no reason given")

    async def _ask(self, name: str, command: tuple[str, ...], seconds: float) -> dict[str, Any]:
        argv = [*_filled(self._words, self._nodes[name]), *command]
        env = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        try:
            done = await arun(argv, timeout=seconds, ok=(0, _REFUSED), env=env)
        except CommandFailed as error:
            fix = "check --ssh, the command before 'natpair status --json'"
            raise NatpairError(f"cannot reach {name}: {error.message}", fix=fix) from error
        try:
            document = json.loads(done.stdout)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            fix = "check that natpair is installed on that node"
            raise NatpairError(f"{name} does not answer with JSON: {done.stdout[:80]!r}", fix=fix)
        return document


def _filled(words: Sequence[str], node: Node) -> list[str]:
    address = str(node.public_address.ip)
    return [word.replace("{node}", node.name).replace("{address}", address) for word in words]


async def leave(account: Account, gateway: Gateway, remote: Remote, now: float) -> tuple[Account, tuple[Line, ...]]:
    """Make the active node hand over if the core says so. Return the new account state and the lines to print."""
    lead = gateway.watch.maintenance_lead_seconds
    first, second = (node.name for node in gateway.node)
    lines: list[Line] = []
    for node, peer in ((first, second), (second, first)):
        found = leaving(account, node, peer, now, lead)
        if found is None:
            continue
        work, reason = found
        try:
            if not await remote.is_active(node):
                continue
            reason = reason or await remote.switch_over(node)
        except NatpairError as error:
            reason = error.message
        if not reason:
            lines.append(("switchover", node, f"{work.what}: {peer} is active now"))
            # At most one switchover per look, because the active node has just changed.
            return account.left(node, now, lead), tuple(lines)
        lines.append(("no-switchover", node, f"{work.what}: {reason}"))
    return account, tuple(lines)
