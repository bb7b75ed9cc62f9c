"""Faults of the provider's API and of its token, in a lab whose agents watch an emulated account.

The account is the emulator's, and control requests make it fail. The token on the nodes is a fixed word of ours, so
that a search can show whether it appears anywhere it must not.
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from natpair.core.condition import Condition
from natpair.core.status import AccountStatus
from natpair.errors import LabError
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import NO_OUTAGE_MS, UNTOUCHED, Fault
from natpair_lab.chaos.observer import words
from natpair_lab.testbed import build, topology
from natpair_lab.testbed.cloudlab import serve_in_background
from natpair_lab.testbed.world import Lab

TOKEN_FILE = "/etc/natpair/linode.token"  # noqa: S105 - the path of the token, not the token
_WATCHING = f"""
[linode]
api_url = "http://{topology.api_address(topology.INTERNET_NETWORK).ip}/v4"
token_file = "{TOKEN_FILE}"
plain_http = true

[watch]
enabled = true
interval_seconds = 2
"""
_UNREADABLE = "account-unreadable"
_ASK_SECONDS = 10.0
_SEEN_MS = 30_000.0
"""After three failed looks the next one comes 16 s later, plus up to a tenth."""
_STALL_MS = 500.0
_LIMITED_SECONDS = 20.0
_MOST_REQUESTS = 10
"""For one agent in that time: three looks of three tries each, with pauses of 4 and 8 s.

Without back-off: five looks.
"""


@dataclass(frozen=True, slots=True)
class Mode:
    """One way the API fails: its name, the emulator's setting, and what an agent must report."""

    name: str
    fault: Mapping[str, object]
    says: str
    known_ms: float = 15_000
    """One look each 2 s plus 1 to 2 s of tries. The bound only excludes "never", on two busy cores."""


_PAGE = Mode("a page of HTML", {"kind": "html"}, "the answer is not JSON")
_SICK = (
    Mode("refused", {"kind": "refuse"}, "the connection broke"),
    Mode("500", {"kind": "status", "status": 500}, "(HTTP 500)"),
    _PAGE,
    Mode("a huge answer", {"kind": "huge"}, "an answer of more than"),
)
_LIMITED = Mode("429 without Retry-After", {"kind": "rate-limit"}, "wait a minute")
_SLOW = Mode("60 s slow", {"kind": "slow", "seconds": 60}, "no useful answer in time", 25_000)
_NO_RIGHT = Mode("403", {"kind": "status", "status": 403}, "the token needs")
_REVOKED = Mode("401", {}, "make a new token")


# The lab


def watched_lab(folder: Path, name: str, progress: Callable[[str], None]) -> Lab:
    """A lab with an emulated account of its pair. Both agents watch it."""
    file = folder / "watched.toml"
    file.write_text(build.configuration(None, None).text + _WATCHING)
    lab = Lab.up(file, name=name, progress=progress)
    try:
        serve_in_background(lab, 0)
    except BaseException:
        lab.down()
        raise
    return lab


def is_watched(lab: Lab) -> bool:
    """Whether the agents of this lab watch an account that exists."""
    return lab.gateway.watch.enabled and lab.api() is not None


