"""What a look at the provider's account does to a node: shares to fix, and a role to give away ahead of planned work.

Both are decided once a look, so that what fails is tried again at the next one and never faster. The switchover is
the very request that an operator makes, never forced.
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
"""The number of a request whose answer nobody waits for: operators' are counted from 1."""


def on_account(state: NodeState, event: AccountSeen, now: float, unready: str) -> Move:
    """Record a look and act on it. `unready`: why the peer could not take over now, empty if it could."""
    account = looked(state.account, now, event.lacks, event.planned, event.events, event.troubles)
    seen = replace(state, account=account)
    repair = (RepairShares(),) if event.lacks and _repairs(seen, now) else ()
    left, notes = _leave_for_work(seen, now, unready)
    return left, (*repair, *notes)


def on_repair(state: NodeState, event: RepairEnded, now: float) -> Move:
    """Record how a repair of shares ended; whether they are there is for the next look to say."""
    repairs = state.account.repairs if event.trouble else (*state.account.repairs, now)
    return replace(state, account=replace(state.account, unrepaired=event.trouble, repairs=repairs)), ()


def no_way_out(state: NodeState, now: float, unready: str) -> str:
    """Why an active node stays although work on it is due, in plain words; empty if it may leave, or has none."""
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
    """One node repairs the shares: the active one; the first of the file, or the only one, when nobody is active."""
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
