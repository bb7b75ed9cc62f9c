"""Faults of the kernel's state: rules, addresses, routes, settings, flow entries and files changed by others."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from natpair.core import paths
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import NO_OUTAGE_MS, STAYS, Fault, Limits
from natpair_lab.chaos.observer import has_vip
from natpair_lab.testbed.faults import FLUSH, kind_named

_REPAIR_MS = 1000.0
_SETTINGS_MS = 5000.0
_LOCAL = "natpair traffic=local"
_SYNC_MS = 5000.0
_MISSING = 0.1
"""Some of the flows that are younger than the watch have only just begun."""
_EX_UNAVAILABLE = 69
_EX_CONFIG = 78
_SETTINGS = {
    "net.ipv4.ip_forward": ("0", "1"),
    "net.netfilter.nf_conntrack_tcp_loose": ("0", "1"),
}
"""Each setting, the value that the fault writes, and the value that must come back."""
_HARM = ("net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.all.accept_redirects=1")


@Fault(30, "VIP and blackhole route deleted by hand on the active node", bound_ms=_REPAIR_MS)
def address_deleted(context: Context) -> None:
    """Somebody deletes the VIP and the FIP's blackhole route by hand on the active node."""
    node = context.lab.gateway.node_named(context.active)
    fip = context.lab.gateway.pair.fips[0]
    context.run(node.name, "ip", "route", "del", "blackhole", f"{fip}/32", check=False)
    context.run(
        node.name,
        "ip",
        "address",
        "flush",
        "dev",
        node.private_interface,
        "to",
        f"{context.lab.gateway.pair.vip.ip}/32",
    )
    back = context.wait(lambda: any(has_vip(context.lab, name) for name in context.lab.nodes), 10)
    context.check("VIP back", back, _REPAIR_MS)
    if context.observer.agents_speak:
        route = context.wait(lambda: str(fip) in context.run(node.name, "ip", "route", "show", "type", "blackhole"), 10)
        context.check("blackhole route back", route, _REPAIR_MS)


@Fault(34, "nft flush ruleset on the active node", bound_ms=_REPAIR_MS, limits=STAYS)
def ruleset_flushed(context: Context) -> None:
    """Another tool flushes the whole ruleset of the active node."""
    kind_named(FLUSH).inject(context.lab, context.active)
    if context.observer.agents_speak:
        context.check("repaired", context.wait(lambda: _in_place(context), 10), _REPAIR_MS)


def _in_place(context: Context) -> bool:
    return _LOCAL in context.run(context.active, "nft", "list", "table", "ip", "natpair", check=False)


@Fault(35, "another tool adds a table that drops everything", bound_ms=5000)
def foreign_table(context: Context) -> None:
    """Another tool adds its own table, which drops everything that is forwarded."""
    table = "table ip stranger { chain forward { type filter hook forward priority -10; policy drop; }; }"
    context.run(context.active, "nft", "-f", "-", stdin=table)
    node = context.active
    context.undo.append(lambda: context.run(node, "nft", "delete", "table", "ip", "stranger", check=False))
    context.pass_time(8)


@Fault(
    36,
    "SNAT address changed on the active node",
    bound_ms=_REPAIR_MS,
    limits=Limits(transitions=0, fip_grace_ms=1000),
    agents=True,
)
def translation_altered(context: Context) -> None:
    """Somebody changes the active node's rule so that it translates to the node's own address instead of the FIP."""
    node, private = context.lab.gateway.node_named(context.active), context.lab.gateway.private_network
    listed = context.run(node.name, "nft", "-a", "list", "chain", "ip", "natpair", "nat_postrouting")
    handle = re.findall(r"snat.* # handle (\d+)", listed)[0]
    rule = f'oifname "{node.public_interface}" ip saddr {private} snat to {node.public_address.ip}'
    command = f"replace rule ip natpair nat_postrouting handle {handle} {rule}"
    context.run(node.name, "nft", "-f", "-", stdin=command)
    wrong = f"snat to {node.public_address.ip}"
    repaired = context.wait(lambda: wrong not in context.run(node.name, "nft", "list", "table", "ip", "natpair"), 10)
    context.check("repaired", repaired, _REPAIR_MS)


