"""What a failed call means: Linode's reasons, whether the work may have been done, whether a repeat does harm.

Pure. The rule: 429, `Linode busy.` and a connection that never came about mean that nothing was done, so any call
may be sent again. After anything else without a clear answer only calls whose repeat is harmless are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from natpair.errors import ApiError
from natpair.linode.operations import ALLOCATE_IP, CREATE_INSTANCE, UPDATE_INTERFACE, Operation, Repeat

_TOO_MANY = 429
_NO_RIGHT = frozenset({401, 403})
# The server or a proxy timed out. The work may still be running behind it.
_UNCLEAR = frozenset({408, 500, 502, 503, 504})
_BUSY = "linode busy"

_LONGEST_REASON = 300
_MOST_REASONS = 10
_LONGEST_RETRY_AFTER_SECONDS = 3600.0


def refused(operation: Operation, status: int, headers: Mapping[str, str], text: str) -> ApiError:
    """The error for an answer with a status of 300 or above."""
    reasons = reasons_in(text) or (f"an answer that is not Linode's: {shown(text)}" if text.strip() else "no body",)
    busy = status == 400 and any(_BUSY in reason.lower() for reason in reasons)
    not_done = busy or status == _TOO_MANY
    unclear = status in _UNCLEAR
    harmless = operation.repeat is Repeat.HARMLESS
    return ApiError(
        operation.name,
        status,
        reasons,
        retryable=not_done or (unclear and harmless),
        uncertain=unclear and not harmless,
        retry_after_seconds=retry_after(headers.get("Retry-After")),
        fix=_fix(operation, status, reasons),
    )


def no_answer(operation: Operation, reason: str, *, sent: bool) -> ApiError:
    """The error for a missing, incomplete or unreadable answer. `sent`: the request may have arrived."""
    harmless = operation.repeat is Repeat.HARMLESS
    return ApiError(
        operation.name,
        None,
        (reason,),
        retryable=harmless or not sent,
        uncertain=sent and not harmless,
        fix=_silence_fix(sent=sent, harmless=harmless),
    )


def _silence_fix(*, sent: bool, harmless: bool) -> str:
    if not sent:
        return "check the network and the API's address, then run it again"
    return "" if harmless else "look whether it was done before sending it again"


def bad_shape(operation: Operation, reason: str) -> ApiError:
    """The error for a complete answer of the wrong form: from a proxy, a captive portal, or a changed API."""
    fix = "check the API's address; something else may be answering there"
    return ApiError(operation.name, 200, (reason,), uncertain=operation.repeat is Repeat.HARMFUL, fix=fix)


def reasons_in(text: str) -> tuple[str, ...]:
    """Linode's reasons, `field: reason`, from an error body; none if the body is something else."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        return ()
    return tuple(_reason(error) for error in errors[:_MOST_REASONS] if isinstance(error, dict))


def _reason(error: Mapping[str, object]) -> str:
    reason = shown(str(error.get("reason") or "no reason given"))
    field = error.get("field")
    return f"{shown(str(field))}: {reason}" if field else reason


def shown(text: str) -> str:
    """`text` in one short line without control characters, fit for a terminal and a log."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * _LONGEST_REASON]).split())
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header; None if it is missing, a date, or invalid. A negative one, seen once, counts as
    0.
    """
    try:
        seconds = float(value) if value is not None else math.nan
    except ValueError:
        return None
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)


def no_more_addresses(error: ApiError) -> bool:
    """Whether the platform refused an address because the account may have no further one."""
    return error.status == 400 and _about_more_addresses(" ".join(error.reasons).lower())


def _about_more_addresses(told: str) -> bool:
    return any(word in told for word in ("justification", "additional", "limit"))


def _fix(operation: Operation, status: int, reasons: tuple[str, ...]) -> str:
    told = " ".join(reasons).lower()
    if status in _NO_RIGHT:
        if "invalid token" in told or "expired" in told:
            return "make a new token in Linode's Cloud Manager"
        needed = operation.scopes or "to be valid"
        return f"the token needs {needed}; check its scopes, and the grants or roles of its user"
    if operation in (ALLOCATE_IP, UPDATE_INTERFACE) and _about_more_addresses(told):
        return "further public IPv4 addresses need a support ticket with a technical reason; ask Linode for one"
    if operation is CREATE_INSTANCE and "interface_generation" in told:
        return "set cloud.generation to what the account allows, or change the account's settings in Cloud Manager"
    if operation is CREATE_INSTANCE and "placement" in told:
        return 'the region may have no second host free: set cloud.placement = "flexible", or choose another region'
    if status == _TOO_MANY:
        return "wait a minute; other users of this token count too"
    if 300 <= status < 400:
        return "check the API's address; natpair does not follow redirects with a token"
    return ""
