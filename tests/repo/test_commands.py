"""Every command has an example that works, every JSON document a schema, and man pages and completions come of both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import jsonschema_rs
import pytest

import natpair
from commands import command_lines, commands, complaints, parse, schemas
from journals import GIVER
from natpair.cli import complete as natpair_complete
from natpair.cli.commands.completion import SHELLS
from natpair.cli.main import cli, run
from natpair.cli.manual import pages
from natpair.render.services import services
from natpair_lab.cli import complete
from natpair_lab.testbed import faults, netns, teardown
from repo.rules import ROOT
from samples import EXAMPLE, gateway

ALL = commands()
# What the others need before their example can be run; a new command is run here unless it is in this table.
NEEDS = {
    "natpair apply": "a node",
    "natpair bench": "root, and minutes",
    "natpair chaos": "root, and minutes",
    "natpair cloud": "an account",
    "natpair confirm": "a node",
    "natpair drain": "a node",
    "natpair drill": "root",
    "natpair events": "a node",
    "natpair failback": "a node",
    "natpair generations": "a node",
    "natpair lab": "root",
    "natpair probe": "an account",
    "natpair rollback": "a node",
    "natpair status": "a node",
    "natpair switchover": "a node",
    "natpair undrain": "a node",
}


def needs(name: str) -> bool:
    return any(name == entry or name.startswith(f"{entry} ") for entry in NEEDS)


@pytest.mark.parametrize("name", ALL)
def test_help_ends_with_an_example_that_parses(name: str) -> None:
    lines = command_lines(ALL[name])
    assert lines, f"{name}: give it an epilog that ends with 'Example: {name} …'"
    for words in lines:
        parse(words)
    if name != "natpair":
        assert any(" ".join(["natpair", *words]).startswith(name) for words in lines), f"no example calls {name}"


def test_a_wrong_example_would_be_seen() -> None:
    with pytest.raises(click.UsageError):
        parse(["check", "--no-such-option"])
    with pytest.raises(click.UsageError):
        parse(["lab", "upp"])


@pytest.mark.parametrize("name", [name for name in ALL if not needs(name) and name != "natpair"])
def test_examples_that_need_nothing_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for words in command_lines(ALL[name]):
        assert run(words) == 0, f"{words}: repair the example, or say in NEEDS what it needs"


@pytest.mark.parametrize(
    "name", [name for name, found in ALL.items() if any(p.name == "as_json" for p in found.params)]
)
def test_whoever_speaks_json_has_a_schema(name: str) -> None:
    described = {command for schema in schemas().values() for command in schema["x-commands"]}
    assert name in described, f"add src/natpair/schemas/NAME.json with {name} in its x-commands"


def test_schemas_are_schemas_of_commands_that_exist() -> None:
    for name, schema in schemas().items():
        jsonschema_rs.meta.validate(schema)
        assert set(schema["x-commands"]) <= set(ALL), name


def document(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    run(words)
    out = capsys.readouterr().out
    return [json.loads(line) for line in out.splitlines()] if words[0] == "events" else [json.loads(out)]


def test_documents_are_as_their_schemas_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(EXAMPLE.read_text().replace("us-ord", "us-odr"))
    journal = tmp_path / "events.jsonl"
    journal.write_text("".join(json.dumps(line) + "\n" for line in GIVER))
    example, on = str(EXAMPLE), ["--node", "nat-a", "--json"]
    answers = command_lines(ALL["natpair init"])[0][2:]
    for words in (
        ["check", example, "--json"],
        ["check", str(bad), "--json"],
        ["render", example, *on],
        ["diff", example, *on],
        ["apply", example, "--dry-run", *on],
        ["generations", "--json"],
        ["events", str(journal), "--json"],
        ["init", str(tmp_path / "new.toml"), *answers, "--json"],
        ["chaos", "--list", "--json"],
    ):
        for found in document(words, capsys):
            assert complaints(found) == [], words


def test_a_document_that_is_not_as_its_schema_says_would_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    (good,) = document(["check", str(EXAMPLE), "--json"], capsys)
    assert complaints({key: value for key, value in good.items() if key != "ok"})
    assert complaints({**good, "warnings": [{"key": 3}]})
    assert complaints({**good, "schema": "natpair/unknown/v1"})


def test_every_command_gets_a_manual_page() -> None:
    made = pages(cli, natpair.__version__)
    assert set(made) == {f"{name.replace(' ', '-')}.8" for name in ALL}
    page = made["natpair-apply.8"]
    assert ".SH EXAMPLE\n.nf\nnatpair apply \\-\\-dry\\-run\n.fi" in page
    assert ".B \\-\\-confirm SECONDS" in page


@pytest.mark.needs("groff")
def test_groff_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    texts = pages(cli, natpair.__version__)
    for name, text in [*texts.items(), ("bad.8", ".TH X 8\n.nosuchmacro\n")]:
        path = tmp_path / name
        path.write_text(text)
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-Wbreak", "-z", str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert bool(done.stderr) is (name == "bad.8"), done.stderr


def completed(line: str) -> set[str]:
    environment = {**os.environ, "_NATPAIR_COMPLETE": "bash_complete", "COMP_WORDS": line}
    environment["COMP_CWORD"] = str(len(line.split(" ")) - 1)
    argv = [sys.executable, "-c", "from natpair.cli.main import entry; entry()"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return {item.partition(",")[2] for item in done.stdout.splitlines()}


def test_the_shell_is_offered_commands_options_and_faults() -> None:
    assert completed("natpair und") == {"undrain"}
    assert "--drain-first" in completed("natpair apply --d")
    assert completed("natpair lab fault kill:c") == {"kill:conntrackd"}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_NATPAIR_COMPLETE" in capsys.readouterr().out


def test_what_completion_knows_of_the_lab_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {f"{verb}:{s}" for verb in faults.SERVICE_KINDS for s in ("agent", "bird", "conntrackd", "keepalived")}
    assert set(complete.FAULTS) == set(faults.KINDS) | kinds
    running = {service.name.removeprefix("natpair-") for service in services(gateway(), "nat-a")}
    assert {kind.partition(":")[2] for kind in kinds} == running - {"prepare", "handover"}
    assert (netns.LABS, teardown.RECORDS) == (complete.LABS, complete.RECORDS)
    for place in ("one/inits/client-1", "one/inits/nat-a", "one/nodes/nat-a", "two/inits/other"):
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.setattr(complete, "LABS", tmp_path)
    monkeypatch.setattr(natpair_complete, "LABS", tmp_path)
    command = ALL["natpair lab exec"]
    context = click.Context(command)
    context.params = {"name": "one"}
    host = next(p for p in command.params if p.name == "host")
    assert [item.value for item in host.shell_complete(context, "c")] == ["client-1"]
    assert [item.value for item in complete.nodes(context, host, "")] == ["nat-a", "active", "standby"]
    assert [item.value for item in complete.labs(context, host, "t")] == ["two"]
