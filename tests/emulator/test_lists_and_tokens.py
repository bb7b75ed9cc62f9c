"""Pages, filters, tokens and rate limits: what holds for every operation."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.accounts import IMAGE, LINODE, Account, Full
from natpair_lab.emulator.api import Api
from natpair_lab.emulator.limits import Kind, Limit, Limiter
from natpair_lab.emulator.tokens import Token

CREATE = "/linode/instances"


@pytest.fixture(scope="module")
def many() -> Account:
    account = Account()
    for number in range(30):
        region = "us-ord" if number % 3 == 0 else "us-east"
        account.do(
            "POST", CREATE, LINODE | {"label": f"nat-{number:02}", "region": region, "tags": ["odd"] * (number % 2)}
        )
        account.now += 60
    return account


def labels(account: Account, wanted: Any) -> list[int]:
    data = account.do("GET", CREATE, x_filter=wanted)["data"]
    return [int(one["label"].removeprefix("nat-")) for one in data]


def test_pages(many: Account) -> None:
    first = many.do("GET", CREATE, page_size="25")
    assert (first["page"], first["pages"], first["results"], len(first["data"])) == (1, 2, 30, 25)
    second = many.do("GET", CREATE, page_size="25", page="2")
    assert [one["label"] for one in second["data"]] == [f"nat-{number}" for number in range(25, 30)]
    assert many.do("GET", CREATE)["pages"] == 1
    assert many.do("GET", "/networking/vlans") == {"data": [], "page": 1, "pages": 1, "results": 0}
    assert many.reasons("GET", CREATE, page="2") == [(404, "", "Not found")]


@pytest.mark.parametrize(("name", "value"), [("page_size", "24"), ("page_size", "501"), ("page", "0"), ("page", "x")])
def test_pages_that_cannot_be(many: Account, name: str, value: str) -> None:
    ((status, field, _),) = many.reasons("GET", CREATE, **{name: value})
    assert (status, field) == (400, name)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"label": "nat-07"}, [7]),
        ({"label": {"+contains": "NAT-2"}, "region": "us-ord"}, [21, 24, 27]),
        ({"tags": "odd", "label": {"+lt": "nat-04"}}, [1, 3]),
        ({"label": {"+gte": "nat-03", "+lte": "nat-05"}}, [3, 4, 5]),
        ({"+or": [{"label": "nat-01"}, {"+and": [{"label": {"+gt": "nat-26"}}, {"region": "us-ord"}]}]}, [1, 27]),
        ({"region": {"+neq": "us-east"}, "+order_by": "label", "+order": "desc"}, [27, 24, 21, 18, 15, 12, 9, 6, 3, 0]),
        ({"id": "90000001"}, []),
        ({"placement_group.label": None, "label": "nat-01"}, [1]),
        ({"ipv4": "203.0.113.2"}, [0]),
    ],
)
def test_filters(many: Account, wanted: Any, found: list[int]) -> None:
    assert labels(many, wanted) == found


@pytest.mark.parametrize(
    "wanted",
    [
        "{",
        "[]",
        {"status": "running"},
        {"label": ["a"]},
        {"label": {"+like": "a"}},
        {"label": {"+gt": {}}},
        {"+or": {}},
        {"+nor": []},
        {"+order_by": "status"},
        {"+order_by": 1},
        {"+order": "up"},
        '{"+and": [' * 12 + "{}" + "]}" * 12,
        "[" * 100_000,
    ],
    ids=str,
)
def test_filters_that_cannot_be(many: Account, wanted: Any) -> None:
    assert {status for status, _, _ in many.reasons("GET", CREATE, x_filter=wanted)} == {400}


def test_events_are_ordered_and_newest_first(many: Account) -> None:
    newest = many.do("GET", "/account/events")["data"][0]
    assert newest["created"] > "2027"
    oldest = many.do("GET", "/account/events", x_filter={"+order_by": "created", "+order": "asc"})["data"][0]
    assert oldest["created"] < newest["created"]
    assert many.do("GET", f"/account/events/{oldest['id']}") == oldest


def test_who_has_no_token_sees_public_lists_only(account: Account) -> None:
    for path in ("/regions", "/regions/us-east", "/linode/types", "/networking/reserved/ips/types"):
        assert account.ask("GET", path, word=None)[0] == 200
    assert account.reasons("GET", CREATE, word=None) == [(401, "", "Invalid Token")]


def test_unknown_and_revoked_tokens(account: Account) -> None:
    account.api.tokens.set("gone", None)
    assert account.reasons("GET", "/regions", word="gone") == [(401, "", "Invalid Token")]
    account.api.tokens.open = False
    assert account.reasons("GET", CREATE, word="guessed") == [(401, "", "Invalid Token")]


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status"),
    [
        ("linodes:read_only", "GET", CREATE, 200),
        ("linodes:read_write", "GET", CREATE, 200),
        ("linodes:*", "POST", CREATE, 200),
        ("linodes:read_only", "POST", CREATE, 401),
        ("ips:read_write", "POST", "/networking/reserved/ips", 401),
        ("ips:read_write linodes:read_write", "POST", "/networking/reserved/ips", 200),
        ("ips:read_only", "GET", "/account/events", 401),
        ("ips:read_only", "GET", "/account/maintenance", 200),
        ("firewall:read_only", "GET", "/networking/firewalls", 200),
    ],
)
def test_scopes(account: Account, scopes: str, method: str, path: str, status: int) -> None:
    account.api.tokens.set("some", Token(frozenset(scopes.split())))
    answered, document = account.ask(method, path, LINODE if method == "POST" else None, word="some")
    assert answered == status
    if status == 401:
        assert "not authorized to use this endpoint" in document["errors"][0]["reason"]
        assert account.headers["X-OAuth-Scopes"] == " ".join(sorted(scopes.split()))
        assert account.headers["X-Accepted-OAuth-Scopes"]


def test_a_restricted_user_may_look_but_not_touch(account: Account) -> None:
    linode = account.create(**IMAGE)
    account.api.tokens.set("guest", Token(read_only=frozenset({linode["id"]})))
    path = f"{CREATE}/{linode['id']}"
    assert account.ask("GET", path, word="guest")[0] == 200
    assert account.reasons("POST", f"{path}/reboot", word="guest") == [(403, "", "Unauthorized")]
    body = {"linode_id": linode["id"], "ips": []}
    assert account.reasons("POST", "/networking/ips/share", body, word="guest") == [(403, "", "Unauthorized")]


def test_rate_limits_are_told_and_kept() -> None:
    limits = {Kind.LISTING: Limit(2, 60.0), Kind.CREATE: Limit(1, 15.0), Kind.OTHER: Limit(3, 60.0)}
    account = Account(Api(limiter=Limiter(limits)))
    account.do("GET", CREATE)
    assert account.headers["X-RateLimit-Limit"] == "2"
    assert account.headers["X-RateLimit-Remaining"] == "1"
    assert account.headers["X-RateLimit-Reset"] == str(int(account.now) + 60)
    account.do("GET", CREATE)
    account.now += 10
    assert account.reasons("GET", CREATE) == [(429, "", "Too many requests")]
    assert account.headers["Retry-After"] == "50"
    account.do("GET", CREATE, word="other")
    account.do("POST", CREATE, LINODE)
    account.api.tell_retry_after = False
    assert account.reasons("POST", CREATE, LINODE)[0][0] == 429
    assert "Retry-After" not in account.headers
    account.now += 15
    account.do("POST", CREATE, LINODE)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", f"{CREATE}/x", 404),
        ("GET", f"{CREATE}/{'9' * 5000}", 404),
        ("GET", f"{CREATE}/%C2%B2", 404),
        ("GET", "/networking/ips/%2e%2e%2f", 404),
        ("DELETE", "/regions", 405),
        ("PATCH", CREATE, 405),
    ],
)
def test_paths_that_lead_nowhere(account: Account, method: str, path: str, status: int) -> None:
    assert account.reasons(method, path)[0][0] == status


def test_a_slash_at_the_end_changes_nothing(full: Full) -> None:
    body = {"type": "ipv4", "public": True, "linode_id": int(full.legacy)}
    assert full.do("POST", "/networking/ips/", body)["linode_id"] == int(full.legacy)
