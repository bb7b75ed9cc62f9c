"""Whatever rtnetlink refuses is an OSError to everybody, and there is one door to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from pyroute2 import NetlinkError

from natpair.drift import items
from natpair.system import links, rtnetlink
from repo.rules import ROOT
from samples import gateway

FIP = IPv4Address("192.0.2.221")
NODE = gateway().node[0]


class Refuses:
    """A connection on which every question is refused."""

    async def __aenter__(self) -> Refuses:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __getattr__(self, _name: str) -> Callable[..., Any]:
        async def refuse(*_: object, **__: object) -> None:
            raise NetlinkError(16, "Device or resource busy")

        return refuse


ROUTES = links.RelayRoutes((FIP,), FIP, "lo")
QUESTIONS: dict[str, Callable[[], Awaitable[object]]] = {
    "has_address": lambda: links.has_address(FIP),
    "default_gateway": lambda: links.default_gateway("lo"),
    "present": ROUTES.present,
    "add": ROUTES.add,
    "remove": ROUTES.remove,
    "pin": lambda: links.pin_neighbour("lo", FIP, "02:00:00:00:00:01"),
    "addresses": items.Addresses(NODE, (FIP,)).findings,
    "routes": items.Routes((FIP,), "lo", 1000).findings,
    "rules": items.Rules(NODE, IPv4Network("192.168.1.0/24")).findings,
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_refusal_is_an_os_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in (rtnetlink, items, links):
        if hasattr(module, "AsyncIPRoute"):
            monkeypatch.setattr(module, "AsyncIPRoute", Refuses)
    with pytest.raises(OSError, match="busy"):
        await QUESTIONS[name]()


def test_there_is_one_door() -> None:
    opened = [path for path in (ROOT / "src").rglob("*.py") if "AsyncIPRoute()" in path.read_text()]
    assert [path.name for path in opened] == ["rtnetlink.py"]
