"""Builds a lab step by step: configuration, folders, namespaces, cables, hosts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import natpair
from natpair.config.load import load, parse
from natpair.core.model import Gateway, Profile
from natpair.errors import LabError
from natpair.system.files import write_atomic
from natpair_lab.testbed import apirecord, cards, designs, fabric, host, netns, node, preflight, state, teardown
from natpair_lab.testbed.fabric import FabricFiles, Knobs
from natpair_lab.testbed.init import Unit
from natpair_lab.testbed.routers import Provider
from natpair_lab.testbed.spawn import Spec
from natpair_lab.testbed.topology import FABRIC, Design, Host, HostKind, Topology

CONFIG = "gateway.toml"
NODES = "nodes"
_EXAMPLE = Path(natpair.__file__).parent.parent.parent / "examples" / CONFIG
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Configuration:
    """The gateway and its text, which goes into the nodes' /etc."""

    gateway: Gateway
    text: str


def configuration(path: Path | None, profile: Profile | None, design: Design = Design.NATPAIR) -> Configuration:
    """Read the gateway at `path` (the example if None), with another profile if one is given.

    The classic design has its own timers. They are those of the profile `conservative`, which it always gets.
    """
    if design is Design.CLASSIC:
        if profile not in (None, Profile.CONSERVATIVE):
            raise LabError(f"the classic design has no profile {profile}", fix="leave --profile out")
        profile = Profile.CONSERVATIVE
    if path is None and not _EXAMPLE.exists():
        raise LabError("this natpair was installed without its example", fix="natpair lab up --config FILE")
    source = path or _EXAMPLE
    gateway = load(source)
    text = source.read_text(encoding="utf-8")
    if profile is None or gateway.pair.profile is profile:
        return Configuration(gateway, text)
    text = with_profile(text, profile)
    changed = parse(text, source=f"{source} with profile {profile}")
    if changed.pair.profile is not profile:
        raise LabError(f"the profile cannot be changed in {source}", fix=f'write profile = "{profile}" below [pair]')
    return Configuration(changed, text)


def with_profile(text: str, profile: Profile) -> str:
    """The TOML `text` with `profile` in its [pair] table; everything else is unchanged."""
    head, table, rest = text.partition("[pair]")
    pair, bracket, others = rest.partition("\n[")
    pair = re.sub(r"^\s*profile\s*=.*\n?", "", pair, flags=re.MULTILINE)
    return f'{head}{table}\nprofile = "{profile}"{pair}{bracket}{others}'


def gateway_of(folder: Path) -> Gateway:
    """The gateway of the lab in `folder`."""
    return load(folder / CONFIG)


def name_option(name: str) -> str:
    """The option that makes a command use the lab called `name`."""
    return "" if name == "lab" else f" --name {name}"


