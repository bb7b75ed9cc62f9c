"""Errors of the emulated API: a status and complaints, in the shape that every Linode client knows.

The wording is ours, in Linode's style. Texts known from recorded traffic (`Linode busy.`, `Not found`, `Invalid Token`)
are kept, because clients look for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong, and the request's field that caused it (dotted path; empty if none did)."""

    reason: str
    field: str = ""


class Refused(Exception):
    """The request is answered with an error status, and nothing was changed."""

    def __init__(self, status: int, *complaints: Complaint) -> None:
        super().__init__("; ".join(complaint.reason for complaint in complaints))
        self.status = status
        self.complaints = complaints


def error_body(*complaints: Complaint) -> dict[str, Any]:
    """The document `{"errors": [{"reason", "field"}]}`; `field` is absent if no field is wrong."""
    return {
        "errors": [
            {"reason": complaint.reason} | ({"field": complaint.field} if complaint.field else {})
            for complaint in complaints
        ]
    }


def invalid(reason: str, field: str = "") -> Refused:
    """400: the request itself is wrong."""
    return Refused(400, Complaint(reason, field))


def not_found() -> Refused:
    """404: the path or the object does not exist on this account."""
    return Refused(404, Complaint("Not found"))


def busy() -> Refused:
    """400: the Linode is in a transitional state. Clients are expected to try again."""
    return Refused(400, Complaint("Linode busy."))


def unauthorized() -> Refused:
    """403: the token is valid, but its user may not do this."""
    return Refused(403, Complaint("Unauthorized"))
