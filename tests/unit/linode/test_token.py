"""The token is read safely and never told."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from pathlib import Path

import pytest

from natpair.errors import ApiError, NatpairError, Unsupported
from natpair.linode.bodies import NewInstance
from natpair.linode.client import LinodeClient
from natpair.linode.token import Token, read_token
from natpair.linode.transport import Transport
from unit.linode.fakeapi import CANARY, QUICK, FakeApi, api_and_client, half, instance, ok, raw, refuse, running


def test_a_file_goes_before_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    file.chmod(0o600)
    environment = {"LINODE_TOKEN": "b", "NATPAIR_LINODE_TOKEN": "a"}
    assert read_token(file, environment).header() == "Bearer from-file"
    assert read_token(None, environment).header() == "Bearer a"
    assert read_token(None, {"NATPAIR_LINODE_TOKEN": " ", "LINODE_CLI_TOKEN": "c"}).header() == "Bearer c"


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "ümlaut", "nul\0"])
def test_what_cannot_be_a_token_is_refused(text: str) -> None:
    with pytest.raises(Unsupported) as caught:
        Token(text)
    assert text == "" or text not in str(caught.value)


def test_no_token_says_where_to_put_one() -> None:
    with pytest.raises(Unsupported) as caught:
        read_token(None, {})
    assert "NATPAIR_LINODE_TOKEN" in caught.value.fix


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(CANARY)
    file.chmod(0o640)
    with pytest.raises(Unsupported, match="others than its owner") as caught:
        read_token(file, {})
    assert "chmod 600" in caught.value.fix
    with pytest.raises(Unsupported, match="No such file"):
        read_token(tmp_path / "none", {})


def test_no_way_of_writing_it_down_shows_it() -> None:
    token = Token(CANARY)
    written = [str(token), repr(token), f"{token}", f"{token!r}", repr(Transport(token).__dict__)]
    assert not [text for text in written if CANARY in text]
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            way(token)


@pytest.mark.parametrize(
    "answer",
    [
        refuse(401, f"Invalid Token {CANARY}"),
        refuse(500, f"crash while handling Bearer {CANARY}"),
        raw(f"<html>Authorization: Bearer {CANARY}</html>", 502),
        raw(f"<html>Authorization: Bearer {CANARY}</html>"),
        ok({"id": CANARY}),
        half(instance(7, CANARY)),
    ],
    ids=["401", "500", "502-html", "html", "shape", "half"],
)
async def test_no_error_and_no_log_shows_it(
    answer: object, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with api_and_client() as (api, client):
        api.on("GET", "/linode/instances/7", answer)  # type: ignore[arg-type]
        with pytest.raises(ApiError) as caught:
            await client.instance(7)
        assert api.seen[0].headers["Authorization"] == f"Bearer {CANARY}"
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    out, err = capfd.readouterr()
    # aiohttp's server logs requests without headers; nothing on either side may carry the token.
    assert CANARY not in told + out + err + "".join(str(record.__dict__) for record in caplog.records)


async def test_an_address_nobody_answers_at_does_not_show_it() -> None:
    async with running(FakeApi()) as api:
        url = api.url
    async with Transport(Token(CANARY), base_url=url, limits=QUICK) as transport:
        with pytest.raises(NatpairError) as caught:
            await LinodeClient(transport).instance(7)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_secrets_of_a_new_linode_are_not_in_its_repr() -> None:
    new = NewInstance("a", "us-ord", "g6-nanode-1", root_password=CANARY, user_data=CANARY.encode())
    assert CANARY not in repr(new)
