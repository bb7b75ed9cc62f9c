"""User data: what a new Linode reads at its first boot, in one document of less than 16 KiB.

Pure. It is `#cloud-config` and one JSON document, because JSON is unambiguous YAML. It can be given only when a Linode
is created or rebuilt, so it contains everything: the whole configuration, the pair's key (ADR 0011), the network, and
the script that installs natpair and waits until the pair is ready.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from importlib.resources import files

from natpair.cloud.network import Seed, Uplink, network_files
from natpair.core import paths
from natpair.core.model import Gateway, Node
from natpair.errors import ConfigError, Problem

MOST_BYTES = 16_383  # live attempts failed at 16,384, whatever the documents say
INSTALLER = f"{paths.ETC}/install.sh"
NETWORK_SCRIPT = f"{paths.ETC}/network.sh"

_FIRST_LINE = "#cloud-config\n"


def node_user_data(gateway: Gateway, text: str, key: str, node: Node, uplink: Uplink) -> bytes:
    """The user data of one node. `text` is gateway.toml as the user wrote it, `key` the content of pair.key.

    Raise ConfigError if `install.source` is not set or if the user data is too large.
    """
    if gateway.install.source is None:
        problem = Problem(
            "install.source", "", "is missing", "a URL of natpair's wheel or archive, or a path in the image"
        )
        raise ConfigError("gateway.toml", [problem])
    seeds = (
        Seed(paths.CONFIG, text),
        Seed(gateway.heartbeat.key_file, key),
        Seed(NETWORK_SCRIPT, network_script()),
        Seed(INSTALLER, install_script()),
        *network_files(node, uplink),
    )
    run = ["sh", INSTALLER, node.name, gateway.install.source, gateway.install.sha256 or ""]
    return cloud_config(node.name, seeds, [run])


def install_script() -> str:
    """The script that makes a fresh machine a node, `sh install.sh NODE SOURCE [SHA256]`."""
    return _script("install.sh")


def network_script() -> str:
    """The script that configures a machine's static network, `sh network.sh`; it runs first at the first boot."""
    return _script("network.sh")


def _script(name: str) -> str:
    return files("natpair.cloud").joinpath(name).read_text(encoding="utf-8")


def cloud_config(hostname: str, seeds: Sequence[Seed], run: Sequence[Sequence[str]]) -> bytes:
    """A cloud-config that writes `seeds` and then runs each command of `run` once. Raise ConfigError if too long."""
    document = {
        "hostname": hostname,
        "write_files": [_written(seed) for seed in seeds],
        "runcmd": [list(argv) for argv in run],
    }
    made = (_FIRST_LINE + json.dumps(document, separators=(",", ":")) + "\n").encode()
    if len(made) > MOST_BYTES:
        message = f"makes the user data too large: {len(made)} bytes, but at most {MOST_BYTES} are allowed"
        raise ConfigError(
            "gateway.toml", [Problem("", "", message, "a shorter gateway.toml, such as one with fewer comments")]
        )
    return made


def _written(seed: Seed) -> dict[str, str]:
    entry = {"path": seed.path, "permissions": "0600"}
    # No time in the gzip header, so that the same input always gives the same bytes.
    packed = base64.b64encode(gzip.compress(seed.text.encode(), mtime=0)).decode()
    if len(packed) < len(json.dumps(seed.text)):
        return entry | {"encoding": "gz+b64", "content": packed}
    return entry | {"content": seed.text}
