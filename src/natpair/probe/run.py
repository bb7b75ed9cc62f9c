"""One complete probe: create, measure, and remove everything, whatever happens in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import natpair
from natpair.errors import NatpairError, NotReady
from natpair.linode.client import LinodeClient
from natpair.linode.token import Token
from natpair.linode.transport import Transport
from natpair.probe import machines
from natpair.probe.facts import Facts
from natpair.probe.linode_site import LinodeSite
from natpair.probe.measure import Findings, measure, measure_without_fip
from natpair.probe.record import Record, records
from natpair.probe.report import Circumstances, Report
from natpair.probe.site import Pace, Reach
from natpair.system.signals import undisturbed

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Api:
    """The account: the URL of its API, and the token."""

    url: str
    token: Token
    plain_http: bool = False

    @asynccontextmanager
    async def client(self) -> AsyncIterator[LinodeClient]:
        """An open client."""
        async with Transport(self.token, base_url=self.url, plain_http=self.plain_http) as transport:
            yield LinodeClient(transport)


@dataclass(frozen=True, slots=True)
class Order:
    """What to probe and how."""

    region: str
    plan: str
    image: str
    pace: Pace
    site: str


async def price(api: Api, region: str, plan: str | None) -> machines.Offer:
    """What a probe would create, with prices; it creates nothing."""
    async with api.client() as client:
        return await machines.offer(client, region, plan)


class Probe:
    """One probe. `reach` is created in the probe's own folder, which may contain a key."""

    def __init__(
        self, api: Api, order: Order, base: Path, began: str, reach: Callable[[Path], Reach], progress: Progress
    ) -> None:
        self._api = api
        self._order = order
        self._progress = progress
        self._findings = Findings()
        self._begin = time.monotonic()
        self._gateway = ""
        self.record = Record.begin(base, api.url, order.region, began)
        self._make_reach = reach
        self.left: tuple[str, ...] = ()

    def run(self) -> None:
        """Create, measure, remove. Everything is removed before this returns or raises, whatever ends it."""
        try:
            asyncio.run(self._work())
        finally:
            with undisturbed():
                self._progress("removing everything that the probe created; Ctrl-C is ignored until that is done")
                self.left = remove(self._api, self.record, self._progress)

    async def _work(self) -> None:
        reach = self._make_reach(self.record.folder)
        try:
            async with self._api.client() as client:
                await self._measure(client, reach)
        finally:
            await reach.close()

    async def _measure(self, client: LinodeClient, reach: Reach) -> None:
        order = self._order
        offered = await machines.offer(client, order.region, order.plan)
        made = await machines.make(client, self.record, offered, order.image, reach.public_key, self._progress)
        site = LinodeSite(client, made, reach)
        self._progress("waiting for both machines to be ready")
        for node in made.gateway.node:
            await site.ready(node.name)
        await reach.ready()
        if made.no_fip:
            await measure_without_fip(site, order.pace, reach.eye_folder, self._findings, self._progress, made.no_fip)
        else:
            await measure(site, order.pace, reach.eye_folder, self._findings, self._progress)

    def report(self, ended: str = "complete") -> Report:
        """What is known so far."""
        order, record = self._order, self.record
        about = Circumstances(
            region=order.region,
            plan=order.plan,
            site=order.site,
            stamp=record.stamp,
            began=record.began,
            seconds=round(time.monotonic() - self._begin, 1),
            version=natpair.__version__,
            fip=record.fip,
            nodes=machines.NODES,
            ended=ended,
            left_behind=self.left,
        )
        return Report.of(about, Facts(self._findings.so_far().facts))


def remove(api: Api, record: Record, progress: Progress) -> tuple[str, ...]:
    """Remove what is on record. If nothing is left, remove the record too; else return what is left."""

    async def work() -> tuple[str, ...]:
        async with api.client() as client:
            return await machines.remove(client, record, progress)

    try:
        left = asyncio.run(work())
    except NatpairError as error:
        progress(f"could not remove everything: {error.message}")
        left = (f"Linodes tagged {record.tag} ({error.message})",)
    if left:
        record.release()
    else:
        record.forget()
    return left


def leftovers(api: Api, base: Path) -> tuple[Record, ...]:
    """The records of this account's probes whose process has ended, each locked by this process."""
    return tuple(record for record in records(base) if same_api(record.api_url, api.url) and record.lock())


def same_api(one: str, other: str) -> bool:
    """Whether two URLs belong to the same API."""
    return urlsplit(one)[:3] == urlsplit(other)[:3]


def clean_up(api: Api, found: tuple[Record, ...], progress: Progress) -> None:
    """Remove what probes left behind. Raise NotReady with everything that could not be removed."""
    left: list[str] = []
    for record in found:
        with undisturbed():
            left += remove(api, record, progress)
    if left:
        raise NotReady(f"not removed: {', '.join(left)}", fix="run this again, or remove them in Cloud Manager")
