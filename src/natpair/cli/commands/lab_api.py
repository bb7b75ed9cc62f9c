"""`natpair lab api`: the Linode API emulator alone, for clients and for people who want to try things."""

from __future__ import annotations

import asyncio

import click

from natpair.cli.output import say, talk


@click.command(
    epilog="Example: natpair lab api --port 18080, and elsewhere: LINODE_CLI_TOKEN=any "
    "LINODE_CLI_API_HOST=127.0.0.1:18080 LINODE_CLI_API_SCHEME=http linode-cli regions list"
)
@click.option("--port", type=click.IntRange(0, 65535), default=18080, show_default=True, help="0 takes a free one.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600),
    default=2.0,
    show_default=True,
    help="How long provisioning and booting take.",
)
def command(port: int, seconds: float) -> None:
    """Serve an empty account on this machine until interrupted. Needs no root, creates nothing real."""
    asyncio.run(_serve(port, seconds))


async def _serve(port: int, seconds: float) -> None:
    from natpair.emulator.api import Api
    from natpair.emulator.app import Emulator
    from natpair.emulator.state import Store, Timing
    from natpair.errors import LabError

    timing = Timing(provision_seconds=seconds, boot_seconds=seconds, shutdown_seconds=seconds / 2)
    emulator = Emulator(Api(Store(timing=timing)))
    try:
        async with emulator.serving("127.0.0.1", port) as url:
            say(f"{url}/v4")
            talk("Any word is a token with every scope. Faults: see POST /_emulator/faults. Ctrl-C ends it.")
            await asyncio.Event().wait()
    except OSError as error:
        raise LabError(
            f"cannot listen on 127.0.0.1:{port}: {error.strerror or error}", cure="choose another --port"
        ) from error
