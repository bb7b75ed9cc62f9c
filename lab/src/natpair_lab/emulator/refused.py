"""How the emulated API says no: a status and complaints, in the shape every Linode client knows.

The wording is ours in Linode's manner; where a text is known from recorded traffic (`Linode busy.`, `Not found`,
`Invalid Token`) it is kept, because clients look for it.
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
    """The request is answered with an error status; nothing was changed."""

    def __init__(self, status: int, *complaints: Complaint) -> None:
        super().__init__("; ".join(complaint.reason for complaint in complaints))
        self.status = status
        self.complaints = complaints


def error_body(*complaints: Complaint) -> dict[str, Any]:
    """The document `{"errors": [{"reason", "field"}]}`; `field` is absent when no field is to blame."""
    return {
        "errors": [
            {"reason": complaint.reason} | ({"field": complaint.field} if complaint.field else {})
            for complaint in complaints
        ]
    }


def invalid(reason: str, field: str = "") -> Refused:
    """400: the request is wrong as it stands."""
    return Refused(400, Complaint(reason, field))


def not_found() -> Refused:
    """404: no such path, or no such thing on this account."""
    return Refused(404, Complaint("Not found"))


def busy() -> Refused:
    """400: the Linode is in a passing state. Clients are expected to try again."""
    return Refused(400, Complaint("Linode busy."))


def unauthorized() -> Refused:
    """403: the token is good, its user may not."""
    return Refused(403, Complaint("Unauthorized"))
