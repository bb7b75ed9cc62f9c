"""`natpair render FILE --node NAME`: write the files of one node to a folder or to stdout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli import complete
from natpair.cli.named import in_its_file
from natpair.cli.output import emit_json, say, talk

if TYPE_CHECKING:
    from natpair.render.base import RenderedFile


@click.command(name="render", epilog="Example: natpair render examples/gateway.toml --node nat-a --out /tmp/nat-a")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--node",
    required=True,
    metavar="NAME",
    help="The node whose files are written.",
    shell_complete=complete.nodes_in_file,
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write below this folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@in_its_file
def command(file: Path, node: str, out: Path | None, as_json: bool) -> None:
    """Write the files that `natpair apply` would put on node NAME."""
    from natpair.config.load import find_node, load
    from natpair.render.bundle import render_all

    gateway = load(file)
    files = render_all(gateway, find_node(gateway, name=node).name)
    if out is not None:
        _write_below(out, files)
    if as_json:
        listed = [{"path": f.path, "mode": f"{f.mode:04o}", "text": f.text} for f in files]
        emit_json({"schema": "natpair/render/v1", "node": node, "files": listed})
    elif out is None:
        _print(files)
    else:
        talk(f"wrote {len(files)} files below {out}")


def _print(files: Sequence[RenderedFile]) -> None:
    for file in files:
        say(f"### {file.path} (mode {file.mode:04o})")
        say(file.text)


def _write_below(folder: Path, files: Sequence[RenderedFile]) -> None:
    from natpair.system.files import write_atomic

    for file in files:
        target = folder / file.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, file.text, mode=file.mode)
