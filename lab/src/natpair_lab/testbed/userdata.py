"""Reads a Linode's user data: the files that cloud-init would write, and the node it is for.

The bytes are `#cloud-config` and one JSON document (JSON is YAML). Only `write_files` and `hostname` are used. Packages
and scripts belong to the image, which in the lab is the machine itself with natpair installed. Pure.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from natpair.config.load import parse
from natpair.core import paths
from natpair.core.model import Gateway
from natpair.errors import ConfigError, LabError

HEADER = b"#cloud-config\n"
PROBE = f"{paths.ETC}/probe.toml"
"""In place of gateway.toml: the machine gets its cables and addresses from it, and starts no service."""

_CONFIGS = (paths.CONFIG, PROBE)
_ROOTS = ("/etc/", "/var/lib/")
_DEFAULT_MODE = "0644"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SeedFile:
    """A file on the disk before the first boot."""

    path: str
    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Seed:
    """What turns a blank Linode into the node `node` of a pair. `digest` shows whether user data differ."""

    node: str
    gateway: Gateway
    text: str
    files: tuple[SeedFile, ...]
    digest: str

    def reaching(self, outside: str, inside: str) -> Seed:
        """This seed with the `linode.api_url` `outside`, which only this machine can reach, replaced by `inside`."""
        url = self.gateway.linode.api_url
        if not url.startswith(f"{outside}/") or "plain_http" in self.text:
            return self
        text = self.text.replace(f'"{url}"', f'"{inside}{url.removeprefix(outside)}"\nplain_http = true')
        files = tuple(replace(file, content=text.encode()) if file.path in _CONFIGS else file for file in self.files)
        return replace(self, gateway=_gateway(text, paths.CONFIG), text=text, files=files)


def read(user_data: bytes) -> Seed | None:
    """The seed in `user_data`; None if it contains nothing of natpair's. LabError with what is wrong with it."""
    document = _document(user_data)
    files = {file.path: file for file in _files(document)}
    config = files.get(paths.CONFIG) or files.get(PROBE)
    if config is None:
        return None
    text = config.content.decode(errors="replace")
    gateway = _gateway(text, config.path)
    _require_key(gateway, files)
    return Seed(_node(document, gateway), gateway, text, tuple(files.values()), digest(user_data))


def digest(user_data: bytes) -> str:
    """A digest that identifies the user data."""
    return hashlib.sha256(user_data).hexdigest()


def _document(user_data: bytes) -> dict[str, Any]:
    if not user_data.startswith(HEADER):
        return {}
    try:
        document = json.loads(user_data.removeprefix(HEADER))
    except ValueError:
        return {}  # YAML that is not JSON: made by somebody else
    return document if isinstance(document, dict) else {}


def _files(document: dict[str, Any]) -> Iterator[SeedFile]:
    listed = document.get("write_files", [])
    for entry in listed if isinstance(listed, list) else []:
        try:
            path = posixpath.normpath(entry["path"])
            mode = int(str(entry.get("permissions", _DEFAULT_MODE)), 8)
            content = _decoded(entry.get("content", ""), entry.get("encoding", ""))
        except (TypeError, KeyError, ValueError, AttributeError, OSError, EOFError) as error:
            raise LabError(f"the user data has a write_files entry that cloud-init could not use: {error}") from error
        if path.startswith(_ROOTS):
            yield SeedFile(path, content, mode)


def _decoded(content: str, encoding: str) -> bytes:
    match encoding:
        case "" | "text/plain":
            return content.encode()
        case "b64" | "base64":
            return base64.b64decode(content, validate=True)
        case "gz+b64" | "gzip+base64" | "gz+base64" | "gzip+b64":
            unpacked = gzip.decompress(base64.b64decode(content, validate=True))
            if len(unpacked) > _MOST_BYTES:
                raise ValueError(f"{len(unpacked)} bytes are too many")
            return unpacked
    raise binascii.Error(f"the encoding {encoding} is unknown")


def _gateway(text: str, path: str) -> Gateway:
    try:
        return parse(text, source=path)
    except ConfigError as error:
        problems = "; ".join(f"{one.key}: {one.message}" for one in error.problems)
        raise LabError(f"{path} in the user data cannot be used: {problems}") from error


def _require_key(gateway: Gateway, files: dict[str, SeedFile]) -> None:
    key = gateway.heartbeat.key_file
    if paths.CONFIG in files and key not in files:
        raise LabError(f"the user data has no {key}, without which the agents do not hear each other")


def _node(document: dict[str, Any], gateway: Gateway) -> str:
    name = document.get("hostname")
    named = next((file for file in _files(document) if file.path == "/etc/hostname"), None)
    if name is None and named is not None:
        name = named.content.decode(errors="replace").strip()
    names = [node.name for node in gateway.node]
    if name not in names:
        raise LabError(f"the user data's hostname is {name}, which is no node of its pair: {' or '.join(names)}")
    return str(name)
