"""What is wrong in the provider's account: missing shares, planned maintenance, no access."""

# ruff: noqa: ARG001 - all checks share one signature, not all need the time
from __future__ import annotations

from natpair.core.account import MOST_REPAIRS, Work
from natpair.core.account_rules import no_way_out
from natpair.core.condition import Kind, Severity
from natpair.core.machine import peer_unready
from natpair.core.state import NodeState

UNREADABLE_LOOKS = 3
"""Reads that may fail in a row before it is reported. Denied access is reported at once."""


def share_missing(state: NodeState, now: float) -> str | None:
    """Which node may not announce which FIP, and why it was not repaired."""
    account = state.account
    if not account.lacks:
        return None
    text = "; ".join(lack.text for lack in account.lacks)
    if account.unrepaired is not None:
        return f"{text}; not repaired: {account.unrepaired.why}"
    if state.terms.watch.repair_shares and len(account.repairs) >= MOST_REPAIRS:
        return f"{text}; repaired {len(account.repairs)} times within an hour: something else removes it"
    return text


def hurts_now(state: NodeState, now: float) -> bool:
    """True if a share is missing on the active node, or if no node is active."""
    rival = state.peer.active(state.terms, now) is not None
    serving = state.terms.me if state.claims_active else state.terms.peer if rival else ""
    return any(lack.node in {"", serving} or not serving for lack in state.account.lacks)


def maintenance_ahead(state: NodeState, now: float) -> str | None:
    """All planned work on both nodes and, if the role stays on the node with due work, the reason."""
    terms, account = state.terms, state.account
    works = (*account.ahead(terms.me), *account.ahead(terms.peer))
    if not works:
        return None
    text = "; ".join(f"{work.node}: {work.what}, {_how_soon(work, now)}" for work in works)
    reason = no_way_out(state, now, peer_unready(state, now)) if state.claims_active else ""
    return f"{text}; the role stays on {terms.me}: {reason}" if reason else text


def work_is_due(state: NodeState, now: float) -> bool:
    """True if this node is active and its work begins within the lead time or has begun."""
    lead = state.terms.watch.maintenance_lead_seconds
    return state.claims_active and bool(state.account.due(state.terms.me, now, lead))


def account_unreadable(state: NodeState, now: float) -> str | None:
    """Why the account cannot be read. Denied access is reported at once, anything else when it lasts."""
    account = state.account
    text = "; ".join(trouble.text for trouble in account.troubles)
    if any(trouble.refused for trouble in account.troubles):
        return text
    patience = UNREADABLE_LOOKS * state.terms.watch.interval_seconds
    if not account.troubles or (account.seen_at is not None and now - account.seen_at <= patience):
        return None
    return text if account.seen_at is None else f"not read for {now - account.seen_at:.0f} s: {text}"


def _how_soon(work: Work, now: float) -> str:
    if work.begins_at is None:
        return "at any moment"
    left = work.begins_at - now
    if left <= 0:
        return "begun"
    hours, minutes = divmod(round(left / 60), 60)
    return f"in {hours} h {minutes} min" if hours else f"in {minutes} min"


_CRITICAL, _WARNING = Severity.CRITICAL, Severity.WARNING

KINDS: tuple[Kind, ...] = (
    Kind(
        "share-missing",
        "A node cannot announce a FIP because the provider does not share it to that node. For the standby it is a "
        "warning.",
        _CRITICAL,
        "share it again, for example with 'natpair cloud apply'; 'watch.repair_shares' lets the agents do it",
        share_missing,
        hurts_now,
        _WARNING,
    ),
    Kind(
        "maintenance-ahead",
        "The provider has announced work on a node's machine. It is a warning if the active node's work is due soon.",
        _WARNING,
        "nothing, if the role moves in time; otherwise run 'natpair switchover' before it begins",
        maintenance_ahead,
        work_is_due,
    ),
    Kind(
        "account-unreadable",
        "The provider's account cannot be read. Missing shares and planned work go unnoticed. The pair still serves.",
        _WARNING,
        "fix the reported cause: the token in 'linode.token_file', its scopes, or the connection to the API",
        account_unreadable,
    ),
)
