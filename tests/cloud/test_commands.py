"""`natpair cloud …` as a person types it: words, exit codes, files, and nothing secret where it does not belong."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cloud.accounts import TEXT, changed
from commands import complaints
from emulator.served import Served, quick_api, served
from natpair.cli.commands.cloud import command
from natpair.cli.commands.cloud_common import only_one
from natpair.config.load import load
from natpair.errors import ConfigError, NotReady, Unsupported
from natpair_lab.emulator.state import Timing

CANARY = "canary0123456789"
SOON = Timing(provision_seconds=0.01, boot_seconds=0.01, shutdown_seconds=0.01)


@dataclass
class Person:
    api: Served
    file: Path

    def types(self, *words: str, **more: Any) -> Result:
        argv = [words[0], str(self.file), *words[1:]]
        return CliRunner().invoke(command, argv, env={"LINODE_TOKEN": CANARY}, standalone_mode=False, **more)

    def code(self, *words: str) -> int:
        """What `cli.main` makes the exit code of a command that raised nothing."""
        ended = self.types(*words)
        assert ended.exception is None, ended.exception
        return ended.return_value or 0

    def reads(self, *words: str) -> Any:
        document = json.loads(self.types(*words, "--json").stdout)
        assert complaints(document) == []
        return document

    def requests(self) -> list[str]:
        return [one.method for one in self.api.emulator.control.served]


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    with served(quick_api(SOON)) as api:
        file = tmp_path / "gateway.toml"
        file.write_text(TEXT + f'\n[linode]\napi_url = "{api.url}/v4"\n')
        file.chmod(0o640)
        yield Person(api, file)


def test_a_plan_changes_nothing_and_says_everything(person: Person, tmp_path: Path) -> None:
    before = person.file.read_text()
    said = person.types("plan")
    assert said.exception is None
    for words in (
        "create the Linode nat-a: g6-nanode-1",
        "allocate a floating address",
        "$10.00",
        "items without a price in the API",
    ):
        assert words in said.stdout
    assert set(person.requests()) == {"GET"}
    assert person.file.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.toml"]
    document = person.reads("plan")
    assert document["schema"] == "natpair/cloud-plan/v1"
    kinds = [step["kind"] for step in document["steps"]]
    assert kinds.count("create-linode") == kinds.count("rebuild-with-user-data") == 2
    assert document["prices"][0]["monthly"] == 10.0


def test_from_the_plan_to_nothing_again(person: Person, tmp_path: Path) -> None:
    assert person.code("status") == 2
    assert person.code("apply", "--yes", "--every", "0.05") == 0
    key = tmp_path / "pair.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(person.file.stat().st_mode) == 0o640
    load(person.file)
    assert "nothing to do" in person.types("apply").stdout
    assert person.reads("plan")["steps"] == []
    assert person.code("status") == 0
    status = person.reads("status")
    assert status["problems"] == []
    assert [node["status"] for node in status["nodes"]] == ["running", "running"]
    secret = key.read_text()
    assert "gone" not in secret
    gone = person.reads("destroy", "--yes", "--every", "0.05")
    assert len([step for step in gone["done"] if step["kind"] == "delete-linode"]) == 2
    assert key.read_text() == secret, "the key is the person's"
    assert "nothing to remove" in person.types("destroy").stdout
    assert person.reads("destroy")["done"] == []


def test_nobody_is_there_to_be_asked(person: Person) -> None:
    refused = person.types("apply")
    assert "--yes" in str(refused.exception)
    assert set(person.requests()) == {"GET"}
    person.types("apply", "--yes", "--every", "0.05")
    person.api.emulator.control.served.clear()
    refused = person.types("destroy")
    assert "--yes" in str(refused.exception)
    assert set(person.requests()) == {"GET"}


def test_the_token_and_the_key_are_shown_nowhere(person: Person, tmp_path: Path) -> None:
    said = [person.types(*words) for words in (("plan",), ("apply", "--yes", "--every", "0.05"), ("status",))]
    said.append(person.types("apply", "--json"))
    secret = (tmp_path / "pair.key").read_text().strip()
    for one in said:
        assert CANARY not in one.output
        assert secret not in one.output
    assert secret not in person.file.read_text()


def test_a_key_that_others_may_read_is_refused_before_anything_is_made(person: Person, tmp_path: Path) -> None:
    key = tmp_path / "pair.key"
    key.write_text("secret\n")
    key.chmod(0o644)
    refused = person.types("apply", "--yes")
    assert isinstance(refused.exception, Unsupported)
    assert "chmod 600" in refused.exception.fix
    assert set(person.requests()) == {"GET"}


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('type = "g6-nanode-1"', 'type = "g6-nano"', "cloud.type"),
        (
            'type = "g6-nanode-1"',
            'type = "g6-nanode-1"\nauthorized_keys_file = "/nowhere"',
            "cloud.authorized_keys_file",
        ),
        ('source = "https', '# source = "https', "install.source"),
    ],
)
def test_a_file_that_cannot_be_made_is_refused_before_anything_is_made(
    person: Person, old: str, new: str, key: str
) -> None:
    person.file.write_text(changed((old, new), text=person.file.read_text()))
    for words in (("plan",), ("apply", "--yes")):
        refused = person.types(*words)
        assert isinstance(refused.exception, ConfigError)
        assert [one.key for one in refused.exception.problems] == [key]
    assert "POST" not in person.requests()


def test_two_at_once_are_one_too_many(person: Person) -> None:
    with only_one(person.file):
        for words in (("apply", "--yes"), ("destroy", "--yes")):
            refused = person.types(*words)
            assert isinstance(refused.exception, NotReady)
            assert refused.exception.exit_code == 75
            assert "another natpair cloud command is running" in refused.exception.message
    assert person.requests() == []
    assert person.code("apply", "--yes", "--every", "0.05") == 0


def test_status_names_problems_first_and_exits_with_2(person: Person) -> None:
    person.types("apply", "--yes", "--every", "0.05")
    store = person.api.emulator.api.store
    store.shares.clear()
    said = person.types("status")
    assert said.return_value == 2
    assert "share" in said.stdout.splitlines()[0]
    assert len(person.reads("status")["problems"]) == 1


@pytest.mark.parametrize("name", ["plan", "apply", "status", "destroy"])
def test_each_command_has_an_example(person: Person, name: str) -> None:
    assert f"Example: natpair cloud {name}" in CliRunner().invoke(command, [name, "--help"]).stdout
