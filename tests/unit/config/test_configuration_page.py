from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from natpair.config.load import load

ROOT = Path(__file__).parents[3]


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "configuration-page", "--check"], timeout=60, check=False)
    assert done.returncode == 0, "docs/configuration.md is stale: .venv/bin/python scripts/configuration-page"


def test_the_reference_is_a_gateway_of_its_own() -> None:
    reference = load(ROOT / "src" / "natpair" / "config" / "reference.toml")
    example = load(ROOT / "examples" / "gateway.toml")
    # These hold keys that are not set by default, and show an example.
    shown = ("health", "bgp", "linode", "cloud", "install", "node")
    same = reference.model_copy(update={name: getattr(example, name) for name in shown})
    assert same == example
