"""The `natpair` program: finds the command, runs it, and turns every result and error into an exit code.

`natpair --help` needs only the table `COMMANDS`; a command's module is imported when the command runs. This is one of
the two places where a broad `except` is allowed: it reports bugs.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from types import FrameType
from typing import Any, NoReturn, cast

import click

import natpair
from natpair.cli.output import report_error, talk
from natpair.errors import NatpairError, Unsupported

EX_USAGE = 64
EX_SOFTWARE = 70
EX_CANTCREAT = 73
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + signal.SIGPIPE

_CANNOT_WRITE = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """One line of `natpair --help`.

    `module` holds a click object `command`, or the object named after a colon. A name with a dot is absolute; any other
    is relative to the group's package.
    """

    module: str
    help: str
    hidden: bool = False


COMMANDS: Mapping[str, CommandEntry] = {
    "init": CommandEntry("init", "Write a gateway.toml from a few questions."),
    "check": CommandEntry("check", "Check a gateway.toml and report every problem at once."),
    "render": CommandEntry("render", "Write the files of one node to a folder or to stdout."),
    "diff": CommandEntry("diff", "Compare gateway.toml with this machine."),
    "apply": CommandEntry("apply", "Apply gateway.toml to this node."),
    "confirm": CommandEntry("generations:confirm", "Keep what `apply --confirm` changed."),
    "rollback": CommandEntry("generations:rollback", "Return this node to an earlier configuration."),
    "generations": CommandEntry("generations:generations", "List earlier configurations and what each apply changed."),
    "status": CommandEntry("status", "Show the state of the pair, problems first."),
    "events": CommandEntry("events", "Show every role change: when, why, step by step."),
    "switchover": CommandEntry("role:switchover", "Move the active role to the other node; no packet is lost."),
    "failback": CommandEntry("role:failback", "Give the active role to the node that pair.prefer names."),
    "drain": CommandEntry("role:drain", "Take this node out of service until undrain."),
    "undrain": CommandEntry("role:undrain", "End a drain: this node may become active again."),
    "client-config": CommandEntry("client_config", "Print the network configuration of a private instance."),
    "cloud": CommandEntry("cloud", "Create, watch and remove a pair on Linode."),
    "completion": CommandEntry("completion", "Print a shell completion script."),
    "prepare": CommandEntry("prepare", "Set up the kernel and /run before the daemons start.", hidden=True),
    "agent": CommandEntry("agent", "Run the agent (for systemd).", hidden=True),
    "agent-stopping": CommandEntry("agent_stopping", "Hand over before natpair stops (for systemd).", hidden=True),
    "agent-stopped": CommandEntry(
        "agent_stopped", "Take a standby without an agent out of the election (for systemd).", hidden=True
    ),
}


PLUGINS = "natpair.commands"
"""Entry point group: each entry point names a table like `COMMANDS`. natpair-lab has one."""
_IN_NATPAIR_LAB = frozenset({"lab", "drill", "bench", "chaos"})


class _ReaderGone(Exception):
    """Stands for BrokenPipeError, which click would catch and turn into exit code 1."""


@contextmanager
def _own_broken_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGone from error


class LazyGroup(click.Group):
    """A click group that lists its commands from a table and imports a command only when it runs."""

    def __init__(self, *, entries: Mapping[str, CommandEntry], package: str, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.entries = entries
        self._package = package

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click's. `--help` and `--version` already write their output here."""
        with _own_broken_pipe():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's."""
        with _own_broken_pipe():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table's order, which is the order of use, not alphabetical."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command `cmd_name`; None if the table does not have it."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module_name, _, attribute = entry.module.partition(":")
        if "." not in module_name:
            module_name = f"{self._package}.{module_name}"
        module = importlib.import_module(module_name)
        return cast(click.Command, getattr(module, attribute or "command"))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but an unknown name is answered with the most similar command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = get_close_matches(args[0], [name for name, entry in self.entries.items() if not entry.hidden], n=1)
            if not close or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{close[0]}'?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, without importing any of them."""
        rows = [(name, entry.help) for name, entry in self.entries.items() if not entry.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Program(LazyGroup):
    """The `natpair` program itself. It looks up commands of other distributions only when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Natpair's own commands first."""
        self.entries = {**COMMANDS, **added_commands()}
        return super().list_commands(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As any group's, including the added commands."""
        self.list_commands(ctx)
        super().format_commands(ctx, formatter)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """As any group's. Raise Unsupported for a command of natpair-lab if that is not installed."""
        if cmd_name not in self.entries:
            self.list_commands(ctx)
        if cmd_name not in self.entries and cmd_name in _IN_NATPAIR_LAB:
            fix = "install it with: pip install natpair-lab; or in a clone of the repository run: make demo"
            raise Unsupported(f"`natpair {cmd_name}` is part of natpair-lab, which is not installed", fix=fix)
        return super().get_command(ctx, cmd_name)


def added_commands() -> dict[str, CommandEntry]:
    """The commands of other installed distributions, by name."""
    from importlib.metadata import entry_points

    return {name: entry for point in entry_points(group=PLUGINS) for name, entry in point.load().items()}


@click.command(
    cls=Program,
    entries=COMMANDS,
    package="natpair.cli.commands",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: natpair check /etc/natpair/gateway.toml",
)
@click.version_option(package_name="natpair", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn two small Linux machines into one highly available NAT gateway."""


def entry(command: click.Command = cli) -> NoReturn:
    """Run the process's command line and exit with the code of `run`."""
    _open_missing_streams()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup's SIG_IGN stays
            signal.signal(number, _unwind)
    sys.exit(run(sys.argv[1:], command))


def _open_missing_streams() -> None:
    """Replace streams that the caller closed (`natpair … >&-`); Python has None for them. Stdout gets a broken pipe."""
    # The streams live as long as the process.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stdout is None:
        reading, writing = os.pipe()
        os.close(reading)
        sys.stdout = open(writing, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def run(argv: Sequence[str], command: click.Command = cli) -> int:
    """Run one command line and return its exit code. Print errors to stderr.

    A command that returns None gives exit code 0; one that returns an int gives that code.
    """
    try:
        code = _exit_code(command.main(args=list(argv), prog_name="natpair", standalone_mode=False))
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - the process boundary: every ending becomes an exit code
        return _explain(error)
    except KeyboardInterrupt:
        talk("natpair: interrupted")
        return INTERRUPTED
    return code


def _exit_code(result: object) -> int:
    return result if type(result) is int else 0


def _explain(error: Exception) -> int:
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if os.environ.get("NATPAIR_DEBUG"):
        traceback.print_exception(error)
    match error:
        case _ReaderGone():
            return _leave_quietly()
        case NatpairError():
            report_error(error)
            return error.exit_code
        case click.Abort():
            talk("natpair: interrupted")
            return INTERRUPTED
        case click.ClickException():
            error.show()
            return EX_USAGE
        case OSError():
            return _explain_os_error(error)
    return _explain_bug(error)


def _explain_os_error(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        return _leave_quietly()
    place = f"{error.filename}: " if error.filename else ""
    if error.errno in _CANNOT_WRITE:
        report_error(
            NatpairError(
                f"{place}{error.strerror}", fix="free some space or make it writable, then run this command again"
            )
        )
        return EX_CANTCREAT
    if isinstance(error, PermissionError):
        report_error(Unsupported(f"{place}{error.strerror}", fix="run this command again as root"))
        return Unsupported.exit_code
    return _explain_bug(error)


def _leave_quietly() -> int:
    """The reader of a pipe ended (`natpair … | head`). That is no error: suppress the interpreter's last flush."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return BROKEN_PIPE


def _explain_bug(error: Exception) -> int:
    report_error(
        NatpairError(
            f"this is a bug in natpair {natpair.__version__}: {type(error).__name__}: {error}",
            fix="run it again with NATPAIR_DEBUG=1, and open an issue with the output and your gateway.toml",
        )
    )
    return EX_SOFTWARE


def _unwind(number: int, _frame: FrameType | None) -> NoReturn:
    """Exit by an exception, so that `finally` and `with` clean up. Ignore a second signal meanwhile."""
    for other in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)
