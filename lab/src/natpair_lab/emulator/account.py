"""Operations on the account: its settings, its events, and the maintenance of its Linodes."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from natpair_lab.emulator.body import Json
from natpair_lab.emulator.model import Event, Maintenance
from natpair_lab.emulator.refused import not_found
from natpair_lab.emulator.routing import ACCOUNT_READ, ANY_TOKEN, EVENTS_READ, Call, get, listing
from natpair_lab.emulator.state import Store, entity_of


def when(moment: float) -> str:
    """A time as Linode writes it: UTC, without a zone."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _when_or_none(moment: float | None) -> str | None:
    return None if moment is None else when(moment)


def _settings(call: Call) -> Json:
    return {
        "backups_enabled": False,
        "interfaces_for_new_linodes": call.store.interfaces_for_new_linodes,
        "longview_subscription": None,
        "maintenance_policy": "linode/migrate",
        "managed": False,
        "network_helper": call.store.network_helper,
        "object_storage": "disabled",
        "tfa_enforced": False,
    }


def _event(one: Event) -> Json:
    return {
        "id": one.id,
        "action": one.action,
        "created": when(one.created),
        "details": None,
        "duration": one.duration,
        "entity": asdict(one.entity) if one.entity else None,
        "secondary_entity": asdict(one.secondary) if one.secondary else None,
        "message": one.message or "",
        "percent_complete": one.percent,
        "rate": None,
        "read": False,
        "seen": False,
        "status": one.status,
        "time_remaining": None,
        "username": "natpair",
    }


def _one_event(call: Call) -> Json:
    number = call.number("eventId")
    for event in call.store.events:
        if event.id == number:
            return _event(event)
    raise not_found()


def _maintenance(store: Store, one: Maintenance) -> Json:
    return {
        "entity": asdict(entity_of(store.linodes[one.linode_id])),
        "type": one.type,
        "status": one.status,
        "when": when(one.when),
        "not_before": _when_or_none(one.not_before),
        "start_time": _when_or_none(one.start_time),
        "complete_time": _when_or_none(one.complete_time),
        "maintenance_policy_set": one.policy,
        "description": one.description,
        "source": one.source,
        "reason": one.reason,
    }


ROUTES = (
    get("/account/settings", ACCOUNT_READ, _settings),
    listing(
        "/account/maintenance",
        ANY_TOKEN,
        lambda call: [_maintenance(call.store, one) for one in call.store.maintenance],
        "complete_time entity.id entity.type maintenance_policy_set not_before start_time status type when",
    ),
    listing(
        "/account/events",
        EVENTS_READ,
        lambda call: [_event(one) for one in reversed(call.store.events)],
        "action created details.complete_time details.description details.maintenance_policy_set details.not_before "
        "details.source details.start_time entity.id entity.type id percent_complete rate read seen status",
    ),
    get("/account/events/{eventId}", EVENTS_READ, _one_event),
)
