"""`natpair cloud probe`: measure on a real account what no document says, and remove everything afterwards."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.output import emit_json, say, symbols, talk
from natpair.errors import NatpairError

if TYPE_CHECKING:
    from natpair.core.model import Linode
    from natpair.probe.report import Report
    from natpair.probe.run import Api, Probe
    from natpair.probe.site import Pace, Reach

LEFT_BEHIND = 75
_IMAGE = "linode/debian12"  # as in probe.machines, whose import is too heavy for --help
_OPTIONS = (
    click.option("--type", "plan", help="Type of Linode [default: the cheapest]"),
    click.option("--image", default=_IMAGE, show_default=True, help="Debian or Ubuntu image with cloud-init."),
    click.option(
        "--repeats",
        type=click.IntRange(1, 100),
        help="Number of runs of each contest; each rerouting is timed twice as often.",
    ),
    click.option("--power-cuts", type=click.IntRange(0, 20), help="Number of power cuts."),
    click.option("--report", "file", type=click.Path(path_type=Path), help="File for the report, as JSON."),
    click.option("--mask", is_flag=True, help="Mask public addresses in the report and the output."),
    click.option("--yes", is_flag=True, help="Do not ask."),
    click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else."),
)


def with_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options that a probe takes, on Linode and in the lab."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(
    epilog="Example: natpair cloud probe --region us-ord --token-file token. It takes 10 to 15 minutes and costs a few "
    "cents. To try it without an account: natpair lab probe."
)
@click.option("--region", help="Region to measure [default: that of --config]")
@click.option("--config", type=click.Path(path_type=Path), help="gateway.toml with the region and [linode] to use.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), help="File with the API token [default: from the environment]"
)
@click.option("--api-url", help="URL of the API, if not Linode's own.")
@click.option("--clean-up", is_flag=True, help="Only remove what an earlier probe left behind.")
@with_options
def command(clean_up: bool, **given: object) -> int:
    """Create two small Linodes, measure the region's network, recommend settings, and remove everything.

    It first shows what it will create and the price, and asks. It removes everything at the end, also after Ctrl-C or
    a failure.
    """
    from natpair.probe.site import Pace
    from natpair.probe.ssh import SshReach

    api, region = _account(given)
    if clean_up:
        return _clean_up(api, _base(), yes=bool(given["yes"]))
    if not region:
        raise click.UsageError("give --region, or --config with a file that sets bgp.region")
    return run(api, region, given, "Linode", Pace(), lambda folder: SshReach(folder, "eth0", "eth1"))


def _account(given: dict[str, object]) -> tuple[Api, str]:
    """The account's API with its token, and the region."""
    from natpair.linode.token import read_token
    from natpair.probe.run import Api

    settings, region = _settings(given["config"])
    region = str(given["region"] or region)
    file = given["token_file"] or settings.token_file
    url = str(given["api_url"] or settings.api_url)
    return Api(url, read_token(Path(str(file)) if file else None, os.environ), settings.plain_http), region


def _settings(config: object) -> tuple[Linode, str]:
    from natpair.config.load import load
    from natpair.core.model import Linode

    if not isinstance(config, Path):
        return Linode(), ""
    gateway = load(config)
    return gateway.linode, gateway.bgp.region or ""


def _progress(text: str) -> None:
    talk(f"  {symbols(sys.stderr).bullet} {text}")


def _base() -> Path:
    from natpair.probe.record import state_folder

    return state_folder(dict(os.environ))


def _pace(pace: Pace, given: Mapping[str, object]) -> Pace:
    changes = {name: given[name] for name in ("repeats", "power_cuts") if given[name] is not None}
    numbers = {name: int(str(value)) for name, value in changes.items()}
    timings = {"timings": 2 * numbers["repeats"]} if "repeats" in numbers else {}
    return replace(pace, **numbers, **timings)


def run(
    api: Api, region: str, given: Mapping[str, object], site: str, pace: Pace, reach: Callable[[Path], Reach]
) -> int:
    """Show what the probe creates, ask, measure, write and print the report. Return the exit code.

    `given` are the options of `with_options`, `site` names the place in the report, `reach` connects to the machines.
    """
    from natpair.probe.run import Order, Probe, price

    plan = None if given["plan"] is None else str(given["plan"])
    offer = asyncio.run(price(api, region, plan))
    talk("The probe creates:")
    for line in offer.words():
        _progress(line)
    if not given["yes"]:
        click.confirm("Go ahead?", abort=True, err=True)
    order = Order(region, offer.plan, str(given["image"]), _pace(pace, given), site)
    began = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "")
    file = Path(str(given["file"] or f"natpair-probe-{region}-{began.replace(':', '')}.json"))
    file.touch()  # fails now if the report cannot be written, not after the measurements
    probe = Probe(api, order, _base(), began, reach, _progress)
    return _run(probe, file, mask=bool(given["mask"]), as_json=bool(given["as_json"]))


def _run(probe: Probe, file: Path, *, mask: bool, as_json: bool) -> int:
    ended = "interrupted"
    try:
        probe.run()
        ended = "complete"
    except NatpairError as error:
        ended = f"failed: {error.message}"
        raise
    finally:
        report = probe.report(ended)
        _write(report, file, mask=mask)
        if report.circumstances.left_behind:
            talk(f"natpair: left behind: {', '.join(report.circumstances.left_behind)}")
            talk(f"  {symbols(sys.stderr).arrow} natpair cloud probe --clean-up")
    _show(report, mask=mask, as_json=as_json)
    return LEFT_BEHIND if report.circumstances.left_behind else 0


def _write(report: Report, file: Path, *, mask: bool) -> None:
    import json

    file.write_text(json.dumps(report.document(mask=mask), indent=2) + "\n")
    talk(f"the report is in {file}")


def _show(report: Report, *, mask: bool, as_json: bool) -> None:
    from natpair.probe.report import lines

    if as_json:
        emit_json(report.document(mask=mask))
        return
    for line in lines(report, mask=mask):
        say(line)


def _clean_up(api: Api, base: Path, *, yes: bool) -> int:
    from natpair.probe.machines import summary
    from natpair.probe.run import clean_up, leftovers

    found = leftovers(api, base)
    if not found:
        talk(f"There is no record in {base} of a probe of this account that left anything behind.")
        return 0
    talk("These probes have ended without removing everything:")
    for record in found:
        _progress(summary(record))
    if not yes:
        click.confirm("Remove everything that has their stamps?", abort=True, err=True)
    clean_up(api, found, _progress)
    say(f"removed what {len(found)} probe{'s' if len(found) != 1 else ''} left behind")
    return 0
