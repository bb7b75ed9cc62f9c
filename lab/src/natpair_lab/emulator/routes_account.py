"""Operations that are about no resource of one's own: regions, plans, prices, the account, events, the profile."""

from __future__ import annotations

from dataclasses import replace

from natpair_lab.emulator import images, views
from natpair_lab.emulator.catalogue import PLANS, REGIONS
from natpair_lab.emulator.refused import not_found
from natpair_lab.emulator.routing import ACCOUNT_READ, ANY_TOKEN, EVENTS_READ, EVENTS_WRITE, Call, get, listing, post
from natpair_lab.emulator.views import Json

_POLICIES = (
    {
        "slug": "linode/migrate",
        "label": "Migrate",
        "description": "Moves the Linode to another host while it runs.",
        "type": "migrate",
        "notification_period_sec": 10_800,
        "is_default": True,
    },
    {
        "slug": "linode/power_off_on",
        "label": "Power Off / Power On",
        "description": "Powers the Linode off before and on after the work.",
        "type": "power_off_on",
        "notification_period_sec": 604_800,
        "is_default": False,
    },
)


def _region(call: Call) -> Json:
    if call.params["regionId"] not in REGIONS:
        raise not_found()
    return views.region(REGIONS[call.params["regionId"]])


def _availability(region: str) -> list[Json]:
    return [{"region": region, "plan": plan, "available": True} for plan in PLANS]


def _type(call: Call) -> Json:
    if call.params["typeId"] not in PLANS:
        raise not_found()
    return views.plan(PLANS[call.params["typeId"]])


def _account(_call: Call) -> Json:
    empty = ("address_1", "address_2", "city", "company", "phone", "state", "tax_id", "zip")
    return dict.fromkeys(empty, "") | {
        "active_since": views.when(0),
        "active_promotions": [],
        "balance": 0,
        "balance_uninvoiced": 0.0,
        "billing_source": "linode",
        "capabilities": list(REGIONS["us-east"].capabilities),
        "country": "US",
        "credit_card": {"expiry": None, "last_four": None},
        "email": "natpair@example.com",
        "euuid": "00000000-0000-4000-8000-000000000000",
        "first_name": "Nat",
        "last_name": "Pair",
    }


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


def _event(call: Call) -> Json:
    number = call.number("eventId")
    for event in call.store.events:
        if event.id == number:
            return views.event(event)
    raise not_found()


def _seen(call: Call) -> Json:
    _event(call)
    number = call.number("eventId")
    events = call.store.events
    call.store.events = [replace(one, seen=True) if one.id <= number else one for one in events]
    return {}


def _profile(call: Call) -> Json:
    return {
        "authentication_type": "password",
        "authorized_keys": [],
        "email": "natpair@example.com",
        "email_notifications": False,
        "ip_whitelist_enabled": False,
        "lish_auth_method": "keys_only",
        "referrals": {"code": "", "completed": 0, "credit": 0, "pending": 0, "total": 0, "url": ""},
        "restricted": bool(call.read_only),
        "tfa_enforced": False,
        "timezone": "UTC",
        "two_factor_auth": True,
        "uid": 1,
        "username": "natpair",
        "verified_phone_number": None,
    }


def _grants(call: Call) -> Json:
    return {
        "global": {"account_access": "read_write", "add_linodes": True, "add_firewalls": True},
        "linode": [
            {
                "id": one.id,
                "label": one.label,
                "permissions": "read_only" if one.id in call.read_only else "read_write",
            }
            for one in call.store.linodes.values()
        ],
    }


ROUTES = (
    listing("/regions", None, lambda _: [views.region(one) for one in REGIONS.values()], "country site_type"),
    listing(
        "/regions/availability",
        None,
        lambda _: [line for region in REGIONS for line in _availability(region)],
        "available plan region",
    ),
    get("/regions/{regionId}", None, _region),
    listing(
        "/linode/types",
        None,
        lambda _: [views.plan(one) for one in PLANS.values()],
        "accelerated_devices class disk gpus label memory network_out transfer vcpus",
    ),
    get("/linode/types/{typeId}", None, _type),
    listing("/networking/reserved/ips/types", None, lambda _: [views.reserved_ip_type()]),
    listing(
        "/images",
        None,
        lambda _: [images.view(one) for one in images.IMAGES.values()],
        "deprecated is_public is_shared label size status tags type vendor",
    ),
    listing("/maintenance/policies", None, lambda _: list(_POLICIES), "notification_period_sec"),
    get("/account", ACCOUNT_READ, _account),
    get("/account/settings", ACCOUNT_READ, _settings),
    listing(
        "/account/maintenance",
        ANY_TOKEN,
        lambda call: [views.maintenance(call.store, one) for one in call.store.maintenance],
        "complete_time entity.id entity.type maintenance_policy_set not_before start_time status type when",
    ),
    listing(
        "/account/events",
        EVENTS_READ,
        lambda call: [views.event(one) for one in reversed(call.store.events)],
        "action created details.complete_time details.description details.maintenance_policy_set details.not_before "
        "details.source details.start_time entity.id entity.type id percent_complete rate read seen status",
    ),
    get("/account/events/{eventId}", EVENTS_READ, _event),
    post("/account/events/{eventId}/seen", EVENTS_WRITE, _seen),
    get("/profile", ANY_TOKEN, _profile),
    get("/profile/grants", ANY_TOKEN, _grants),
)