class Account:
    """The emulated account and the token, for one fault. The context undoes every change."""

    def __init__(self, context: Context) -> None:
        served = context.lab.api()
        if served is None:
            raise LabError(f"the lab {context.lab.name} has no account", fix="natpair lab up --api")
        self._scene = context
        self._address = urlsplit(served.url).netloc
        self.token = f"chaos{secrets.token_hex(16)}"

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send one control request to the emulator."""
        link = http.client.HTTPConnection(self._address, timeout=_ASK_SECONDS)
        try:
            link.request(method, f"/_emulator{path}", None if body is None else json.dumps(body))
            answer = link.getresponse()
            document: dict[str, Any] = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise LabError(f"the emulated account does not answer: {error}") from error
        finally:
            link.close()
        if answer.status != http.client.OK:
            raise LabError(f"the emulated account refused {method} {path}: {document}")
        return document

    def begin(self) -> None:
        """Wait until both agents see the account with our token."""
        self._scene.undo.append(lambda: put_token(self._scene, "lab"))
        self._scene.undo.append(self.repair)
        put_token(self._scene, self.token)
        self.wait_seen("the account is seen")

    def spoil(self, mode: Mode) -> None:
        """From now on the API fails in this way, and in no other."""
        self.repair()
        self.ask("POST", "/faults", {**mode.fault, "times": None})

    def repair(self) -> None:
        """Stop every failure of the API."""
        self.ask("DELETE", "/faults")

    def requests_of(self, node: str) -> int:
        """The number of requests a node has sent, answered or not."""
        client = str(self._scene.lab.gateway.node_named(node).public_address.ip)
        return int(self.ask("GET", "/state")["asked"].get(client, 0))

    def waiting(self) -> bool:
        """Whether both nodes are waiting for an answer right now."""
        nodes = {str(node.public_address.ip) for node in self._scene.lab.gateway.node}
        return nodes <= set(self.ask("GET", "/state")["waiting"])

    def wait_seen(self, name: str) -> None:
        """Wait until both agents see the whole account again and report no condition about it."""
        context = self._scene
        began = time.monotonic()

        def seen() -> bool:
            looked = [_account(context, node) for node in context.lab.nodes]
            age_ms = (time.monotonic() - began) * 1000
            return all(one.seen_ms is not None and one.seen_ms < age_ms for one in looked) and not any(
                _UNREADABLE in context.conditions(node) or one.trouble
                for node, one in zip(context.lab.nodes, looked, strict=True)
            )

        context.check(
            name,
            context.wait(seen, _SEEN_MS / 1000 + _ASK_SECONDS),
            _SEEN_MS,
            "an agent reports trouble, or has not seen the account",
        )

    def wait_trouble(self, mode: Mode, *nodes: str) -> None:
        """Wait until these agents report the failure, and check that they answer as fast as before."""
        context, slowest = self._scene, 0.0

        def told() -> bool:
            nonlocal slowest
            found = []
            for node in nodes:
                start = time.monotonic()
                found += [_account(context, node).trouble]
                slowest = max(slowest, (time.monotonic() - start) * 1000)
            return all(mode.says in f"{trouble}" for trouble in found)

        said = context.wait(told, mode.known_ms / 1000 + _ASK_SECONDS)
        words = [_account(context, node).trouble for node in nodes]
        context.check(f"{mode.name}: known", said, mode.known_ms, f"{words}" if said is None else "")
        context.check(f"{mode.name}: agents answer", slowest, _STALL_MS)

    def wait_alarm(self, mode: Mode, *nodes: str) -> None:
        """Wait until these agents report that the account is unreadable, the cause and the fix."""
        context = self._scene
        alarms: list[list[Condition]] = []

        def told() -> bool:
            alarms[:] = [_alarms(context, node) for node in nodes]
            return all(any(mode.says in one.text and one.fix for one in told) for told in alarms)

        context.check(f"{mode.name}: alarm", context.wait(told, mode.known_ms / 1000), mode.known_ms, f"{alarms}")

    def require_secret(self) -> None:
        """Check that the token is in its file on each node, so that the search works, and nowhere else."""
        context, word = self._scene, self.token.encode()
        disks = {node: build.node_disk(context.lab.folder, node) for node in context.lab.nodes}
        found = [
            f"{node}:/{file.relative_to(disk)}"
            for node, disk in disks.items()
            for file in sorted(disk.rglob("*"))
            if file.is_file() and not file.is_symlink() and word in file.read_bytes()
        ]
        said = [node for node in disks if self.token in json.dumps(words(context.lab, node))]
        expected = [f"{node}:{TOKEN_FILE}" for node in disks]
        context.require(
            "the token stays secret", found == expected and not said, f"in {found}, in the status of {said}"
        )


def put_token(context: Context, word: str) -> None:
    """Write the token's file on all nodes that have power."""
    for node in context.lab.nodes:
        if context.lab.powered(node):
            context.run(node, "sh", "-c", f"umask 077; cat > {TOKEN_FILE}", stdin=word)


