"""Faults of the kernel's state: rules, addresses, routes, settings, flow entries and files changed by somebody else."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from natpair.core import paths
from natpair_lab.chaos.eyes import has_vip
from natpair_lab.chaos.fault import Fault, Limits
from natpair_lab.chaos.processes import NO_OUTAGE_MS
from natpair_lab.chaos.scene import Scene

_REPAIR_MS = 1000.0
_SETTINGS_MS = 5000.0
_LOCAL = "natpair traffic=local"
_SYNC_MS = 5000.0
_LACKING = 0.1
"""Of the flows that are younger than the watch some have only just begun."""
_EX_UNAVAILABLE = 69
_EX_CONFIG = 78
_SETTINGS = {
    "net.ipv4.ip_forward": ("0", "1"),
    "net.netfilter.nf_conntrack_tcp_loose": ("0", "1"),
}
"""Each setting with the value a stranger gives it and the one that must come back."""
_HARM = ("net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.all.accept_redirects=1")


def address_deleted(scene: Scene) -> None:
    """The VIP is deleted by hand from the active node, and the FIP's blackhole route."""
    node = scene.lab.gateway.node_named(scene.active)
    fip = scene.lab.gateway.pair.fips[0]
    scene.run(node.name, "ip", "route", "del", "blackhole", f"{fip}/32", check=False)
    scene.run(
        node.name, "ip", "address", "flush", "dev", node.private_interface, "to", f"{scene.lab.gateway.pair.vip.ip}/32"
    )
    back = scene.wait(lambda: any(has_vip(scene.lab, name) for name in scene.lab.nodes), 10)
    scene.check("VIP back", back, _REPAIR_MS)
    if scene.eyes.agents_speak:
        route = scene.wait(lambda: str(fip) in scene.run(node.name, "ip", "route", "show", "type", "blackhole"), 10)
        scene.check("blackhole route back", route, _REPAIR_MS)


def ruleset_flushed(scene: Scene) -> None:
    """Another tool throws the whole ruleset of the active node away."""
    scene.run(scene.active, "nft", "flush", "ruleset")
    if scene.eyes.agents_speak:
        scene.check("repaired", scene.wait(lambda: _in_place(scene), 10), _REPAIR_MS)


def _in_place(scene: Scene) -> bool:
    return _LOCAL in scene.run(scene.active, "nft", "list", "table", "ip", "natpair", check=False)


def foreign_table(scene: Scene) -> None:
    """Another tool adds a table of its own that drops all that is forwarded."""
    table = "table ip stranger { chain forward { type filter hook forward priority -10; policy drop; }; }"
    scene.run(scene.active, "nft", "-f", "-", stdin=table)
    node = scene.active
    scene.undo.append(lambda: scene.run(node, "nft", "delete", "table", "ip", "stranger", check=False))
    scene.pass_time(8)


def translation_altered(scene: Scene) -> None:
    """Somebody makes the active node translate to its own address in place of the FIP."""
    node, private = scene.lab.gateway.node_named(scene.active), scene.lab.gateway.private_network
    listed = scene.run(node.name, "nft", "-a", "list", "chain", "ip", "natpair", "nat_postrouting")
    handle = re.findall(r"snat.* # handle (\d+)", listed)[0]
    rule = f'oifname "{node.public_interface}" ip saddr {private} snat to {node.public_address.ip}'
    command = f"replace rule ip natpair nat_postrouting handle {handle} {rule}"
    scene.run(node.name, "nft", "-f", "-", stdin=command)
    wrong = f"snat to {node.public_address.ip}"
    repaired = scene.wait(lambda: wrong not in scene.run(node.name, "nft", "list", "table", "ip", "natpair"), 10)
    scene.check("repaired", repaired, _REPAIR_MS)


def settings_flipped(scene: Scene) -> None:
    """Somebody switches forwarding and mid-stream pick-up off, strict reverse path and redirects on."""
    node = scene.active
    scene.run(node, "sysctl", "-qw", *(f"{key}={bad}" for key, (bad, _) in _SETTINGS.items()), *_HARM)
    for key, (bad, good) in _SETTINGS.items():
        scene.undo.append(lambda key=key, good=good: _restore(scene, node, key, good))  # type: ignore[misc]
        back = scene.wait(lambda key=key, bad=bad: scene.run(node, "sysctl", "-n", key).strip() != bad, 8)  # type: ignore[misc]
        scene.check(f"{key} back", back, _SETTINGS_MS)