@Fault(37, "forwarding and other kernel settings changed on the active node", bound_ms=_SETTINGS_MS)
def settings_flipped(context: Context) -> None:
    """Somebody turns forwarding and mid-stream pick-up off, and strict reverse path and redirects on."""
    node = context.active
    context.run(node, "sysctl", "-qw", *(f"{key}={bad}" for key, (bad, _) in _SETTINGS.items()), *_HARM)
    for key, (bad, good) in _SETTINGS.items():
        context.undo.append(lambda key=key, good=good: _restore(context, node, key, good))  # type: ignore[misc]
        back = context.wait(lambda key=key, bad=bad: context.run(node, "sysctl", "-n", key).strip() != bad, 8)  # type: ignore[misc]
        context.check(f"{key} back", back, _SETTINGS_MS)


def _restore(context: Context, node: str, key: str, value: str) -> None:
    context.run(node, "sysctl", "-qw", f"{key}={value}", check=False)


@Fault(38, "default route deleted, then a foreign policy rule added", bound_ms=2000, limits=Limits(transitions=2))
def routes_changed(context: Context) -> None:
    """The active node's default route is deleted. Later, a rule there discards packets to the internet."""
    node = context.active
    default = context.run(node, "ip", "-4", "route", "show", "default").strip().splitlines()[0].split()
    context.run(node, "ip", "route", "del", *default)
    context.pass_time(4)
    context.run(node, "ip", "route", "replace", *default)
    context.wait_ready()
    node, network = context.active, str(context.lab.topology.internet_gateway.network)
    context.run(node, "ip", "rule", "add", "pref", "9", "to", network, "blackhole")
    context.undo.append(lambda: context.run(node, "ip", "rule", "del", "pref", "9", check=False))
    context.pass_time(4)


@Fault(39, "conntrack -F on the active node", bound_ms=1000, limits=Limits(transitions=0, flow_kinds=("echo", "idle")))
def flows_flushed(context: Context) -> None:
    """Somebody runs conntrack -F on the active node."""
    context.run(context.active, "conntrack", "-F", check=False)
    context.pass_time(2)


@Fault(40, "the nodes have different VRRP router ids", bound_ms=NO_OUTAGE_MS, limits=STAYS, agents=True)
def nodes_disagree(context: Context) -> None:
    """The standby gets another VRRP router id than the active node, in its file and by natpair apply."""
    node = context.standby
    before = context.run(node, "cat", paths.CONFIG)
    changed = re.sub(r"(?m)^router_id = \d+", "router_id = 77", before)
    if changed == before:
        changed = before + "\n[vrrp]\nrouter_id = 77\n"
    context.run(node, "tee", paths.CONFIG, stdin=changed)
    context.undo.append(lambda: _put_back(context, node, before))
    with ThreadPoolExecutor(1) as other:
        # The apply may be rolled back: a standby that does not hear the active node is not as healthy as before.
        applying = other.submit(context.natpair, node, "apply", paths.CONFIG, "--health-seconds", "6")
        told = context.alarm(("config-differs",), 5)
        done = applying.result()
    context.require("apply", done.returncode in (0, 2, _EX_UNAVAILABLE), done.stderr.strip()[-200:])
    context.check("alarm", told, 5000, "no agent reports that the configurations differ")
    context.pass_time(4)


def _put_back(context: Context, node: str, text: str) -> None:
    context.run(node, "tee", paths.CONFIG, stdin=text)
    context.natpair(node, "apply", paths.CONFIG)


