"""What an answer means, as a table; and that nothing an answer holds can break the reading of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.linode import operations as op
from natpair.linode.failures import bad_shape, no_answer, reasons_in, refused, retry_after, shown
from natpair.linode.operations import Operation, Repeat

READ, MAKE = op.GET_INSTANCE, op.CREATE_INSTANCE
OURS = json.dumps({"errors": [{"reason": "No."}]})
BUSY = json.dumps({"errors": [{"reason": "Linode busy."}]})


@pytest.mark.parametrize(
    ("operation", "status", "text", "retryable", "uncertain"),
    [
        (READ, 500, OURS, True, False),
        (MAKE, 500, OURS, False, True),
        (op.SHARE_IPS, 502, "<html>", False, True),
        (op.UPDATE_CONFIG, 504, "", True, False),
        (MAKE, 429, OURS, True, False),
        (MAKE, 400, BUSY, True, False),
        (MAKE, 400, OURS, False, False),
        (READ, 404, OURS, False, False),
        (READ, 501, OURS, False, False),
        (MAKE, 302, "", False, False),
    ],
)
def test_what_a_status_means(operation: Operation, status: int, text: str, retryable: bool, uncertain: bool) -> None:
    error = refused(operation, status, {}, text)
    assert (error.retryable, error.uncertain) == (retryable, uncertain)


@pytest.mark.parametrize(
    ("operation", "sent", "retryable", "uncertain"),
    [(READ, True, True, False), (READ, False, True, False), (MAKE, True, False, True), (MAKE, False, True, False)],
)
def test_what_silence_means(operation: Operation, sent: bool, retryable: bool, uncertain: bool) -> None:
    error = no_answer(operation, "silence", sent=sent)
    assert (error.retryable, error.uncertain) == (retryable, uncertain)
    assert bool(error.fix) == (uncertain or not sent)


def test_an_unreadable_answer_to_a_create_leaves_it_open() -> None:
    assert bad_shape(MAKE, "?").uncertain
    assert not bad_shape(READ, "?").uncertain


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-7", 0.0),
        ("nan", None),
        ("1e99", 3600.0),
        ("inf", 3600.0),
        ("x", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize(
    ("status", "reason", "fix"),
    [
        (401, "Invalid Token", "new token"),
        (401, "Your OAuth token is not authorized to use this endpoint.", "linodes:read_write"),
        (403, "Unauthorized", "grants"),
        (429, "Too many requests", "wait"),
    ],
)
def test_fixes(status: int, reason: str, fix: str) -> None:
    assert fix in refused(MAKE, status, {}, json.dumps({"errors": [{"reason": reason}]})).fix


def test_only_a_call_without_rights_to_name_says_so() -> None:
    assert "to be valid" in refused(op.LIST_REGIONS, 401, {}, "").fix


@given(
    st.text()
    | st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(
        json.dumps
    )
)
def test_no_body_breaks_the_reading(text: str) -> None:
    for body in (text, json.dumps({"errors": [{"reason": text, "field": text}]}), f'{{"errors": {text}}}'):
        for reason in (*reasons_in(body), shown(body)):
            assert reason.isprintable()
            assert len(reason) <= 700
        assert len(str(refused(MAKE, 500, {}, body))) < 8000


def test_what_creates_or_replaces_is_never_repeated_blindly() -> None:
    posts = {one for one in op.ALL if one.method == "POST"}
    assert {one for one in op.ALL if one.repeat is Repeat.HARMFUL} == posts | {op.UPDATE_INTERFACE}
