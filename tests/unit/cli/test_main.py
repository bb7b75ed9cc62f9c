"""The entry point: help without imports, and an exit code for every ending."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from natpair.cli import main
from natpair.errors import (
    AgentUnreachable,
    CommandFailed,
    ConfigError,
    DaemonError,
    LabError,
    NatpairError,
    NotReady,
    Problem,
    Unsupported,
)

ENTRIES = [*main.COMMANDS.items(), *main.added_commands().items()]


def ending_with(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("gateway.toml", []), 78),
        (CommandFailed(["nft"], 1, "no"), 69),
        (DaemonError("unresponsive"), 69),
        (AgentUnreachable("nobody"), 69),
        (NotReady("later"), 75),
        (Unsupported("no root"), 77),
        (LabError("already up"), 73),
        (KeyboardInterrupt(), 130),
        (click.UsageError("what?"), 64),
        (click.Abort(), 130),
        (PermissionError(errno.EACCES, "Permission denied", "/etc/x"), 77),
        (OSError(errno.ENOSPC, "No space left on device", "/var/x"), 73),
        (OSError(errno.EROFS, "Read-only file system", "/etc/x"), 73),
        (OSError(errno.EIO, "Input/output error"), 70),
        (ZeroDivisionError("division by zero"), 70),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [NotReady("later")])]), 75),
        (ExceptionGroup("tasks", [NotReady("a"), NotReady("b")]), 70),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_every_ending_has_its_exit_code(error: BaseException, code: int) -> None:
    assert main.run([], ending_with(error)) == code


@pytest.mark.parametrize(("result", "code"), [(None, 0), (2, 2), ("text", 0), (True, 0)])
def test_a_command_ends_with_the_int_it_returns(result: object, code: int) -> None:
    assert main.run([], click.command()(lambda: result)) == code


def test_ctx_exit_is_an_exit_code() -> None:
    @click.command()
    @click.pass_context
    def command(context: click.Context) -> None:
        context.exit(2)

    assert main.run([], command) == 2


def test_message_and_fix_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    main.run([], ending_with(NatpairError("it is broken", fix="repair it")))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "natpair: it is broken\n  → repair it\n"


def test_all_problems_of_a_file_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [
        Problem("node[1].private_address", "10.0.0.1/24", "is not in the private network", "192.168.1.0/24", 12),
        Problem("pair.fips", "", "is missing"),
    ]
    main.run([], ending_with(ConfigError("gateway.toml", problems)))
    assert capsys.readouterr().err == (
        "natpair: gateway.toml: 2 problems\n"
        "\n"
        "  gateway.toml:12: node[1].private_address = 10.0.0.1/24\n"
        "    is not in the private network\n"
        "    expected: 192.168.1.0/24\n"
        "\n"
        "  pair.fips\n"
        "    is missing\n"
    )


def test_a_bug_says_how_to_report_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NATPAIR_DEBUG", raising=False)
    main.run([], ending_with(ValueError("odd")))
    said = capsys.readouterr().err
    assert "this is a bug in natpair" in said
    assert "ValueError: odd" in said
    assert "NATPAIR_DEBUG=1" in said
    assert "Traceback" not in said


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATPAIR_DEBUG", "1")
    main.run([], ending_with(NotReady("later")))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["no-such-command"], ["--no-such-option"], []])
def test_wrong_usage_is_64(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(argv) == 64
    assert "Usage: natpair" in capsys.readouterr().err


def test_help_lists_what_people_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, entry in ENTRIES:
        assert (entry.help in shown) is not entry.hidden, name


@pytest.mark.parametrize(("name", "entry"), ENTRIES, ids=[name for name, _ in ENTRIES])
def test_every_command_has_help_that_ends_with_an_example(
    name: str, entry: main.CommandEntry, capsys: pytest.CaptureFixture[str]
) -> None:
    module = entry.module.partition(":")[0]
    assert find_spec(module if "." in module else f"natpair.cli.commands.{module}"), f"{name} has no module yet"
    command = main.cli.get_command(click.Context(main.cli), name)
    assert command is not None
    for line in help_lines(command, name):
        assert main.run([*line, "--help"]) == 0
        last_paragraph = capsys.readouterr().out.rstrip().rsplit("\n\n", 1)[-1]
        assert f"Example: natpair {' '.join(line)}" in " ".join(last_paragraph.split())


def help_lines(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """The command itself and, for a group, every command below it."""
    yield names
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from help_lines(child, *names, name)


def natpair(*arguments: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "natpair", *arguments]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_version_is_the_projects() -> None:
    out, _ = natpair("--version").communicate(timeout=30)
    assert out.startswith("natpair ")


def test_a_reader_that_leaves_is_no_bug() -> None:
    script = "import natpair.cli.main as m, click; m.run([], click.command()(lambda: print('x' * 10_000_000)))"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    process.wait(30)
    assert said == ""


SLEEPER = """
import signal, sys
import click
import natpair.cli.main as main

mark = sys.argv.pop()

@click.command()
def command():
    try:
        print("ready", flush=True)
        signal.pause()
    finally:
        open(mark, "w").write("undone")

main.entry(command)
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)],
    ids=lambda value: str(value),
)
def test_signals_undo_what_was_built(number: signal.Signals, code: int, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    process = subprocess.Popen([sys.executable, "-c", SLEEPER, str(mark)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    assert process.wait(30) == code
    process.stdout.close()
    assert mark.read_text() == "undone"
