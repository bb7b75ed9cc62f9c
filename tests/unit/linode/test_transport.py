"""How the client behaves when the API does not: against a real HTTP server, one fault a test."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

from natpair.errors import ApiError, Unsupported
from natpair.linode import operations as op
from natpair.linode.bodies import NewInstance
from natpair.linode.client import LinodeClient
from natpair.linode.token import Token
from natpair.linode.transport import Limits, Transport
from unit.linode import fakeapi
from unit.linode.fakeapi import (
    CANARY,
    QUICK,
    FakeApi,
    api_and_client,
    half,
    instance,
    lost,
    ok,
    page,
    raw,
    refuse,
    running,
    slow,
)

INSTANCES, ONE = "/linode/instances", "/linode/instances/7"
NEW = NewInstance("nat-a", "us-ord", "g6-nanode-1")
READABLE = instance(7, "nat-a")


@pytest.mark.parametrize(
    "fault",
    [
        refuse(500, "Internal server error"),
        refuse(502, "Bad gateway"),
        raw("<html>gateway</html>", 503),
        refuse(429, "Too many requests"),
        refuse(429, "Too many requests", headers={"Retry-After": "0"}),
        refuse(429, "Too many requests", headers={"Retry-After": "-3"}),
        refuse(429, "Too many requests", headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        refuse(400, "Linode busy."),
        slow(2, ok(READABLE)),
        lost(),
        half(READABLE),
    ],
    ids=["500", "502", "503-html", "429", "429-0", "429-negative", "429-date", "busy", "hang", "lost", "half"],
)
async def test_a_read_survives_a_passing_fault(fault: fakeapi.Answer) -> None:
    async with api_and_client() as (api, client):
        api.on("GET", ONE, fault, ok(READABLE))
        assert (await client.instance(7)).label == "nat-a"
        assert api.count("GET", ONE) == 2


@pytest.mark.parametrize(
    "fault",
    [refuse(500, "no"), raw("<html>", 504), slow(2, ok(READABLE)), lost(), half(READABLE)],
    ids=["500", "504-html", "hang", "lost", "half"],
)
async def test_a_create_without_a_clear_answer_is_not_sent_again(fault: fakeapi.Answer) -> None:
    async with api_and_client() as (api, client):
        api.on("POST", INSTANCES, fault, ok(READABLE))
        with pytest.raises(ApiError) as caught:
            await client.create_instance(NEW)
        assert api.count("POST", INSTANCES) == 1
        assert (caught.value.uncertain, caught.value.retryable) == (True, False)


@pytest.mark.parametrize("fault", [refuse(429, "Too many requests"), refuse(400, "Linode busy.")], ids=["429", "busy"])
async def test_a_create_that_was_surely_not_done_is_sent_again(fault: fakeapi.Answer) -> None:
    async with api_and_client() as (api, client):
        api.on("POST", INSTANCES, fault, ok(READABLE))
        assert (await client.create_instance(NEW)).id == 7
        assert api.count("POST", INSTANCES) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_clear_refusal_is_final_and_carries_the_reason(status: int) -> None:
    async with api_and_client() as (api, client):
        api.on("POST", INSTANCES, refuse(status, "region is not valid", "region"))
        with pytest.raises(ApiError, match=r"create a Linode: region: region is not valid \(HTTP") as caught:
            await client.create_instance(NEW)
        assert (caught.value.status, caught.value.retryable, caught.value.uncertain) == (status, False, False)
        assert caught.value.reasons == ("region: region is not valid",)
        assert api.count("POST", INSTANCES) == 1


async def test_retry_after_is_waited_for() -> None:
    async with api_and_client() as (api, client):
        api.on("GET", ONE, refuse(429, "slow down", headers={"Retry-After": "1"}), ok(READABLE))
        started = time.monotonic()
        await client.instance(7)
        assert time.monotonic() - started >= 0.95


async def test_a_retry_after_beyond_our_patience_is_told_at_once() -> None:
    async with api_and_client() as (api, client):
        api.on("GET", ONE, refuse(429, "slow down", headers={"Retry-After": "900"}))
        with pytest.raises(ApiError) as caught:
            await client.instance(7)
        assert caught.value.retry_after_seconds == 900
        assert caught.value.exit_code == 75
        assert api.count("GET", ONE) == 1


async def test_a_retry_after_beyond_what_is_left_of_it_as_well() -> None:
    limits = Limits(total_seconds=1.5, first_wait_seconds=0.01)
    async with api_and_client(limits) as (api, client):
        api.on("POST", INSTANCES, refuse(429, "slow down", headers={"Retry-After": "1"}))
        with pytest.raises(ApiError) as caught:
            await client.create_instance(NEW)
        assert (caught.value.status, caught.value.uncertain) == (429, False)
        assert api.count("POST", INSTANCES) == 2


async def test_tries_end() -> None:
    async with api_and_client() as (api, client):
        api.on("GET", ONE, refuse(500, "still broken"))
        with pytest.raises(ApiError, match="still broken"):
            await client.instance(7)
        assert api.count("GET", ONE) == QUICK.tries


async def test_everything_together_ends_in_time() -> None:
    limits = Limits(try_seconds=10, total_seconds=0.6, first_wait_seconds=0.01)
    async with api_and_client(limits) as (api, client):
        api.on("GET", ONE, slow(5, ok(READABLE)))
        started = time.monotonic()
        with pytest.raises(ApiError, match="in time"):
            await client.instance(7)
        assert time.monotonic() - started < 3


async def test_nobody_listens_is_not_uncertain_even_for_a_create() -> None:
    async with fakeapi.running(FakeApi()) as api:
        url = api.url
    async with Transport(Token(CANARY), base_url=url, limits=QUICK) as transport:
        with pytest.raises(ApiError, match="cannot connect") as caught:
            await LinodeClient(transport).create_instance(NEW)
        assert (caught.value.status, caught.value.uncertain, caught.value.retryable) == (None, False, True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (raw("<html><body>Sign in to the hotel</body></html>"), "not JSON: <html>"),
        (ok([1, 2]), "not a JSON object"),
        (ok({"id": "seven"}), "not as expected, such as id"),
        (raw("[" * 100_000, content_type="application/json"), "not JSON"),
        (raw("x" * 300_000), "more than 200000 bytes"),
    ],
    ids=["html", "list", "fields", "deep", "huge"],
)
async def test_an_answer_of_another_shape_is_final(answer: fakeapi.Answer, reason: str) -> None:
    async with api_and_client(Limits(answer_bytes=200_000)) as (api, client):
        api.on("GET", ONE, answer)
        with pytest.raises(ApiError, match=reason) as caught:
            await client.instance(7)
        assert not caught.value.retryable
        assert len(str(caught.value)) < 600
        assert api.count("GET", ONE) == 1


async def test_a_huge_refusal_keeps_its_status() -> None:
    async with api_and_client(Limits(answer_bytes=200_000)) as (api, client):
        api.on("GET", ONE, raw("x" * 300_000, 404))
        with pytest.raises(ApiError) as caught:
            await client.instance(7)
        assert caught.value.status == 404
        assert len(str(caught.value)) < 600


async def test_a_redirect_is_not_followed() -> None:
    async with api_and_client() as (api, client):
        api.on("GET", ONE, ok({}, 302, {"Location": f"{api.url}/elsewhere"}))
        with pytest.raises(ApiError, match="302") as caught:
            await client.instance(7)
        assert "redirect" in caught.value.fix
        assert api.count("GET", "/elsewhere") == 0


async def test_a_delete_that_finds_nothing_is_done() -> None:
    async with api_and_client() as (api, client):
        api.on("DELETE", ONE, lost(), refuse(404, "Not found"))
        await client.delete_instance(7)
        assert api.count("DELETE", ONE) == 2
        api.on("DELETE", ONE, refuse(400, "Linode is locked"))
        with pytest.raises(ApiError, match="locked"):
            await client.delete_instance(7)


async def test_pages_are_joined_in_order() -> None:
    def answer(seen: fakeapi.Seen) -> object:
        number = int(seen.query["page"])
        return {"data": [instance(number, f"n{number}")], "page": number, "pages": 3, "results": 3}

    async with api_and_client() as (api, client):
        api.on("GET", INSTANCES, fakeapi.calling(answer))
        assert [one.id for one in await client.instances()] == [1, 2, 3]
        assert {one.query["page_size"] for one in api.seen} == {"500"}


async def test_a_list_that_changes_between_two_pages_is_read_anew() -> None:
    def one_of(number: int, results: int) -> fakeapi.Answer:
        return ok({"data": [instance(number, f"n{number}")], "page": number, "pages": 2, "results": results})

    async with api_and_client() as (api, client):
        api.on("GET", INSTANCES, one_of(1, 3), one_of(2, 2), one_of(1, 2), one_of(2, 2))
        assert [one.id for one in await client.instances()] == [1, 2]
        assert api.count("GET", INSTANCES) == 4


async def test_a_list_without_end_is_refused() -> None:
    async with api_and_client() as (api, client):
        api.on("GET", INSTANCES, ok({"data": [], "page": 1, "pages": 10**9, "results": 0}))
        with pytest.raises(ApiError, match="pages"):
            await client.instances()


async def test_a_filter_is_sent_and_checked_again() -> None:
    async with api_and_client() as (api, client):
        api.on("GET", INSTANCES, page([instance(1, "nat-a"), instance(2, "nat-b")]))
        assert [one.id for one in await client.instances(label="nat-a")] == [1]
        assert api.seen[0].headers["X-Filter"] == '{"label": "nat-a"}'


async def test_cancelling_a_call_cancels_it() -> None:
    async with api_and_client() as (api, client):
        api.on("GET", ONE, slow(5, ok(READABLE)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.instance(7)


@pytest.mark.parametrize("url", ["http://api.linode.com/v4", "http://192.0.2.1/v4", "ftp://127.0.0.1/v4"])
def test_a_token_is_not_sent_in_the_clear(url: str) -> None:
    with pytest.raises(Unsupported, match="in the clear"):
        Transport(Token(CANARY), base_url=url)


async def test_what_needs_no_token_works_without() -> None:
    async with fakeapi.running(FakeApi()) as api, Transport(None, base_url=api.url, limits=QUICK) as transport:
        region = {"id": "us-ord", "label": "Chicago", "status": "ok", "capabilities": ["Vlans"]}
        api.on("GET", "/regions", page([region]))
        assert [one.id for one in await LinodeClient(transport).regions()] == ["us-ord"]
        assert "Authorization" not in api.seen[0].headers


async def test_a_short_token_does_not_change_what_a_good_answer_says() -> None:
    async with fakeapi.running(FakeApi()) as api, Transport(Token("lab"), base_url=api.url, limits=QUICK) as transport:
        api.on("GET", ONE, ok(instance(7, "lab-a")), refuse(404, "no lab here"))
        assert (await LinodeClient(transport).instance(7)).label == "lab-a"
        with pytest.raises(ApiError) as caught:
            await LinodeClient(transport).instance(7)
        assert caught.value.reasons == ("no *** here",)


async def test_every_operation_fills_its_path_and_is_named_once() -> None:
    parts = dict.fromkeys(["linode", "config", "interface", "address", "range", "group", "firewall"], "1")
    assert all("{" not in one.at(**parts) for one in op.ALL)
    assert len({one.name for one in op.ALL}) == len(op.ALL) == len({(one.method, one.path) for one in op.ALL})


async def test_when_time_is_up_between_two_tries_the_last_answer_is_told() -> None:
    limits = Limits(
        connect_seconds=1, try_seconds=1, total_seconds=0.5, tries=50, first_wait_seconds=0.4, longest_wait_seconds=0.4
    )
    async with Transport(None, base_url="http://127.0.0.1:9", limits=limits) as transport:
        with pytest.raises(ApiError, match="cannot connect") as caught:
            await transport.call(op.LIST_REGIONS)
    assert caught.value.fix


async def test_reading_keeps_its_connection_and_writing_takes_a_new_one_each_time() -> None:
    ports: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.json_response({"linode_id": 1})

    api = FakeApi()
    api.on("GET", "/account/settings", answer)
    api.on("POST", "/networking/ips/share", answer)
    async with running(api), Transport(Token(CANARY), base_url=api.url, limits=QUICK) as transport:
        for _ in range(3):
            await transport.call(op.GET_ACCOUNT_SETTINGS)
        for _ in range(3):
            await transport.call(op.SHARE_IPS, body={})
    assert len(set(ports[:3])) == 1
    assert len(set(ports)) == 4
