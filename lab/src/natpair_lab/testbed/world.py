"""The lab as one object: builds, finds, breaks, queries and removes a lab.

Drills, the demo, the command line and tests use a lab only through `Lab`. All its state is on disk or in the kernel, so
two processes can use the same lab.
"""

from __future__ import annotations

import operator
import signal
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

from natpair.core.model import Gateway, Profile
from natpair.core.status import Role, Status, ready_pair
from natpair.errors import LabError
from natpair_lab.testbed import (
    apirecord,
    build,
    cards,
    designs,
    host,
    init,
    netns,
    preflight,
    state,
    switches,
    teardown,
    topology,
)
from natpair_lab.testbed.diagnosis import save_diagnosis
from natpair_lab.testbed.fabric import Knobs, Shares
from natpair_lab.testbed.routers import Provider, best_paths, heard, reconfigure, survivors
from natpair_lab.testbed.topology import Design
from natpair_lab.testbed.wait import wait_until

Link = Literal["vlan", "public"]
LinkState = Literal["up", "down", "dead"]

DEFAULT_NAME = "lab"
READY_SECONDS = 60.0
SESSION_SECONDS = 20.0


class Lab:
    """One running lab. `up` builds a new one, `attach` finds a running one."""

    def __init__(self, name: str, gateway: Gateway, design: Design = Design.NATPAIR) -> None:
        self.name = name
        self.gateway = gateway
        self.design = design
        self.parts = designs.PARTS[design]
        self.folder = netns.LABS / name
        self.topology = topology.build(gateway, design)
        first, second = gateway.node
        self.nodes = (first.name, second.name)

    @classmethod
    def up(
        cls,
        gateway_path: Path | None,
        *,
        name: str = DEFAULT_NAME,
        profile: Profile | None = None,
        design: Design = Design.NATPAIR,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Lab:
        """Build a lab from the file at `gateway_path`, or from the example if None, with the pair of `design` in it.

        LabError if a lab of that name is already up, Unsupported if this machine cannot run one, ConfigError for a bad
        file. After any error, and at Ctrl-C, everything made so far is removed.
        """
        preflight.check(name, design)
        source = build.configuration(gateway_path, profile, design)
        lab = cls(name, source.gateway, design)
        claimed = False
        try:
            with teardown.undisturbed():
                build.claim(lab.folder, name)
                claimed = True
            build.world(lab.folder, name, lab.topology, source, progress)
            for node in lab.nodes:
                lab._await_boot(node)
            lab._await_boot(topology.FABRIC)
            lab._write(phase=state.UP)
        except BaseException:
            if claimed:
                teardown.remove(lab.folder)
            raise
        return lab

    @classmethod
    def around(cls, name: str, source: build.Configuration, provider: Provider, progress: Callable[[str], None]) -> Lab:
        """A lab without its nodes, in a claimed folder. `testbed.power` gives them disk and power as Linodes."""
        lab = cls(name, source.gateway)
        build.world(lab.folder, name, lab.topology, source, progress, provider=provider)
        lab._await_boot(topology.FABRIC)
        lab._write(phase=state.UP)
        return lab

    @classmethod
    def attach(cls, name: str = DEFAULT_NAME) -> Lab:
        """Attach to the running lab called `name`; LabError if there is none."""
        folder = netns.LABS / name
        known = state.read(folder)
        api = apirecord.read(folder)
        if known is None and api is not None and api.alive:
            raise LabError(f"the account of the lab {name} has no machine yet", fix=f"create one by {api.url}/v4")
        if known is None or known.phase != state.UP:
            others = ", ".join(sorted(netns.labs() - {name}))
            there = f"; there is {others}: give its --name" if others else ""
            raise LabError(f"no lab called {name} is up{there}", fix=f"natpair lab up{build.name_option(name)}")
        return cls(name, build.gateway_of(folder), known.design)

    @staticmethod
    def remove(name: str = DEFAULT_NAME) -> bool:
        """Remove whatever exists of a lab called `name`, complete or half built. Returns whether there was anything."""
        folder = netns.LABS / name
        there = folder.is_dir()
        apirecord.stop(folder)
        teardown.remove(folder)
        return there

    def down(self) -> None:
        """Remove the lab and everything in it; nothing happens if it is already gone."""
        self.remove(self.name)

    # Processes

    def exec(
        self,
        host_name: str,
        argv: Sequence[str],
        *,
        timeout: float = 10,
        stdin: str | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` inside a host to its end; LabError if it takes too long or (with `check`) fails."""
        command = host.command(self.ref(host_name), argv)
        try:
            done = subprocess.run(
                command, input=stdin or "", capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{argv[0]} on {host_name} did not end within {timeout:g} s") from error
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise LabError(f"{argv[0]} on {host_name} exited {done.returncode}: {said}")
        return done

    def popen(self, host_name: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start `argv` inside a host. Signals to the result reach the program, which ends with its host."""
        return subprocess.Popen(host.command(self.ref(host_name), argv), **options)

    def ref(self, host_name: str) -> host.InitRef:
        """The host's supervisor; LabError if the host is powered off or unknown."""
        self.topology.host(host_name)
        found = host.read_record(self.folder / teardown.RECORDS / host_name)
        if found is None:
            raise LabError(f"{host_name} is powered off", fix=f"natpair lab fault boot {host_name}")
        return found

    def powered(self, host_name: str) -> bool:
        """Whether the host runs."""
        return host.read_record(self.folder / teardown.RECORDS / host_name) is not None

    def kill(self, node: str, service: str, number: signal.Signals | int) -> None:
        """Send a signal to all processes of a service; its supervisor treats the end as a crash."""
        host.control(self.ref(node), {"op": "kill", "service": service, "signal": str(int(number))})

    def service(self, node: str, service: str, action: Literal["start", "stop", "restart"]) -> None:
        """Do what systemctl does; returns when it is done (a start: when it has begun)."""
        host.control(self.ref(node), {"op": action, "service": service})

    def services(self, node: str) -> dict[str, Any]:
        """The supervisor's own report: "boot" and, for each of "services", its state, pid and starts."""
        return host.control(self.ref(node), {"op": "list"})

    # The pair

    def status(self, node: str) -> Status | None:
        """The status that the node's agent reports; None if it cannot be asked.

        A classic node has no agent: its status is derived from what is seen from outside.
        """
        record = host.read_record(self.folder / teardown.RECORDS / node)
        return None if record is None else self.parts.status(record, self.netns_of(node), self.gateway, node)

    def role(self, node: str) -> Role | None:
        """The role that the node reports; None if it cannot be asked."""
        status = self.status(node)
        return None if status is None else status.role

    def ready_pair(self) -> tuple[str, str] | None:
        """(active, standby) if the nodes are a ready pair now."""
        first, second = (self.status(node) for node in self.nodes)
        return None if first is None or second is None else ready_pair(first, second)

    def wait_ready(self, deadline_seconds: float = READY_SECONDS) -> tuple[str, str]:
        """Wait until one node is active and not changing, and the other is a synced standby: (active, standby)."""
        found = wait_until(
            self.ready_pair,
            deadline_seconds=deadline_seconds,
            what="a pair of one active node and one synced standby",
            diagnose=self.diagnose,
        )
        self.warm()
        return found

    def warm(self, seconds: float = 1.0) -> bool:
        """Ping the VIP and the internet from each client, so that no cache is cold. Returns whether all answered."""
        targets = [str(self.gateway.pair.vip.ip), str(self.topology.internet[0].ip)]
        argv = host.program("natpair_lab.testbed.ping", seconds, *targets)
        pings = [self.popen(name, argv, stdout=subprocess.DEVNULL) for name, _ in self.topology.clients]
        return [ping.wait() for ping in pings] == [0] * len(pings)

    def diagnose(self) -> str:
        """Save addresses, routes, rules and logs of all hosts to a file outside the lab.

        Returns a sentence that names it.
        """
        return f"look into {save_diagnosis(self.name, self.folder, self.topology)}"

    # Faults

    def power_cut(self, node: str) -> None:
        """Cut the node's power. Its cables are cut first, so that no last packet of an ending process gets out.

        Both cables die at once and keep their carrier. A node that saw its links go down one after the other could
        still send a last message on the second.
        """
        ref = self.ref(self.gateway.node_named(node).name)
        cut = self._record_dead(node)
        with ThreadPoolExecutor(len(topology.SWITCHES)) as both:
            list(both.map(lambda link: self._filter(link, cut[link]), topology.SWITCHES))
        host.end(ref)
        self.unplug(node)

    def unplug(self, node: str) -> None:
        """Remove the cables and the network namespace of a node after its end."""
        netns.unplug(self.name, self.topology.links_of(node))
        netns.remove([netns.name_of(self.name, node)])

    def take_out(self, node: str, link: Link) -> None:
        """Remove a node's card."""
        cards.take_out(self.name, self.topology, node, link)

    def put_in(self, node: str, link: Link, *, configured: bool = False) -> None:
        """Add a card: the same name and MAC, another index. It has no addresses unless `configured`, as at a boot."""
        self._apply_faults(link, operator.methodcaller("without", self.port(node, link)))
        cards.put_in(self.name, self.topology, node, link, configured=configured)

    def boot(self, node: str, *, late: Link | None = None) -> None:
        """Power on: new network namespace and cables, the disk as the node left it, and no card in the link `late`."""
        if self.powered(node):
            raise LabError(f"{node} is running", fix=f"natpair lab fault power-cut {node}")
        for link in topology.SWITCHES:
            self._apply_faults(link, operator.methodcaller("without", self.port(node, link)))
        try:
            build.boot(self.folder, self.name, self.topology, node, late)
        except LabError:
            self.switch_off(node)
            raise
        self._await_boot(node)

    def switch_off(self, node: str) -> None:
        """End a node at once in any state, such as after a failed boot; its disk stays."""
        left = host.read_record(self.folder / teardown.RECORDS / node)
        if left is not None:
            host.end(left)
        self.unplug(node)

    def link(self, node: str, link: Link, state: LinkState) -> None:
        """Set a node's cable: `down` removes the carrier, `dead` keeps it and drops every frame."""
        port = self.port(node, link)
        self._apply_faults(link, lambda old: old.with_dead(port, state == "dead"))
        netns.set_carrier(self.switch_netns(link), port, state != "down")

    def loss(self, node: str, link: Link, per_mille: int) -> None:
        """Lose so many of a thousand frames on a cable, in each direction; 0 ends it."""
        port = self.port(node, link)
        self._apply_faults(link, lambda old: old.with_loss(port, per_mille))

    def partition(self, on: bool) -> None:
        """Cut the VLAN between the two nodes only; both still reach the clients."""
        one, other = (self.port(node, topology.VLAN) for node in self.nodes)
        self._apply_faults(topology.VLAN, lambda old: old.with_partition((one, other) if on else None))

    def switch_faults(self, switch: Link | str) -> switches.SwitchFaults:
        """What a switch drops now."""
        return self._state().faults.get(switch, switches.SwitchFaults())

    def _apply_faults(self, switch: str, change: Callable[[switches.SwitchFaults], switches.SwitchFaults]) -> None:
        with state.locked(self.folder):
            known = self._state()
            wanted = change(known.faults.get(switch, switches.SwitchFaults()))
            state.write(self.folder, known.with_fault(switch, wanted))
        self._filter(switch, wanted)

    def _record_dead(self, node: str) -> dict[str, switches.SwitchFaults]:
        # Recorded although the ports are about to go: a power cut that is killed half-way leaves a running node behind
        # dead cables. A boot makes new ones.
        with state.locked(self.folder):
            known = self._state()
            cut = {link: self.switch_faults(link).with_dead(self.port(node, link), True) for link in topology.SWITCHES}
            for link, wanted in cut.items():
                known = known.with_fault(link, wanted)
            state.write(self.folder, known)
        return cut

    def _filter(self, switch: str, wanted: switches.SwitchFaults) -> None:
        switches.load(self.switch_netns(switch), switches.ruleset(wanted))

    # The provider

    def fabric(
        self,
        *,
        converge_ms: int = 0,
        ignore_med: bool = False,
        load_share: bool = False,
        prefer_older: bool = False,
        hold_sessions: bool | None = None,
    ) -> None:
        """Set how the fabric behaves; a setting that is not given returns to its default.

        `hold_sessions` is off by default, and on with an emulated account: no share, no session.
        """
        hold = self.api() is not None if hold_sessions is None else hold_sessions
        knobs = Knobs(converge_ms, ignore_med, load_share, prefer_older, hold)
        self._write(knobs=knobs)
        self._reconfigure_fabric()

    def share(self, fip: IPv4Address | str, nodes: Sequence[str]) -> None:
        """Share a public address to exactly these nodes; the route servers refuse it from any other node.

        It may be an address that gateway.toml does not have yet: it is shared first and configured afterwards.
        """
        address = IPv4Address(fip)
        known = self._state()
        taken = {node.public_address.ip for node in self.gateway.node}
        if address in taken or address in self.gateway.pair.vip.network:
            names = ", ".join(map(str, known.shares))
            raise LabError(
                f"{address} cannot be shared: it is not a floating address", fix=f"name a FIP, such as {names}"
            )
        self.share_all({**known.shares, address: tuple(self.gateway.node_named(n).name for n in nodes)})

    def share_all(self, shares: Shares) -> None:
        """Replace the share table; it has an entry for every FIP of the pair."""
        self._write(shares=shares)
        self._reconfigure_fabric()

    def shares(self) -> dict[str, tuple[str, ...]]:
        """The share table: each FIP and the nodes to which it is shared."""
        return {str(fip): nodes for fip, nodes in self._state().shares.items()}

    def knobs(self) -> Knobs:
        """How the fabric behaves now."""
        return self._state().knobs

    def best_path(self, fip: IPv4Address | str | None = None) -> tuple[str, ...]:
        """The nodes to which the fabric sends packets for a FIP (None: the first FIP); several if it shares load."""
        address = IPv4Address(fip or self.gateway.pair.fips[0])
        return best_paths(self.netns_of(topology.FABRIC), self.gateway, address, self.knobs())

    def _reconfigure_fabric(self) -> None:
        known = self._state()
        provider = Provider(self.gateway, known.knobs, known.shares)
        build.write_fabric(self.folder, provider.files)
        ref = self.ref(topology.FABRIC)
        off = [node for node in self.nodes if not self.powered(node)]
        wanted = survivors(heard(ref, provider.files.daemons), provider, off)
        reconfigure(ref, self.netns_of(topology.FABRIC), provider)
        # Some options make BIRD reopen its sessions, which takes their connect delay.
        wait_until(
            lambda: wanted <= heard(ref, provider.files.daemons),
            deadline_seconds=SESSION_SECONDS,
            what="the return of the fabric's BGP sessions",
            diagnose=self.diagnose,
        )

    def api(self) -> apirecord.ApiRecord | None:
        """The process that serves the emulated account of this lab, if there is one."""
        found = apirecord.read(self.folder)
        return found if found is not None and found.alive else None

    # For taps

    def netns_of(self, host_name: str) -> str:
        """The network namespace of a host or switch, for `ip netns exec`."""
        return netns.name_of(self.name, self.topology.host(host_name).name)

    def switch_netns(self, which: Link | str) -> str:
        """The network namespace of a switch."""
        return netns.name_of(self.name, which)

    def port(self, node: str, link: Link | str) -> str:
        """The switch-side interface of a host's cable."""
        return self.topology.port(node, link)

    # Inside

    def _state(self) -> state.LabState:
        known = state.read(self.folder)
        if known is None:
            raise LabError(f"the lab {self.name} is gone", fix=f"natpair lab up{build.name_option(self.name)}")
        return known

    def _write(self, **changes: Any) -> None:
        with state.locked(self.folder):
            state.write(self.folder, replace(self._state(), **changes))

    def _await_boot(self, host_name: str) -> None:
        def booted() -> str:
            ref = host.read_record(self.folder / teardown.RECORDS / host_name)
            if ref is None:
                return "failed: its supervisor ended"
            if not ref.path(init.SOCKET).exists():
                return ""
            boot = str(host.control(ref, {"op": "list"})["boot"])
            return "" if boot == "running" else boot

        what = f"the boot of {host_name}"
        boot = wait_until(booted, deadline_seconds=READY_SECONDS, what=what, diagnose=self.diagnose)
        if boot != "done":
            raise LabError(f"{host_name} did not boot: {boot.removeprefix('failed: ')}", fix=self.diagnose())
