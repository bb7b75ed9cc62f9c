"""How a node reacts to a reading of the provider's account: it repairs shares, and switches over before planned work.

Both are decided once for each reading, so a failure is retried with the next reading and never faster. The switchover
is the same request that an operator makes, without --force.
"""

from __future__ import annotations

from dataclasses import replace

from natpair.core.account import Work, leaving, looked
from natpair.core.actions import Note, RepairShares
from natpair.core.events import AccountSeen, RepairEnded, Verb
from natpair.core.messages import Phase
from natpair.core.moves import Move
from natpair.core.state import REQUEST_LIMIT, NodeState, Request

OWN_REQUEST = 0
"""The number of the node's own requests, whose answer is not sent to anybody. Operators' requests start at 1."""


def on_account(state: NodeState, event: AccountSeen, now: float, unready: str) -> Move:
    """Record a reading and act on it. `unready`: why the peer could not take over now; empty if it could."""
    account = looked(state.account, now, event.lacks, event.planned, event.events, event.troubles)
    seen = replace(state, account=account)
    repair = (RepairShares(),) if event.lacks and _repairs(seen, now) else ()
    left, notes = _leave_for_work(seen, now, unready)
    return left, (*repair, *notes)


def on_repair(state: NodeState, event: RepairEnded, now: float) -> Move:
    """Record how a repair of shares ended. The next reading shows whether the shares exist."""
    repairs = state.account.repairs if event.trouble else (*state.account.repairs, now)
    return replace(state, account=replace(state.account, unrepaired=event.trouble, repairs=repairs)), ()


def no_way_out(state: NodeState, now: float, unready: str) -> str:
    """Why an active node keeps the role although work on it is due; empty if it may leave, or has no work."""
    found = _leaving(state, now, unready)
    return "" if found is None else found[1]


def _leaving(state: NodeState, now: float, unready: str) -> tuple[Work, str] | None:
    terms = state.terms
    found = leaving(state.account, terms.me, terms.peer, now, terms.watch.maintenance_lead_seconds)
    if found is None:
        return None
    work, reason = found
    return work, (reason or unready) if terms.watch.switch_over else "watch.switch_over is false"


def _repairs(state: NodeState, now: float) -> bool:
    """True on the node that repairs shares: the active one, or without one the first in the file or the
    only one heard.
    """
    if not state.terms.watch.repair_shares or not state.account.may_repair(now):
        return False
    if state.claims_active or state.peer.active(state.terms, now) is not None:
        return state.claims_active
    return state.terms.bit == 0 or state.peer.silent(state.terms, now)


def _leave_for_work(state: NodeState, now: float, unready: str) -> tuple[NodeState, tuple[Note, ...]]:
    account, found = state.account, _leaving(state, now, unready)
    if found is None or state.phase is not Phase.ACTIVE or state.request is not None:
        return state, ()
    work, reason = found
    ahead = f"{work.what} on {work.node}"
    if not reason:
        request = Request(OWN_REQUEST, Verb.SWITCHOVER, False, now + REQUEST_LIMIT, ahead)
        return replace(state, request=request, account=replace(account, said="")), ()
    if reason == account.said:
        return state, ()
    note = Note(f"{ahead}: no switchover, {reason}; looked at again and again")
    return replace(state, account=replace(account, said=reason)), (note,)