@Fault(41, "an invalid file applied, then a power cut while a valid one is applied", bound_ms=900, agents=True)
def bad_file(context: Context) -> None:
    """An invalid file is refused and changes nothing.

    A valid one is applied repeatedly while the other node loses power.
    """
    node = context.standby
    good = context.run(node, "cat", paths.CONFIG)
    generated = context.run(node, "sh", "-c", f"cat {paths.GENERATED}/* | sha256sum")
    bad = good.replace('vip = "', 'vip = "999.')
    context.run(node, "tee", "/tmp/bad.toml", stdin=bad)  # noqa: S108 - inside the node
    refused = context.natpair(node, "apply", "/tmp/bad.toml")  # noqa: S108
    context.require("bad file refused", refused.returncode == _EX_CONFIG, f"exit {refused.returncode}")
    same = context.run(node, "sh", "-c", f"cat {paths.GENERATED}/* | sha256sum") == generated
    context.require("nothing changed", same, "files were rendered from a bad configuration")
    with ThreadPoolExecutor(1) as other:
        applying = other.submit(lambda: [context.natpair(node, "apply", paths.CONFIG) for _ in range(3)])
        context.pass_time(0.3)
        context.power_cut(context.active)
        applying.result()


@Fault(
    79,
    "own address of the active node renewed on the VLAN (networkctl reconfigure)",
    bound_ms=NO_OUTAGE_MS,
    limits=STAYS,
    agents=True,
)
def address_renewed(context: Context) -> None:
    """Does what `networkctl reconfigure` does: removes the active node's own VLAN address and adds it after the VIP."""
    node, peer = context.lab.gateway.node_named(context.active), context.lab.gateway.node_named(context.standby)
    before = _clients_flows(context, node.name)
    # In one command: the agent restores what is missing for longer.
    lines = [f"address {verb} {node.private_address} dev {node.private_interface}\n" for verb in ("del", "add")]
    context.run(node.name, "ip", "-batch", "-", stdin="".join(lines))
    way = ("ip", "route", "get", str(peer.private_address.ip))
    source = context.wait(lambda: f"src {node.private_address.ip} " in context.run(node.name, *way), 10)
    context.check("packets to the peer come from the node's own address", source, _REPAIR_MS)

    def replicated() -> bool:
        news = _clients_flows(context, node.name) - before
        return bool(news) and len(news - _clients_flows(context, peer.name)) <= _MISSING * len(news)

    context.pass_time(3)
    context.check("flows opened since then are on the standby", context.wait(replicated, 10), _SYNC_MS)
    missing = set.union(*(context.conditions(name) for name in context.lab.nodes)) & {
        "flows-missing",
        "no-usable-standby",
    }
    context.require("no condition", not missing, ", ".join(sorted(missing)))


def _clients_flows(context: Context, node: str) -> set[tuple[str, ...]]:
    """The clients' TCP connections in a node's kernel: addresses and ports as the client sees them."""
    listed = context.run(node, "conntrack", "-L", "-p", "tcp", check=False).splitlines()
    found = (re.findall(r"(?:src|dst|sport|dport)=(\S+)", line)[:4] for line in listed)
    network = context.lab.gateway.private_network
    return {tuple(flow) for flow in found if len(flow) == 4 and ip_address(flow[0]) in network}


@Fault(46, "/var full and /etc read-only on the standby, then power cut of the active node", bound_ms=900)
def disk_full(context: Context) -> None:
    """On the standby /var is full and /etc read-only when the active node loses power."""
    node = context.standby
    context.run(node, "sh", "-c", _FILL)
    context.undo.append(lambda: context.run(node, "sh", "-c", _EMPTY, check=False))
    context.power_cut(context.active)


_FILL = (
    f"cp -a {paths.VAR} /tmp/kept && mount -t tmpfs -o size=8m chaos {paths.VAR} && cp -a /tmp/kept/. {paths.VAR}/"
    f" && {{ dd if=/dev/zero of={paths.VAR}/fill bs=4k 2>/dev/null; mount -o remount,bind,ro /etc; }}"
)
_EMPTY = (
    f"! grep -q '^chaos {paths.VAR} ' /proc/mounts || umount {paths.VAR}"
    "; mount -o remount,bind,rw /etc; rm -rf /tmp/kept"
)
"""A node that has booted since has its own /var again, and that must stay."""
