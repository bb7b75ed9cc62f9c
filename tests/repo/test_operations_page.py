"""docs/operations.md: its natpair commands parse, and its uninstallation removes all that an installation leaves."""

from __future__ import annotations

import fnmatch
import re
import shlex

import click
import pytest

from commands import parse
from natpair.config.load import load
from natpair.render.bundle import render_all
from natpair.render.services import services
from repo.rules import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()
UNINSTALL = PAGE.partition("### Uninstall\n")[2].partition("\n## ")[0]
FOLDERS = ("/etc/natpair/", "/var/lib/natpair/")


def commands(page: str) -> list[str]:
    """What the page has in backticks and begins with natpair; what only sketches a command is left out."""
    found = re.findall(r"`(natpair\s[^`]+)`", page) + re.findall(r"^ *(natpair .+)$", page, re.MULTILINE)
    return [one for one in (" ".join(part.split()) for part in found) if not re.search("[|…]|--version", one)]


def removed(text: str) -> list[str]:
    """The paths, or patterns of paths, that the `rm` lines of a text delete."""
    return [word for line in re.findall(r"^ *rm (.+)$", text, re.MULTILINE) for word in line.split() if word[0] == "/"]


def left_behind(text: str) -> list[str]:
    """The files of a node that stay when the `rm` lines of `text` have run."""
    gateway = load(ROOT / "examples" / "gateway.toml")
    paths = [file.path for file in render_all(gateway, gateway.node[0].name)]
    gone = removed(text)
    whole = [folder for folder in FOLDERS if folder.rstrip("/") in gone]
    return [
        path
        for path in paths
        if not path.startswith(tuple(whole)) and not any(fnmatch.fnmatch(path, pattern) for pattern in gone)
    ]


@pytest.mark.parametrize("line", commands(PAGE))
def test_every_command_of_the_page_parses(line: str) -> None:
    parse(shlex.split(line.split(" > ")[0])[1:])


def test_a_command_that_does_not_exist_is_found() -> None:
    (line,) = commands("Run `natpair\n   drian` and `natpair lab status | exec`.")
    with pytest.raises(click.UsageError):
        parse(shlex.split(line)[1:])


def test_an_uninstalled_node_has_no_file_of_natpair() -> None:
    assert left_behind(UNINSTALL) == []


def test_a_file_that_stays_is_found() -> None:
    assert left_behind(UNINSTALL.replace("/etc/needrestart/", "/etc/other/")) == [
        "/etc/needrestart/conf.d/natpair.conf"
    ]
    assert any(path.endswith("gateway.toml") or "/generated/" in path for path in left_behind(""))


def test_every_service_is_disabled() -> None:
    gateway = load(ROOT / "examples" / "gateway.toml")
    assert [one.name for one in services(gateway, "nat-a") if one.name not in UNINSTALL] == []