def _restore(scene: Scene, node: str, key: str, value: str) -> None:
    scene.run(node, "sysctl", "-qw", f"{key}={value}", check=False)


def routes_changed(scene: Scene) -> None:
    """The default route of the active node is deleted; later, of the then active, a rule sends all astray."""
    node = scene.active
    default = scene.run(node, "ip", "-4", "route", "show", "default").strip().splitlines()[0].split()
    scene.run(node, "ip", "route", "del", *default)
    scene.pass_time(4)
    scene.run(node, "ip", "route", "replace", *default)
    scene.wait_ready()
    node, network = scene.active, str(scene.lab.topology.internet_gateway.network)
    scene.run(node, "ip", "rule", "add", "pref", "9", "to", network, "blackhole")
    scene.undo.append(lambda: scene.run(node, "ip", "rule", "del", "pref", "9", check=False))
    scene.pass_time(4)


def flows_flushed(scene: Scene) -> None:
    """Somebody runs conntrack -F on the active node."""
    scene.run(scene.active, "conntrack", "-F", check=False)
    scene.pass_time(2)


def nodes_disagree(scene: Scene) -> None:
    """The standby gets another VRRP router id than the active node, by its file and natpair apply."""
    node = scene.standby
    before = scene.run(node, "cat", paths.CONFIG)
    changed = re.sub(r"(?m)^router_id = \d+", "router_id = 77", before)
    if changed == before:
        changed = before + "\n[vrrp]\nrouter_id = 77\n"
    scene.run(node, "tee", paths.CONFIG, stdin=changed)
    scene.undo.append(lambda: _put_back(scene, node, before))
    with ThreadPoolExecutor(1) as other:
        # It may be taken back: a standby that does not hear the active node is not as well as before.
        applying = other.submit(scene.natpair, node, "apply", paths.CONFIG, "--health-seconds", "6")
        told = scene.alarm(("config-differs",), 5)
        done = applying.result()
    scene.require("apply", done.returncode in (0, 2, _EX_UNAVAILABLE), done.stderr.strip()[-200:])
    scene.check("alarm", told, 5000, "no agent tells that the configurations differ")
    scene.pass_time(4)


def _put_back(scene: Scene, node: str, text: str) -> None:
    scene.run(node, "tee", paths.CONFIG, stdin=text)
    scene.natpair(node, "apply", paths.CONFIG)


def bad_file(scene: Scene) -> None:
    """A bad file is refused and changes nothing; a good one is applied again and again while the other loses power."""
    node = scene.standby
    good = scene.run(node, "cat", paths.CONFIG)
    generated = scene.run(node, "sh", "-c", f"cat {paths.GENERATED}/* | sha256sum")
    bad = good.replace('vip = "', 'vip = "999.')
    scene.run(node, "tee", "/tmp/bad.toml", stdin=bad)  # noqa: S108 - inside the node
    refused = scene.natpair(node, "apply", "/tmp/bad.toml")  # noqa: S108
    scene.require("bad file refused", refused.returncode == _EX_CONFIG, f"exit {refused.returncode}")
    same = scene.run(node, "sh", "-c", f"cat {paths.GENERATED}/* | sha256sum") == generated
    scene.require("nothing changed", same, "files were rendered from a bad configuration")
    with ThreadPoolExecutor(1) as other:
        applying = other.submit(lambda: [scene.natpair(node, "apply", paths.CONFIG) for _ in range(3)])
        scene.pass_time(0.3)
        scene.power_cut(scene.active)
        applying.result()


