"""Linode's own table of operations, as it is baked into linode-cli, read in a process of its own.

The table is a pickle of linode-cli's classes; unpickling imports the program, which reads configuration and sets up
logging, so that happens elsewhere and comes back as JSON.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_READ = """
import json, pickle
from pathlib import Path
import linodecli

def argument(one):
    return {
        "path": one.path,
        "type": one.datatype,
        "item": one.item_type,
        "required": bool(one.required),
        "read_only": bool(one.read_only),
    }

found = []
for group in pickle.loads((Path(linodecli.__file__).parent / "data-3").read_bytes()).values():
    if isinstance(group, dict):
        for one in group.values():
            model = one.response_model
            found.append({
                "method": one.method.upper(),
                "path": one.url_path.replace("/{apiVersion}", "", 1),
                "arguments": [argument(a) for a in getattr(one.request, "attrs", None) or []],
                "filters": [a.name for a in model.attrs if a.filterable] if model else [],
                "attributes": {a.name: [a.datatype, a.item_type] for a in model.attrs} if model else {},
                "paged": bool(model and model.is_paginated),
            })
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Argument:
    path: str
    type: str
    item: str | None
    required: bool
    read_only: bool = False


@dataclass(frozen=True)
class Published:
    """One operation: `attributes` of the answer and `filters` are dotted names; `types` those of the attributes."""

    method: str
    path: str
    arguments: tuple[Argument, ...]
    filters: frozenset[str]
    attributes: frozenset[str]
    paged: bool
    types: Mapping[str, tuple[str, str | None]]

    def answers(self, method: str, path: str) -> bool:
        pattern = re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(self.path))
        return self.method == method and re.fullmatch(pattern, path) is not None


def published(home: Path) -> tuple[Published, ...]:
    """The whole table; `home` keeps linode-cli from reading anybody's configuration."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LINODE_CLI_TOKEN": "none",
        "LINODE_CLI_TEST_MODE": "1",
    }
    argv = [sys.executable, "-c", _READ]
    result = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return tuple(
        Published(
            one["method"],
            one["path"],
            tuple(Argument(**argument) for argument in one["arguments"]),
            frozenset(one["filters"]),
            frozenset(one["attributes"]),
            one["paged"],
            {name: (kind, item) for name, (kind, item) in one["attributes"].items()},
        )
        for one in json.loads(result.stdout)
    )