def claim(folder: Path, name: str) -> None:
    """Take the lab's folder, so that no other process builds a lab of this name; LabError if it is taken."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        known = state.read(folder)
        what = "is up already" if known is not None and known.phase == state.UP else "is there already, half built"
        if known is None and apirecord.read(folder) is not None:
            what = "is there already, with an emulated account"
        raise LabError(f"a lab called {name} {what}", fix=f"natpair lab down{name_option(name)}") from None


def world(
    folder: Path,
    name: str,
    plan: Topology,
    source: Configuration,
    progress: Callable[[str], None],
    *,
    provider: Provider | None = None,
) -> None:
    """Make everything of `plan` and start every host. If this fails, teardown removes what was made.

    A `provider` is the fabric of an emulated account: its nodes are Linodes, which get disk and power later.
    """
    namespaces = tuple(netns.name_of(name, h.name) for h in plan.hosts)
    taken = set(namespaces) & netns.present()
    if taken:
        raise LabError(f"a network namespace {min(taken)} exists and is not ours", fix=f"ip netns del {min(taken)}")
    now = plan if provider is None else plan.without_nodes()
    provider = provider or Provider(source.gateway, Knobs(), fabric.all_shared(source.gateway))
    state.write(
        folder, state.LabState(name, state.BUILDING, namespaces, provider.knobs, provider.shares, design=plan.design)
    )
    if now is plan:
        progress("the disks of both nodes")
    _make_folders(folder, now, source)
    write_fabric(folder, provider.files)
    progress(f"{len(now.hosts)} network namespaces and {len(now.links)} cables")
    netns.prepare_folder()
    netns.create(name, [h.name for h in now.hosts])
    preflight.check_bridge_filter(namespaces[0])
    netns.make_switches(name, now)
    netns.wire(name, now, now.links)
    progress("clients, internet, fabric with its route servers" + (", and both nodes" if now is plan else ""))
    start(folder, name, now, now.hosts)


def boot(folder: Path, name: str, plan: Topology, node_name: str, late: str | None = None) -> None:
    """Power a node on again: new namespace, new cables, old disk; without the card that leads to the switch `late`."""
    netns.create(name, [node_name])
    machine, links = plan.host(node_name), plan.links_of(node_name)
    if late is not None:
        missing = cards.card_link(plan, node_name, late)
        links = tuple(link for link in links if link != missing)
        machine = replace(machine, ip_lines=cards.without(machine, missing.near.interface))
    netns.wire(name, plan, links)
    start(folder, name, plan, [machine])


def start(folder: Path, name: str, plan: Topology, hosts: Iterable[Host]) -> None:
    """Start the supervisors of `hosts`, all at once. LabError, after all have been tried, if one failed.

    Signals wait meanwhile: if nothing waited for a launcher, it could record its host too late.
    """
    failures: list[LabError] = []
    with teardown.undisturbed():
        begun = [(h, host.start_spawn(_spec(folder, name, plan, h))) for h in hosts]
        for h, child in begun:
            try:
                complaints = host.finish_spawn(h.name, child)
            except LabError as error:
                failures.append(error)
                continue
            with (_log_folder(folder, h) / "init.log").open("a") as log:
                log.write(complaints)
    if failures:
        raise failures[0]


def node_disk(folder: Path, name: str) -> Path:
    """The path of the disk of node `name`."""
    return folder / NODES / name


def write_fabric(folder: Path, files: FabricFiles) -> None:
    """Write the fabric's files to where its daemons read them."""
    for file_name, text in files.files.items():
        write_atomic(folder / FABRIC / file_name, text, sync=False)


def _make_folders(folder: Path, plan: Topology, source: Configuration) -> None:
    for part in (teardown.RECORDS, FABRIC, NODES):
        (folder / part).mkdir(exist_ok=True)
    (folder / CONFIG).write_text(source.text)
    key = node.new_key()
    for h in plan.hosts:
        if h.kind is HostKind.NODE:
            designs.PARTS[plan.design].make_disk(node_disk(folder, h.name), plan, h.name, source.text, key)
        else:
            _log_folder(folder, h).mkdir(parents=True)


def _log_folder(folder: Path, h: Host) -> Path:
    return folder / (NODES if h.kind is HostKind.NODE else "hosts") / h.name / "log"


def _spec(folder: Path, name: str, plan: Topology, h: Host) -> Spec:
    return Spec(
        name=h.name,
        netns=f"/run/netns/{netns.name_of(name, h.name)}",
        record=str(folder / teardown.RECORDS / h.name),
        log_folder=str(_log_folder(folder, h)),
        binds=_binds(folder, h),
        keep=node.interpreter_folders(),
        sysctls=h.sysctls,
        ip_lines=h.ip_lines,
        init={"units": [asdict(unit) for unit in _units(folder, plan, h)], "environment": _environment()},
    )


def _binds(folder: Path, h: Host) -> tuple[tuple[str, str], ...]:
    if h.kind is HostKind.NODE:
        disk = node_disk(folder, h.name)
        return ((str(disk / "etc"), "/etc"), (str(disk / "var-lib"), "/var/lib"))
    if h.kind is HostKind.FABRIC:
        return ((str(folder / FABRIC), fabric.FOLDER),)
    return ()


def _units(folder: Path, plan: Topology, h: Host) -> tuple[Unit, ...]:
    if h.kind is HostKind.NODE:
        return designs.PARTS[plan.design].units(plan.gateway, h.name, node_disk(folder, h.name))
    if h.kind is HostKind.FABRIC:
        follower = Path(__file__).with_name("follower.py")
        return fabric.units(plan.gateway, sys.executable, str(follower))
    return ()


def _environment() -> dict[str, str]:
    # PYTHONPATH: the nodes find an uninstalled source tree in the same way as we did.
    passed = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
    return {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **passed}