def address_renewed(scene: Scene) -> None:
    """What `networkctl reconfigure` does: the active node's own VLAN address goes, and comes back after the VIP."""
    node, peer = scene.lab.gateway.node_named(scene.active), scene.lab.gateway.node_named(scene.standby)
    before = _clients_flows(scene, node.name)
    # In one go: the agent puts back what is missing for longer.
    lines = [f"address {verb} {node.private_address} dev {node.private_interface}\n" for verb in ("del", "add")]
    scene.run(node.name, "ip", "-batch", "-", stdin="".join(lines))
    way = ("ip", "route", "get", str(peer.private_address.ip))
    source = scene.wait(lambda: f"src {node.private_address.ip} " in scene.run(node.name, *way), 10)
    scene.check("packets to the peer come from the own address", source, _REPAIR_MS)

    def replicated() -> bool:
        news = _clients_flows(scene, node.name) - before
        return bool(news) and len(news - _clients_flows(scene, peer.name)) <= _LACKING * len(news)

    scene.pass_time(3)
    scene.check("flows that began since are on the standby", scene.wait(replicated, 10), _SYNC_MS)
    lacking = set.union(*(scene.conditions(name) for name in scene.lab.nodes)) & {"flows-lacking", "no-usable-standby"}
    scene.require("no condition", not lacking, ", ".join(sorted(lacking)))


def _clients_flows(scene: Scene, node: str) -> set[tuple[str, ...]]:
    """The TCP connections of clients that a node's kernel knows: addresses and ports as the client sees them."""
    listed = scene.run(node, "conntrack", "-L", "-p", "tcp", check=False).splitlines()
    found = (re.findall(r"(?:src|dst|sport|dport)=(\S+)", line)[:4] for line in listed)
    network = scene.lab.gateway.private_network
    return {tuple(flow) for flow in found if len(flow) == 4 and ip_address(flow[0]) in network}


def disk_full(scene: Scene) -> None:
    """On the standby /var is full and /etc read-only when the active node loses power."""
    node = scene.standby
    scene.run(node, "sh", "-c", _FILL)
    scene.undo.append(lambda: scene.run(node, "sh", "-c", _EMPTY, check=False))
    scene.power_cut(scene.active)


_FILL = (
    f"cp -a {paths.VAR} /tmp/kept && mount -t tmpfs -o size=8m chaos {paths.VAR} && cp -a /tmp/kept/. {paths.VAR}/"
    f" && {{ dd if=/dev/zero of={paths.VAR}/fill bs=4k 2>/dev/null; mount -o remount,bind,ro /etc; }}"
)
_EMPTY = (
    f"! grep -q '^chaos {paths.VAR} ' /proc/mounts || umount {paths.VAR}"
    "; mount -o remount,bind,rw /etc; rm -rf /tmp/kept"
)
"""A node that was booted since has its own /var again, which must stay."""

FAULTS = (
    Fault(30, "VIP and blackhole route deleted by hand on the active node", address_deleted, _REPAIR_MS),
    Fault(34, "nft flush ruleset on the active node", ruleset_flushed, _REPAIR_MS, limits=Limits(transitions=0)),
    Fault(35, "another tool adds a table that drops all", foreign_table, 5000),
    Fault(
        36,
        "SNAT address altered on the active node",
        translation_altered,
        _REPAIR_MS,
        limits=Limits(transitions=0, fip_grace_ms=1000),
        agents=True,
    ),
    Fault(37, "forwarding and other settings flipped on the active node", settings_flipped, _SETTINGS_MS),
    Fault(
        38,
        "default route deleted; then an alien rule",
        routes_changed,
        2000,
        limits=Limits(transitions=2),
    ),
    Fault(
        39,
        "conntrack -F on the active node",
        flows_flushed,
        1000,
        limits=Limits(transitions=0, flow_kinds=("echo", "idle")),
    ),
    Fault(
        40,
        "the nodes disagree on the VRRP router id",
        nodes_disagree,
        NO_OUTAGE_MS,
        limits=Limits(transitions=0),
        agents=True,
    ),
    Fault(41, "a bad file; then a power cut while a good one is applied", bad_file, 900, agents=True),
    Fault(46, "/var full and /etc read-only on the standby, then power cut of the active node", disk_full, 900),
    Fault(
        79,
        "own address of the active node renewed on the VLAN (networkctl reconfigure)",
        address_renewed,
        NO_OUTAGE_MS,
        limits=Limits(transitions=0),
        agents=True,
    ),
)
