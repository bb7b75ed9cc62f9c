"""The World of the lab: turns Linodes of an emulated account into hosts.

The network around them (switches, clients, route servers, internet) is built when the first Linode with natpair in its
user data boots, and is removed when the last one is deleted. The emulator calls from one thread, one call at a time;
`stop` may come from another thread.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from typing import Protocol

from natpair.errors import CommandFailed, LabError
from natpair_lab.emulator.world import LinodeView, Share
from natpair_lab.testbed import agreement, apirecord, build, netns, power, switches, teardown, topology, userdata
from natpair_lab.testbed.fabric import Knobs
from natpair_lab.testbed.netns import batch
from natpair_lab.testbed.routers import Provider
from natpair_lab.testbed.spawn import CLONE_NEWNET, NETNS_FOLDER, join_namespace
from natpair_lab.testbed.topology import Topology
from natpair_lab.testbed.userdata import Seed
from natpair_lab.testbed.world import Lab

_PORT = 80
_UPLINK = "eth0"
"""The address at which the lab's internet host serves the API."""
_STOP_EVERY_SECONDS = 0.1
_KNOBS = Knobs(hold_sessions=True)


class Doors(Protocol):
    """Makes the API reachable inside the lab: its server takes a listening socket, and later closes it."""

    def open(self, listener: socket.socket) -> None:
        """Also serve at this socket."""

    def close(self) -> None:
        """Close the socket and all connections that it accepted; nothing happens if none is open."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A Linode that is a node of the lab, with the user data from which its disk was made, as of its last boot."""

    node: str
    digest: str
    view: LinodeView | None = None


