"""The gateways whose files are kept as golden files, for the golden tests and for the checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from natpair.config.load import load
from natpair.core.model import Gateway
from natpair.core.rendered import RenderedFile
from natpair.render.bundle import render_all
from samples import EXAMPLE

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """One gateway.toml and the folder that holds what each of its nodes gets."""

    name: str
    config: Path

    def gateway(self) -> Gateway:
        return load(self.config)

    def bundles(self) -> dict[str, tuple[RenderedFile, ...]]:
        known = self.gateway()
        return {node.name: render_all(known, node.name) for node in known.node}

    def golden(self, node: str, file: RenderedFile) -> Path:
        return FOLDER / self.name / node / file.path.lstrip("/")


CASES = (Case("example", EXAMPLE), Case("two-fips", FOLDER / "two-fips" / "gateway.toml"))
