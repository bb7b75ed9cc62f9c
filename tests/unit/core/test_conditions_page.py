"""The page of conditions is made from the catalogue and may not be stale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "conditions-page", "--check"], timeout=60, check=False)
    assert done.returncode == 0, "docs/conditions.md is stale: .venv/bin/python scripts/conditions-page"
