"""`natpair lab api`: run the emulator of the Linode API, alone or with its Linodes as hosts of a lab."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import click

from natpair.cli.output import say, symbols, talk

if TYPE_CHECKING:
    from natpair_lab.emulator.doors import Doors
    from natpair_lab.emulator.state import Store, Timing
    from natpair_lab.testbed.cloudlab import CloudLab

_HOST = "127.0.0.1"


@click.command(
    epilog="Example: natpair lab api --port 18080, and elsewhere: LINODE_CLI_TOKEN=any "
    "LINODE_CLI_API_HOST=127.0.0.1:18080 LINODE_CLI_API_SCHEME=http linode-cli regions list. With machines: "
    "natpair lab api --lab cloud, and elsewhere: natpair cloud apply, natpair lab status --name cloud."
)
@click.option("--lab", "lab_name", metavar="NAME", help="Boot the Linodes as hosts of the lab NAME. Needs root.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=18080, show_default=True, help="Port; 0 selects a free one."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600),
    default=2.0,
    show_default=True,
    help="Minimum time of provisioning and of booting.",
)
def command(lab_name: str | None, port: int, seconds: float) -> None:
    """Serve an emulated Linode account on this machine until interrupted.

    Without --lab it needs no root and boots no hosts. With --lab, two Linodes that have a VLAN and natpair's user data
    boot as the nodes of a lab. The lab is removed when the Linodes are deleted or this command ends. If the lab is
    running already, the account contains its pair, and the lab keeps running afterwards.
    """
    from natpair_lab.emulator.state import Store, Timing

    timing = Timing(provision_seconds=seconds, boot_seconds=seconds, shutdown_seconds=seconds / 2)
    if lab_name is None:
        _run(_serve(Store(timing=timing), port))
    else:
        _with_lab(lab_name, timing, port)


def _with_lab(name: str, timing: Timing, port: int) -> None:
    from natpair_lab.emulator.doors import Doors
    from natpair_lab.testbed.cloudlab import claim

    bullet = symbols(sys.stderr).bullet
    doors = Doors()
    # The World's thread has ended when asyncio.run returns; then `claim` removes what it made.
    with claim(name, timing, doors, lambda text: talk(f"{bullet} {text}")) as lab:
        _run(_serve(lab.store, port, lab, doors))


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """Serve until Ctrl-C, SIGTERM or SIGHUP, and exit with that signal's code."""
    told: list[int] = []

    async def until_told() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def end(number: int) -> None:
            told.append(number)
            if task is not None:
                task.cancel()

        # An exit raised inside the loop would leave a World's call running during the cleanup.
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, end, number)
        await serving

    try:
        asyncio.run(until_told())
    except asyncio.CancelledError:
        sys.exit(128 + told[0])


async def _serve(store: Store, port: int, lab: CloudLab | None = None, doors: Doors | None = None) -> None:
    from natpair.errors import LabError
    from natpair_lab.emulator.api import Api
    from natpair_lab.emulator.app import Emulator

    emulator = Emulator(Api(store), world=lab.world if lab else None)
    try:
        async with emulator.serving(_HOST, port) as url:
            if lab is None or doors is None:
                await _announce(url)
            else:
                async with doors.of(emulator):
                    await _in_lab(lab, url)
    except OSError as error:
        raise LabError(
            f"cannot listen on {_HOST}:{port}: {error.strerror or error}", fix="choose another --port"
        ) from error


async def _in_lab(lab: CloudLab, url: str) -> None:
    try:
        await asyncio.to_thread(lab.world.begin)
        lab.served_at(url)
        await _announce(url)
    finally:
        await asyncio.to_thread(lab.world.stop)


async def _announce(url: str) -> None:
    """Print the address, and serve forever."""
    say(f"{url}/v4")
    talk("Every token is accepted and has all scopes. To inject faults: POST /_emulator/faults. Stop with Ctrl-C.")
    await asyncio.Event().wait()
