"""Shared by the cloud commands: API access, the lock, the key files on this machine, and the wording of a plan."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import stat
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from natpair.cli.output import say, symbols, table, talk
from natpair.errors import ConfigError, NotReady, Problem, Unsupported

if TYPE_CHECKING:
    from natpair.cloud.blockers import Remark
    from natpair.cloud.platform import PriceLine
    from natpair.config.auto import Draft
    from natpair.core.model import Gateway
    from natpair.linode.client import LinodeClient
    from natpair.linode.transport import Limits

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")

_KEY_BYTES = 32
_LOOK_SECONDS = 20.0
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what `work` returns; see `cli.running`."""
    from natpair.cli.running import run as run_until_told

    return run_until_told(work)


def file_argument(command: Command) -> Command:
    """Add the argument FILE, a gateway.toml on this machine."""
    return click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="gateway.toml")(command)


def json_option(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(command)


def yes_option(command: Command) -> Command:
    """Add --yes."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


def every_option(command: Command) -> Command:
    """Add --every SECONDS."""
    return click.option(
        "--every",
        type=click.FloatRange(0.05, 60),
        default=2.0,
        show_default=True,
        metavar="SECONDS",
        help="Time between two checks of work in progress.",
    )(command)


@asynccontextmanager
async def api_of(draft: Draft, *, only_look: bool = False) -> AsyncIterator[LinodeClient]:
    """Open the API that the file names, with the token from the file or from the environment.

    `only_look`: nothing is in progress, so give up soon if the API does not answer.
    """
    from natpair.linode.transport import Limits

    if only_look:
        talk(f"reading the account at {draft.gateway.linode.api_url}")
    async with client_of(draft.gateway, Limits(total_seconds=_LOOK_SECONDS) if only_look else None) as client:
        yield client


@asynccontextmanager
async def client_of(gateway: Gateway, limits: Limits | None = None) -> AsyncIterator[LinodeClient]:
    """Linode's API, with the URL and token from the configuration. Raise Unsupported if there is no token to read."""
    from natpair.linode.client import LinodeClient
    from natpair.linode.token import read_token
    from natpair.linode.transport import Transport

    linode = gateway.linode
    token = read_token(Path(linode.token_file) if linode.token_file else None, os.environ)
    async with Transport(token, base_url=linode.api_url, plain_http=linode.plain_http, limits=limits) as transport:
        yield LinodeClient(transport)


@contextmanager
def only_one(file: Path) -> Iterator[None]:
    """Hold the lock on the file's folder; raise NotReady while another process holds it."""
    # On the folder: the file itself is replaced on the way, and a lock file would be left behind.
    descriptor = os.open(file.resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        fix = "wait until it has ended, then run this command again"
        raise NotReady(f"another natpair cloud command is running in {file.resolve().parent}", fix=fix) from None
    finally:
        os.close(descriptor)


def saver(file: Path) -> Callable[[str], None]:
    """Return a function that replaces the file's text atomically and keeps its mode."""
    from natpair.system.files import write_atomic

    target = file.resolve()

    def save(text: str) -> None:
        write_atomic(target, text, mode=stat.S_IMODE(target.stat().st_mode))

    return save


def key_path(file: Path, draft: Draft) -> Path:
    """Path of the pair's key on this machine."""
    given = draft.gateway.cloud.key_file
    return Path(given).expanduser() if given else file.resolve().parent / "pair.key"


def existing_key(path: Path) -> str | None:
    """Read the pair's key; None if it does not exist yet. Raise Unsupported if others can read it or it is empty."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    if mode & _OTHERS:
        raise Unsupported(f"{path}: other users can read the pair's key", fix=f"chmod 600 {path}")
    if not text.strip():
        raise Unsupported(f"{path}: the pair's key is empty", fix="remove the file; natpair creates a new key")
    return text


def ensured_key(path: Path) -> str:
    """Return the pair's key; create it if it does not exist."""
    from natpair.system.files import write_atomic

    text = existing_key(path)
    if text is None:
        text = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n"
        write_atomic(path, text, mode=0o600)
        talk(f"created the pair's key: {path}")
    return text


def authorized_keys(draft: Draft) -> tuple[str, ...]:
    """The ssh public keys that may log in. Raise ConfigError if their file cannot be used."""
    given = draft.gateway.cloud.authorized_keys_file
    if given is None:
        return ()
    try:
        lines = Path(given).expanduser().read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise _bad_keys(given, error.strerror or "cannot be read") from None
    keys = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not keys or any("PRIVATE KEY" in key for key in keys):
        raise _bad_keys(given, "contains no public keys, or a private key")
    return keys


def _bad_keys(given: str, message: str) -> ConfigError:
    accepted = "a file with ssh public keys, one per line"
    return ConfigError("gateway.toml", [Problem("cloud.authorized_keys_file", given, message, accepted)])


def confirm(question: str, *, yes: bool) -> None:
    """Ask `question`; abort if the answer is no. Raise UsageError if stdin is not a terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("stdin is not a terminal: read the plan, then run this again with --yes")
    click.confirm(question, default=False, abort=True, err=True)


def remark_lines(found: Iterable[Remark], sign: str) -> list[str]:
    """Remarks as text, each with its fix on a line of its own."""
    return [f"{sign} {one.text}" + (f"\n    {one.fix}" if one.fix else "") for one in found]


def plain_remarks(found: Iterable[Remark]) -> list[dict[str, str]]:
    """Remarks for JSON."""
    return [{"text": one.text, "fix": one.fix} for one in found]


def price_lines(prices: Iterable[PriceLine]) -> list[str]:
    """The monthly price as text: one line per item, then the total."""
    lines = list(prices)
    rows = [(f"  {one.count} x {one.what}", _money(one.monthly), one.note) for one in lines]
    total = sum(one.monthly or 0.0 for one in lines)
    unknown = [one.what for one in lines if one.monthly is None]
    rest = f", plus items without a price in the API: {', '.join(unknown)}" if unknown else ""
    return ["price per month, before tax:", table(rows), f"  total {_money(total)}{rest}"]


def _money(amount: float | None) -> str:
    return "no price in the API" if amount is None else f"${amount:.2f}"


def plain_prices(prices: Iterable[PriceLine]) -> list[dict[str, object]]:
    """The monthly price for JSON; null if the API gives none."""
    return [{"what": one.what, "count": one.count, "monthly": one.monthly, "note": one.note} for one in prices]


def say_remarks(blockers: Iterable[Remark], others: Iterable[Remark]) -> None:
    """Print the blockers, then the other remarks."""
    for line in [*remark_lines(blockers, symbols().bad), *remark_lines(others, symbols().warning)]:
        say(line)