class CloudWorld:
    """The World of the lab called `name`, whose folder is claimed. `machines` exist from the start.

    `outside` is the API's address on this machine. In a node's configuration it is replaced by the address inside the
    lab.
    """

    def __init__(
        self,
        name: str,
        doors: Doors,
        progress: Callable[[str], None],
        *,
        lab: Lab | None = None,
        machines: Mapping[int, Machine] | None = None,
        shares: tuple[Share, ...] = (),
    ) -> None:
        self._name = name
        self._doors = doors
        self._progress = progress
        self._lab = lab
        self._machines = dict(machines or {})
        self._shares = shares
        self._found = lab is not None
        self.outside = ""
        self._stopping = False
        self._busy = threading.Lock()

    def begin(self) -> None:
        """Make an existing lab the lab of this account: API inside, no session without a share, ports guarded."""
        with self._busy:
            if self._lab is None:
                return
            self._open_doors(self._lab)
            self._lab.fabric(**{**asdict(self._lab.knobs()), "hold_sessions": True})
            self._share(self._lab)

    def stop(self) -> None:
        """Refuse calls that make something from now on, and wait for the end of the running call.

        It ends soon, because everything that it waits for is removed: all hosts, unless the lab existed before.
        """
        self._stopping = True
        while not self._busy.acquire(timeout=_STOP_EVERY_SECONDS):
            if not self._found:
                teardown.end_hosts(netns.LABS / self._name)
        self._busy.release()

    def release(self) -> None:
        """After the last call: leave a lab that was found as an ordinary lab; remove one that was made here."""
        folder = netns.LABS / self._name
        if not self._found or self._lab is None:
            teardown.remove(folder)
            return
        apirecord.forget(folder)
        self._lab.fabric(**{**asdict(self._lab.knobs()), "hold_sessions": False})
        switches.load(self._lab.switch_netns(topology.PUBLIC), switches.sources({}))

    # Calls from the emulator

    def linode_created(self, linode: LinodeView) -> None:
        """New disks: a rebuilt Linode loses its old ones. Otherwise nothing exists before the first boot."""
        with self._busy:
            machine = self._machines.pop(linode.id, None)
            if machine is not None and self._lab is not None:
                power.erase(self._lab, machine.node)

    def booted(self, linode: LinodeView) -> None:
        """Power on the node of the user data, on its existing disk, or on a new one after a rebuild."""
        seed = self._seed_of(linode)
        with self._busy:
            known = self._machines.get(linode.id)
            if seed is None and known is None:
                self._progress(f"{linode.label} has no natpair in its user data: the lab starts no host for it")
                return
            self._check(linode, seed, known)
            self._boot(linode, seed, known)

    def shut_down(self, linode_id: int) -> None:
        """Orderly power off."""
        with self._busy:
            machine = self._machines.get(linode_id)
            if machine is not None and self._lab is not None:
                self._progress(f"{machine.node} shuts down")
                power.shut_down(self._lab, machine.node)

    def linode_deleted(self, linode_id: int) -> None:
        """Remove the node and its disk; with the last node, the lab goes too."""
        with self._busy:
            machine = self._machines.pop(linode_id, None)
            if self._lab is None:
                return
            if machine is not None:
                self._progress(f"{machine.node} is deleted")
                power.erase(self._lab, machine.node)
            if not self._machines:
                self._progress("no node is left: removing the lab")
                self._clear()

    def shares_changed(self, shares: tuple[Share, ...]) -> None:
        """Apply the shares to the route servers and to the filter of the public switch."""
        with self._busy:
            self._shares = shares
            if self._lab is not None:
                self._share(self._lab)

    def _boot(self, linode: LinodeView, seed: Seed | None, known: Machine | None) -> None:
        lab = self._world_for(seed)
        if seed is not None and (known is None or known.digest != seed.digest):
            power.seed(lab, seed)
            known = Machine(seed.node, seed.digest)
        if known is None:
            raise LabError("there is neither a disk nor user data for a new one")
        self._machines[linode.id] = Machine(known.node, known.digest, linode)
        self._share(lab)
        self._may_go_on()
        self._progress(f"{linode.label} boots as {known.node}")
        power.boot(lab, known.node)

    def _may_go_on(self) -> None:
        if self._stopping:
            raise LabError("the lab is going down")

    # Checks whether a Linode may be the node that it claims to be

    def _seed_of(self, linode: LinodeView) -> Seed | None:
        seed = userdata.read(linode.user_data)
        if seed is None or not self.outside:
            return seed
        return seed.reaching(self.outside, f"http://{topology.build(seed.gateway).api.ip}")

    def _check(self, linode: LinodeView, seed: Seed | None, known: Machine | None) -> None:
        if seed is None:
            if self._lab is not None and known is not None:
                agreement.require(linode, self._lab.gateway, known.node)
            return
        agreement.require(linode, seed.gateway, seed.node)
        for other_id, other in self._machines.items():
            if other_id == linode.id:
                continue
            if other.node == seed.node:
                raise LabError(f"{seed.node} is Linode {other_id} already")
            here, there = agreement.vlan_of(linode), other.view and agreement.vlan_of(other.view)
            if there is not None and here != there:
                raise LabError(f"{linode.label} is on the VLAN {here}, {other.node} and the clients are on {there}")

    # The network around the Linodes

    def _world_for(self, seed: Seed | None) -> Lab:
        """The existing lab, or a new one for the pair of `seed`."""
        if self._lab is not None and seed is not None and seed.gateway != self._lab.gateway:
            running = [node for node in self._lab.nodes if self._lab.powered(node)]
            if running:
                raise LabError(
                    f"{seed.node} has another gateway.toml than {running[0]}, which runs: shut that down first"
                )
            self._clear(build.NODES)
        if self._lab is None:
            if seed is None:
                raise LabError("the lab of this Linode is gone: rebuild it with its user data")
            self._lab = self._build(seed)
        return self._lab

    def _build(self, seed: Seed) -> Lab:
        self._may_go_on()
        source = build.Configuration(seed.gateway, seed.text)
        nobody: dict[IPv4Address, tuple[str, ...]] = dict.fromkeys(seed.gateway.pair.fips, ())
        try:
            lab = Lab.around(self._name, source, Provider(seed.gateway, _KNOBS, nobody), self._progress)
            self._open_doors(lab)
        except BaseException:
            self._clear(build.NODES)
            raise
        return lab

    def _open_doors(self, lab: Lab) -> None:
        self._doors.open(_open_door(lab.netns_of(topology.INTERNET), lab.topology))
        self._progress(f"inside the lab the API is http://{lab.topology.api.ip}/v4")

    def _clear(self, *keep: str) -> None:
        """Remove the network, except for the claim on its name and `keep`."""
        self._doors.close()
        teardown.empty(netns.LABS / self._name, keep={apirecord.FILE, apirecord.LOG, *keep})
        self._lab, self._found = None, False

    # Shares

    def _share(self, lab: Lab) -> None:
        wanted = {fip: self._announcers(lab, fip) for fip in lab.gateway.pair.fips}
        if {str(fip): nodes for fip, nodes in wanted.items()} != lab.shares():
            lab.share_all(wanted)
        self._guard_ports(lab)

    def _announcers(self, lab: Lab, fip: IPv4Address) -> tuple[str, ...]:
        """Who may announce a shared address: its owner and its receivers. No node may announce any other."""
        allowed = {one for share in self._shares if share.address == fip for one in (share.owner_id, *share.receivers)}
        named = {machine.node for linode_id, machine in self._machines.items() if linode_id in allowed}
        return tuple(node for node in lab.nodes if node in named)

    def _guard_ports(self, lab: Lab) -> None:
        ports = {}
        for linode_id, machine in self._machines.items():
            if machine.view is not None:
                shared = [one.address for one in self._shares if linode_id in (one.owner_id, *one.receivers)]
                own = [address.ip for address in machine.view.public_ipv4]
                port = lab.port(machine.node, topology.PUBLIC)
                ports[port] = switches.Allowed([*own, *shared], machine.view.slaac.ip)
        switches.load(lab.switch_netns(topology.PUBLIC), switches.sources(ports))


def _open_door(namespace: str, plan: Topology) -> socket.socket:
    """Listen at the lab's address of the API, on its internet host; LabError if that fails.

    The socket keeps the namespace alive. Close it, and the connections that it accepted, before the lab is removed.
    """
    with suppress(CommandFailed):  # already there, from an earlier serving process
        batch([f"addr add {plan.api} dev {_UPLINK}"], netns=namespace)
    # A network namespace belongs to a thread: this one enters it, opens the socket for us, and ends.
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(_listen, f"{NETNS_FOLDER}/{namespace}", str(plan.api.ip)).result()
    except OSError as error:
        raise LabError(f"cannot listen on {plan.api.ip}:{_PORT} inside the lab: {error}") from error


def _listen(namespace: str, address: str) -> socket.socket:
    join_namespace(namespace, CLONE_NEWNET)
    return socket.create_server((address, _PORT))
