"""Every file of one node, in one call.

It has a module of its own because it imports every other renderer.
"""

from __future__ import annotations

from natpair.core.model import Gateway
from natpair.render.base import Capabilities, RenderedFile, Sides
from natpair.render.bird import bird_file, standby_file
from natpair.render.conntrackd import conntrackd_file
from natpair.render.guard import guard_file
from natpair.render.host import host_files
from natpair.render.keepalived import keepalived_file
from natpair.render.nftables import nftables_files
from natpair.render.services import unit_files

_NOTHING_SPECIAL = Capabilities()


def render_all(
    gateway: Gateway, node: str, *, capabilities: Capabilities = _NOTHING_SPECIAL
) -> tuple[RenderedFile, ...]:
    """All files of the node called `node`, sorted by path. The same input always gives the same bytes.

    Raise KeyError if the pair has no such node.
    """
    sides = Sides.of(gateway, node)
    files = (
        keepalived_file(sides, capabilities),
        conntrackd_file(sides),
        bird_file(sides),
        standby_file(),
        guard_file(sides),
        *nftables_files(sides),
        *host_files(sides),
        *unit_files(sides),
    )
    return tuple(sorted(files, key=lambda file: file.path))
