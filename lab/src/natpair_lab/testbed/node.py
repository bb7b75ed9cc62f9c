"""A lab node's disk: its content before the first boot, and the services that the node starts.

The disk survives a power cut as a real one does: /etc and /var/lib stay, /run and /tmp are new at each boot.
"""

from __future__ import annotations

import secrets
import shutil
import sys
from pathlib import Path

import natpair
from natpair.apply import generations
from natpair.core import paths
from natpair.core.model import Gateway
from natpair.core.rendered import RenderedFile
from natpair.render.bundle import render_all
from natpair.render.services import HANDOVER_SECONDS, Service, services
from natpair.system.machine import capabilities
from natpair_lab.testbed.init import STOP_SECONDS, Unit
from natpair_lab.testbed.userdata import Seed

PROGRAM = (sys.executable, "-m", "natpair")
"""natpair inside a node: the same interpreter and code as this process."""
_KEY_BYTES = 32
_TOKEN = "lab\n"  # noqa: S105 - no secret: an emulated API accepts any word
"""The user's own token never gets into a lab."""


def interpreter_folders() -> tuple[str, ...]:
    """The folders that a host must see to run natpair, wherever they are (also below /tmp); for a clone, all of it."""
    package = Path(natpair.__file__).parent.parent
    clone = package.parent
    return tuple(sorted({sys.prefix, sys.base_prefix, str(clone if (clone / "pyproject.toml").exists() else package)}))


def new_key() -> str:
    """A key for the agents' heartbeats, a new one for each lab."""
    return secrets.token_hex(_KEY_BYTES) + "\n"


def make_disk(folder: Path, gateway: Gateway, name: str, config_text: str, key: str) -> None:
    """Make the disk of node `name` in `folder`: a copy of /etc with the rendered files in it, an empty /var/lib."""
    etc = blank_disk(folder, name)
    put(etc, paths.CONFIG, config_text)
    put(etc, paths.KEY, key, 0o600)
    _install(folder, gateway, name, config_text)


def seed_disk(folder: Path, seed: Seed) -> None:
    """Make the disk of a node from its image and its user data, in place of any earlier disk.

    The user data's script would install natpair and run `natpair apply`; that is done here.
    """
    if folder.exists():
        shutil.rmtree(folder)
    blank_disk(folder, seed.node)
    for file in seed.files:
        lay(folder, file.path, file.content, file.mode)
    if is_installed(folder):
        _install(folder, seed.gateway, seed.node, seed.text)


def is_installed(disk: Path) -> bool:
    """Whether the node with this disk runs natpair: it has a gateway.toml."""
    return (disk / "etc" / Path(paths.CONFIG).relative_to("/etc")).exists()


def blank_disk(folder: Path, name: str) -> Path:
    """Make a disk in `folder` with nothing of natpair's but its empty state folder; returns the path of its /etc."""
    etc = folder / "etc"
    shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True, ignore=_not_ours)
    (folder / "var-lib" / "natpair").mkdir(parents=True)
    (folder / "log").mkdir()
    (etc / "hostname").write_text(f"{name}\n")
    return etc


def _install(disk: Path, gateway: Gateway, name: str, text: str) -> None:
    """Leave the node as after `natpair apply`: the rendered files, the applied copy, a generation to return to."""
    etc = disk / "etc"
    token = gateway.linode.token_file
    if token is not None and Path(token).is_relative_to("/etc"):
        put(etc, token, _TOKEN, 0o600)
    rendered = render_all(gateway, name, capabilities=capabilities())
    bundle = (RenderedFile(paths.CONFIG, text), RenderedFile(paths.APPLIED, text), *rendered)
    for file in bundle:
        put(etc, file.path, file.text, file.mode)
    state = disk / "var-lib"
    generations.save(bundle, "applied", folder=state / Path(paths.GENERATIONS).relative_to("/var/lib"))


def lay(disk: Path, path: str, content: bytes, mode: int) -> None:
    """Write a file below /etc or /var/lib to a node's disk. It is never world-readable before `mode` allows it."""
    top = {"/etc": disk / "etc", "/var/lib": disk / "var-lib"}
    under = next(root for root in top if Path(path).is_relative_to(root))
    target = top[under] / Path(path).relative_to(under)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # a copy of the machine's own file, or a link that leads out of the disk
    target.touch(mode=0o600)
    target.write_bytes(content)
    target.chmod(mode)


def put(etc: Path, path: str, text: str, mode: int = 0o644) -> None:
    """Write `text` to `path` of the node whose /etc is at `etc`."""
    target = etc / Path(path).relative_to("/etc")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=mode)
    target.chmod(mode)
    target.write_text(text)


def units(gateway: Gateway, name: str) -> tuple[Unit, ...]:
    """The services of node `name`, from the table that also makes the systemd units."""
    return tuple(_unit(service) for service in services(gateway, name, program=PROGRAM))


def _unit(service: Service) -> Unit:
    return Unit(
        name=service.name,
        argv=service.argv,
        oneshot=service.oneshot,
        notify=service.notify,
        watchdog_seconds=service.watchdog_seconds,
        restart_delay_ms=service.restart_delay_ms,
        environment=tuple(service.environment.items()),
        start_pre=service.start_pre,
        stop=service.stop,
        stop_post=service.stop_post,
        stop_seconds=HANDOVER_SECONDS if service.stop else STOP_SECONDS,
        rt_priority=service.rt_priority,
    )


def _not_ours(folder: str, names: list[str]) -> set[str]:
    # A natpair that is installed on the machine itself does not belong in the lab; pipes and sockets are no files.
    foreign = {"natpair"} & set(names) if folder == "/etc" else set()
    return foreign | {name for name in names if not _is_plain(Path(folder, name))}


def _is_plain(path: Path) -> bool:
    return path.is_symlink() or path.is_dir() or path.is_file()
