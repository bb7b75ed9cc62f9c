"""HTTP to the API: token, time limits, size limit, safe repeats, pages. It knows no particular call.

Every wait is bounded: one try by `Limits.try_seconds`, all tries and waits by `Limits.total_seconds`. Redirects
are not followed, proxies and netrc not consulted, and the token goes over TLS or to this machine only.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import stamina
from yarl import URL

from natpair.errors import ApiError, Unsupported
from natpair.linode import failures
from natpair.linode.operations import Method, Operation
from natpair.linode.resolver import DaemonResolver
from natpair.linode.token import Token

BASE_URL = "https://api.linode.com/v4"

_PAGE_SIZE = 500  # the most the API gives
_MOST_PAGES = 200
_MOST_WALKS = 3
_REFUSAL = 300
_GONE = 404


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait and how much to read. Tests make them small."""

    connect_seconds: float = 5.0
    try_seconds: float = 20.0
    total_seconds: float = 90.0
    tries: int = 12  # `Linode busy.` can last for a minute
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 10.0
    answer_bytes: int = 8 * 1024 * 1024


class Transport:
    """An open connection to the API, for `async with`. A token may be absent: regions and types need none."""

    def __init__(
        self,
        token: Token | None,
        *,
        base_url: str = BASE_URL,
        limits: Limits | None = None,
        plain_http: bool = False,
    ) -> None:
        """`plain_http` allows the token to be sent unencrypted to any host. Use it only for an emulator in a lab."""
        self._base = URL(base_url.rstrip("/"))
        if token is not None and not plain_http and not _safe_for_a_token(self._base):
            fix = "use https, or http to a loopback address"
            raise Unsupported(f"a token is not sent in the clear to {self._base.host}", fix=fix)
        self._token = token
        self.limits = limits or Limits()
        self._reading: aiohttp.ClientSession | None = None
        self._writing: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # A repeat is told to the user, if at all, by the caller: stamina's own hook would log to standard output.
        stamina.instrumentation.set_on_retry_hooks([])
        # Reading keeps its connection: on a node, each one more is an entry in the table of flows for minutes.
        self._reading = self._open_session(fresh=False)
        # Else one connection a call: on a kept one that the server has just closed nobody can tell whether a POST
        # arrived.
        self._writing = self._open_session(fresh=True)
        # aiohttp itself would send a PUT a second time when the connection breaks, and one PUT of ours allocates.
        self._writing._retry_connection = False
        return self

    def _open_session(self, *, fresh: bool) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=self.limits.try_seconds, sock_connect=self.limits.connect_seconds)
        connector = aiohttp.TCPConnector(limit=8, force_close=fresh, resolver=DaemonResolver())
        return aiohttp.ClientSession(
            timeout=timeout, connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._reading, self._writing):
            if session is not None:
                await session.close()
        self._reading = self._writing = None

    async def call(
        self,
        operation: Operation,
        parts: Mapping[str, object] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        wanted: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The JSON object that answers `operation`; ApiError otherwise. `wanted` goes into X-Filter.

        A DELETE that finds nothing counts as done: it may be the repeat of one that did it.
        """
        path = operation.at(**(parts or {}))
        headers = {"X-Filter": json.dumps(dict(wanted))} if wanted else {}
        refusal: ApiError | None = None
        try:
            async with asyncio.timeout(self.limits.total_seconds):
                async for attempt in self._attempts():
                    with attempt:
                        refusal = None
                        try:
                            return await self._try(operation, path, body, query, headers)
                        except ApiError as error:
                            refusal = error
                            raise
        except TimeoutError:
            # Between two tries the last answer says more than a time-out. Within a try the result is unknown.
            raise refusal or failures.no_answer(operation, "no useful answer in time", sent=True) from None
        except ApiError as error:
            if operation.method is Method.DELETE and error.status == _GONE:
                return {}
            raise
        raise AssertionError("stamina ends with a result or an error")  # pragma: no cover

    async def pages(
        self,
        operation: Operation,
        parts: Mapping[str, object] | None = None,
        *,
        wanted: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """All items of a list, over all its pages.

        A list that changes while it is read would lose items between two pages: then it is read anew.
        """
        for _ in range(_MOST_WALKS):
            items = await self._walk(operation, parts, wanted)
            if items is not None:
                return items
        raise failures.no_answer(operation, "the list kept changing while it was read", sent=True)

    async def _walk(
        self, operation: Operation, parts: Mapping[str, object] | None, wanted: Mapping[str, Any] | None
    ) -> list[Any] | None:
        items: list[Any] = []
        total: object = None
        for number in range(1, _MOST_PAGES + 1):
            query = {"page": str(number), "page_size": str(_PAGE_SIZE)}
            page = await self.call(operation, parts, query=query, wanted=wanted)
            data, last = page.get("data"), page.get("pages", 1)
            if not isinstance(data, list) or not isinstance(last, int):
                raise failures.bad_shape(operation, "the answer is not a page of a list")
            if number > 1 and page.get("results") != total:
                return None
            total = page.get("results")
            items += data
            if number >= last:
                return items
        raise failures.bad_shape(operation, f"more than {_MOST_PAGES} pages")

    def _attempts(self) -> Any:
        limits = self.limits
        deadline = time.monotonic() + limits.total_seconds
        return stamina.retry_context(
            on=lambda error: self._wait_before_repeat(error, deadline),
            attempts=limits.tries,
            timeout=limits.total_seconds,
            wait_initial=limits.first_wait_seconds,
            wait_max=limits.longest_wait_seconds,
            wait_jitter=limits.first_wait_seconds,
        )

    def _wait_before_repeat(self, error: Exception, deadline: float) -> bool | float:
        if not isinstance(error, ApiError) or not error.retryable:
            return False
        if error.retry_after_seconds is None:
            return True
        wait = max(error.retry_after_seconds, self.limits.first_wait_seconds)
        # The server asks for a longer wait than is left. Report its refusal now, which says more than a time-out.
        return wait if time.monotonic() + wait < deadline else False

    async def _try(
        self,
        operation: Operation,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
    ) -> dict[str, Any]:
        session = self._reading if operation.method is Method.GET else self._writing
        if session is None:
            raise RuntimeError("the transport is used outside its `async with`")
        sent = {"Accept": "application/json", **headers}
        if self._token is not None:
            sent["Authorization"] = self._token.header()
        try:
            async with session.request(
                operation.method,
                self._base.joinpath(path.lstrip("/"), encoded=False),
                json=body,
                params=query,
                headers=sent,
                allow_redirects=False,
            ) as response:
                text = await self._read(operation, response)
                if response.status >= _REFUSAL:
                    raise failures.refused(operation, response.status, response.headers, self._hidden(text))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            reason = f"cannot connect to {self._base.host}: {_why(error)}"
            raise failures.no_answer(operation, reason, sent=False) from None
        except TimeoutError:
            raise failures.no_answer(operation, f"no answer within {self.limits.try_seconds:g} s", sent=True) from None
        except aiohttp.ClientError as error:
            raise failures.no_answer(operation, f"the connection broke: {_why(error)}", sent=True) from None
        return self._object(operation, text)

    async def _read(self, operation: Operation, response: aiohttp.ClientResponse) -> str:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self.limits.answer_bytes:
                response.close()
                if response.status >= _REFUSAL:  # its status says enough
                    break
                raise failures.bad_shape(operation, f"an answer of more than {self.limits.answer_bytes} bytes")
            chunks.append(chunk)
        return b"".join(chunks).decode("utf-8", errors="replace")

    def _hidden(self, text: str) -> str:
        """An answer on its way into an error's words; a good one is read as it is, its words may hold a short token."""
        return text if self._token is None else self._token.hide_in(text)

    def _object(self, operation: Operation, text: str) -> dict[str, Any]:
        try:
            document = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError):
            reason = f"the answer is not JSON: {failures.shown(self._hidden(text))}"
            raise failures.bad_shape(operation, reason) from None
        if not isinstance(document, dict):
            raise failures.bad_shape(operation, "the answer is not a JSON object")
        return document


def _safe_for_a_token(base: URL) -> bool:
    if base.scheme == "https":
        return True
    try:
        return base.scheme == "http" and ipaddress.ip_address(base.host or "").is_loopback
    except ValueError:
        return base.scheme == "http" and base.host == "localhost"


def _why(error: Exception) -> str:
    return failures.shown(str(error)) or type(error).__name__
