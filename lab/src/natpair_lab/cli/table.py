"""What natpair-lab adds to `natpair --help`; an entry point names this table (lab/pyproject.toml)."""

from __future__ import annotations

from natpair.cli.main import CommandEntry

COMMANDS = {
    "lab": CommandEntry("natpair_lab.cli.lab", "A complete test network on one machine."),
    "drill": CommandEntry("natpair_lab.cli.drill", "A measured failover, with a report."),
    "bench": CommandEntry("natpair_lab.cli.bench", "Side by side with the classic architecture."),
    "chaos": CommandEntry("natpair_lab.cli.chaos", "Inject faults and check the outcome independently."),
}
