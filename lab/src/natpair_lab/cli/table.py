"""The commands that natpair-lab adds to `natpair --help`; an entry point names this table (lab/pyproject.toml)."""

from __future__ import annotations

from natpair.cli.main import CommandEntry

COMMANDS = {
    "lab": CommandEntry("natpair_lab.cli.lab", "Build a complete test network on one machine."),
    "drill": CommandEntry("natpair_lab.cli.drill", "Measure a failover in the lab and print a report."),
    "bench": CommandEntry("natpair_lab.cli.bench", "Compare natpair with the classic architecture."),
    "chaos": CommandEntry("natpair_lab.cli.chaos", "Inject faults and check the outcome independently."),
}
