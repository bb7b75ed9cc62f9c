"""`natpair lab probe`: run the probe of `natpair cloud probe` on an emulated account."""

from __future__ import annotations

import click

from natpair.cli.commands.cloud_probe import run, with_options

_FABRICS = ("ignore-med", "load-share", "prefer-older")
_TOKEN = "any-word-that-stands-in-no-answer"  # noqa: S105 - no secret: an emulated account takes any word


@click.command(
    epilog="Example: natpair lab probe --name cloud --fabric ignore-med --yes. Before that, run natpair lab api --lab "
    "cloud in another terminal."
)
@click.option("--name", default="cloud", show_default=True, help="The lab whose emulated account is used.")
@click.option("--region", default="us-ord", show_default=True, help="The region that the report names.")
@click.option(
    "--fabric", type=click.Choice(_FABRICS), multiple=True, help="Behaviour of the lab's fabric; may be repeated."
)
@with_options
def command(name: str, region: str, fabric: tuple[str, ...], **given: object) -> int:
    """Run the probe on the emulated account of a lab, with the fabric behaviour that --fabric sets."""
    from natpair.errors import LabError
    from natpair.linode.token import Token
    from natpair.probe.run import Api
    from natpair.probe.site import LAB_PACE
    from natpair_lab.cli.probe_site import LabReach
    from natpair_lab.testbed import apirecord, netns
    from natpair_lab.testbed.fabric import Knobs

    record = apirecord.read(netns.LABS / name)
    if record is None or not record.alive:
        raise LabError(
            f"the lab {name} has no emulated account", fix=f"run natpair lab api --lab {name} in another terminal"
        )
    knobs = Knobs(**{knob.replace("-", "_"): True for knob in fabric})
    api = Api(f"{record.url}/v4", Token(_TOKEN))
    return run(api, region, given, f"the lab {name}", LAB_PACE, lambda _folder: LabReach(name, knobs))
