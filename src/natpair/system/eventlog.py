"""A line of the node's event log from a program that is not the agent."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path


def append(log: Path, event: str, **fields: object) -> None:
    """Add one event to `log`; where there is no folder for it, or no room, the line is lost."""
    line = json.dumps({"time": time.time(), "node": "", "event": event, "transition": "", **fields})
    with contextlib.suppress(OSError), log.open("a") as file:
        file.write(line + "\n")
