"""The only access to rtnetlink. Every error of the kernel becomes an OSError, which all callers handle.

pyroute2's NetlinkError is not an OSError, and an unhandled one would end the calling task.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from pyroute2 import AsyncIPRoute, NetlinkError
from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELRULE
from pyroute2.netlink.rtnl.fibmsg import fibmsg


@contextlib.asynccontextmanager
async def rtnetlink() -> AsyncIterator[AsyncIPRoute]:
    """A connection to rtnetlink for the length of the block. OSError for every error of the kernel in it."""
    with as_os_error():
        async with AsyncIPRoute() as route:
            yield route


@contextlib.contextmanager
def as_os_error() -> Iterator[None]:
    """Turn pyroute2's error into the OSError of the same number."""
    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error


async def delete_rule(rule: Any) -> None:
    """Delete exactly this policy rule, as a dump gave it. The kernel deletes the first rule that matches *all*
    attributes.

    With the preference alone another rule of the same preference might be deleted. OSError if it is already gone.
    """
    request = fibmsg()
    for name in ("family", "dst_len", "src_len", "tos", "table", "action", "flags"):
        request[name] = rule[name]
    request["attrs"] = [(name, value) for name, value in rule["attrs"] if value is not None]
    async with rtnetlink() as route:
        async for _ in await route.nlm_request(request, msg_type=RTM_DELRULE, msg_flags=NLM_F_REQUEST | NLM_F_ACK):
            pass