def _account(context: Context, node: str) -> AccountStatus:
    status = context.lab.status(node)
    return AccountStatus() if status is None or status.account is None else status.account


def _alarms(context: Context, node: str) -> list[Condition]:
    return [one for one in context.standing(node) if one.code == _UNREADABLE]


# The faults


def api_well(context: Context) -> None:
    """The API works and power is back: both agents see the account again."""
    account = Account(context)
    account.repair()
    for node in context.lab.nodes:
        context.boot(node)
    account.wait_seen("seen at the end")


@Fault(
    31,
    "Linode's API refuses, is slow, or gives invalid answers, then power cut of the active node",
    bound_ms=900,
    repair=api_well,
    invariants=UNTOUCHED,
    scale="until both agents have seen each kind, with 20 s of 429, instead of hours",
    agents=True,
    watched=True,
)
def api_unwell(context: Context) -> None:
    """The API fails in each way in turn. While both agents wait for an answer, the active node loses power."""
    account = Account(context)
    account.begin()
    for mode in _SICK:
        account.spoil(mode)
        account.wait_trouble(mode, *context.lab.nodes)
        if mode is _PAGE:  # the page holds the token, which a bad message would now show
            account.wait_alarm(mode, *context.lab.nodes)
            account.require_secret()
        account.repair()
        account.wait_seen(f"seen after {mode.name}")
    _limited(context, account)
    account.spoil(_SLOW)
    context.require("both wait", context.wait(account.waiting, _ASK_SECONDS) is not None, "an agent sent no request")
    context.may_be_felt()
    context.power_cut(context.active)
    account.wait_trouble(_SLOW, context.standby)
    account.require_secret()


def _limited(context: Context, account: Account) -> None:
    """429 without Retry-After: check that the agents report it and ask less and less often."""
    before = {node: account.requests_of(node) for node in context.lab.nodes}
    account.spoil(_LIMITED)
    end = time.monotonic() + _LIMITED_SECONDS
    account.wait_trouble(_LIMITED, *context.lab.nodes)
    account.wait_alarm(_LIMITED, *context.lab.nodes)
    context.pass_time(end - time.monotonic())
    for node, count in before.items():
        asked = account.requests_of(node) - count
        context.require(f"{node} backs off", 0 < asked <= _MOST_REQUESTS, f"{asked} requests in {_LIMITED_SECONDS:g} s")
    account.repair()
    account.wait_seen(f"seen after {_LIMITED.name}")


def token_new(context: Context) -> None:
    """Put a new token on both nodes and change nothing else."""
    account = Account(context)
    put_token(context, account.token)
    account.wait_seen("seen with a new token")


@Fault(
    32,
    "API token revoked or expired, and a switchover",
    bound_ms=NO_OUTAGE_MS,
    repair=token_new,
    invariants=UNTOUCHED,
    agents=True,
    watched=True,
)
def token_refused(context: Context) -> None:
    """The token first misses a scope, then is revoked; meanwhile an operator asks for a switchover."""
    account = Account(context)
    account.begin()
    account.spoil(_NO_RIGHT)
    account.wait_alarm(_NO_RIGHT, *context.lab.nodes)
    account.repair()
    account.ask("POST", "/tokens", {"token": account.token, "scopes": None})
    account.wait_alarm(_REVOKED, *context.lab.nodes)
    context.may_be_felt()
    context.hand_over()
    account.wait_alarm(_REVOKED, *context.lab.nodes)
    account.require_secret()
