"""The packet filter: one ruleset, and the small transactions that refill its role chains.

The traffic state, the duplicate window and the sync fence each have their own chains. The first rule of a chain has a
comment that names its state. Counters are outside these chains and survive a switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from natpair.core import paths
from natpair.core.desired import Traffic
from natpair.core.regions import route_servers
from natpair.core.rendered import SOME_MAC
from natpair.render.base import Checker, RenderedFile, Sides, fill

TABLE = "natpair"
COMMENT_TRAFFIC = "natpair traffic="
COMMENT_DUPLICATE = "natpair duplicate="
COMMENT_FENCE = "natpair fence="
COMMENT_PEER = "natpair peer="
ANY_PEER = "any"
"""Used instead of the MAC until the peer has reported its own."""

# Not the internet: through the gateway a client must not reach the metadata service or the provider's internal network.
_OFF_LIMITS = tuple(
    map(IPv4Network, ("169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
)

MOST_CLIENTS = 262_144
"""Maximum size of a set with one element per client: a tenant may send from every address of a large subnet."""
REPLICATED = ("tcp", "udp", "icmp")
"""The protocols that conntrackd replicates. Other flows would break at a takeover, so they are not forwarded."""
ONE_SHOT_SECONDS = 120
"""A UDP flow that is over within two seconds is kept this long: RFC 4787 REQ-5 requires two minutes."""
_QUESTION_PORTS = (53, 123)
_QUESTION_SECONDS = 20
_KNOWN_SECONDS = 30
_PEER_RATE = "500/second burst 500 packets"
"""A peer sends a heartbeat every 20 to 200 ms, and one more for each change; each costs the agent 13 microseconds."""
_STRANGER_RATE = "50/second burst 100 packets"
_UNPINNED_RATE = "20/second burst 20 packets"
"""Limit for heartbeats from another MAC than the peer's. They are authenticated, and may announce a new MAC."""

# A fixed seed: the kernel would pick a random one, and the two nodes would map a client to different FIPs.
_JHASH_SEED = 0x6E617470
_INDENT = " " * 8


TRAFFIC_FILES: Mapping[Traffic, str] = {
    Traffic.LOCAL: paths.TRAFFIC_LOCAL,
    Traffic.RELAY: paths.TRAFFIC_RELAY,
    Traffic.CLOSED: paths.TRAFFIC_CLOSED,
}


@dataclass(frozen=True, slots=True)
class Chain:
    """A refillable chain and its rules, one per line, indented."""

    family: str
    name: str
    rules: str


def nftables_files(sides: Sides) -> tuple[RenderedFile, ...]:
    """The ruleset and the transactions that change it. In the peer guard, SOME_MAC stands for the peer's MAC."""
    states = tuple(
        _transaction(sides, TRAFFIC_FILES[state], f"Traffic state {state.value}.", *_traffic_chains(sides, state))
        for state in Traffic
    )
    switches = tuple(
        _transaction(sides, path, purpose, chain)
        for path, purpose, chain in (
            (paths.DUPLICATE_ON, "Copy packets for a FIP without a flow to the peer.", _duplicate(sides, on=True)),
            (paths.DUPLICATE_OFF, "No copies to the peer.", _duplicate(sides, on=False)),
            (paths.SYNC_FENCE_ON, "Refuse the peer's flow entries.", _fence(sides, on=True)),
            (paths.SYNC_FENCE_OFF, "Take the peer's flow entries.", _fence(sides, on=False)),
        )
    )
    guard = RenderedFile(paths.PEER_GUARD, peer_guard(sides, SOME_MAC), checker=Checker.NFT_FRAGMENT)
    return (_ruleset(sides), *states, *switches, guard)


def snat_statement(fips: tuple[IPv4Address, ...]) -> str:
    """The SNAT statement. With several FIPs, the client's address selects one, the same on both nodes."""
    if len(fips) == 1:
        return f"snat to {fips[0]}"
    table = ", ".join(f"{index} : {fip}" for index, fip in enumerate(fips))
    return f"snat to jhash ip saddr mod {len(fips)} seed {_JHASH_SEED:#x} map {{ {table} }}"


def _counters(name: str, fips: tuple[IPv4Address, ...]) -> str:
    """The elements of a map from each FIP to its own counter."""
    return ", ".join(f'{fip} : "{name}_{fip}"' for fip in fips)


def _ruleset(sides: Sides) -> RenderedFile:
    gateway, node = sides.gateway, sides.node
    raw, forward = _traffic_chains(sides, Traffic.CLOSED)
    text = fill(
        "nftables.nft.j2",
        sides,
        private=node.private_interface,
        public=node.public_interface,
        network=gateway.private_network,
        own_ports=f"{gateway.sync.port}, {gateway.heartbeat.port}",
        snat=snat_statement(gateway.pair.fips),
        passed=_counters("passed", gateway.pair.fips),
        back=_counters("back", gateway.pair.fips),
        route_servers=route_servers(gateway),
        management=_management(sides),
        nat=gateway.nat,
        off_limits=", ".join(map(str, off_limits(sides))),
        clients=min(gateway.private_network.num_addresses, MOST_CLIENTS),
        most_clients=MOST_CLIENTS,
        protocols=", ".join(REPLICATED),
        question_ports=", ".join(map(str, _QUESTION_PORTS)),
        question_seconds=_QUESTION_SECONDS,
        known_seconds=_KNOWN_SECONDS,
        one_shot_seconds=ONE_SHOT_SECONDS,
        peer_rate=_PEER_RATE,
        peer_any=_peer_guard(sides, ANY_PEER).rules,
        role_raw_closed=raw.rules,
        role_forward_closed=forward.rules,
        duplicate_off=_duplicate(sides, on=False).rules,
        fence_off=_fence(sides, on=False).rules,
    )
    return RenderedFile(paths.NFTABLES, text, checker=Checker.NFT)


def off_limits(sides: Sides) -> tuple[IPv4Network, ...]:
    """The networks that clients cannot reach through the gateway: private ones, except one that contains the WAN."""
    wan = sides.node.public_address.network
    return tuple(network for network in _OFF_LIMITS if not network.overlaps(wan))


def peer_guard(sides: Sides, mac: str) -> str:
    """The transaction that accepts the peer's packets only from `mac`; `ANY_PEER` removes the guard."""
    purpose = f"Accept packets with the peer's address only from this MAC: {mac}."
    return fill("chains.nft.j2", sides, purpose=purpose, chains=(_peer_guard(sides, mac),))


def _peer_guard(sides: Sides, mac: str) -> Chain:
    comment = f"{COMMENT_PEER}{mac}"
    if mac == ANY_PEER:
        return Chain("ip", "peer_guard", _rules(comment))
    other = f"ether saddr != {mac}"
    network, peer = sides.gateway.private_network, sides.peer.private_address.ip
    beat = f"ip daddr {sides.node.private_address.ip} udp dport {sides.gateway.heartbeat.port}"
    return Chain(
        "ip",
        "peer_guard",
        _rules(
            comment,
            # Heartbeats are authenticated, so they need no guard. A replaced peer reports its new MAC in them.
            f"{other} ip saddr {peer} {beat} limit rate {_UNPINNED_RATE} return",
            f"{other} ip saddr {peer} counter name forged drop",
            # The peer relays replies for a FIP. From another machine such a packet is forged.
            f"{other} ip saddr != {network} ip daddr @fips counter name forged drop",
        ),
    )


def _transaction(sides: Sides, path: str, purpose: str, *chains: Chain) -> RenderedFile:
    text = fill("chains.nft.j2", sides, purpose=purpose, chains=chains)
    return RenderedFile(path, text, checker=Checker.NFT_FRAGMENT)


def _management(sides: Sides) -> str:
    firewall = sides.gateway.firewall
    if not firewall.management_tcp_ports:
        return ""
    ports = ", ".join(map(str, sorted(set(firewall.management_tcp_ports))))
    begin = f'tcp dport {{ {ports} }} ct state new ct timeout set "stranger" limit rate {_STRANGER_RATE} accept'
    if not firewall.management_sources:
        return f'iifname "{sides.node.public_interface}" {begin}'
    sources = ", ".join(map(str, _disjoint(sides)))
    return f"ip saddr {{ {sources} }} {begin}"


def _disjoint(sides: Sides) -> tuple[object, ...]:
    # nft refuses overlapping intervals in an anonymous set.
    sources = sorted(set(sides.gateway.firewall.management_sources))
    return tuple(s for s in sources if not any(s != other and s.subnet_of(other) for other in sources))


def _rules(comment: str, *rules: str) -> str:
    return "\n".join(f"{_INDENT}{rule}" for rule in (f'counter comment "{comment}"', *rules))


def _traffic_chains(sides: Sides, state: Traffic) -> tuple[Chain, Chain]:
    raw, forward = {Traffic.LOCAL: _local, Traffic.RELAY: _relay, Traffic.CLOSED: _closed}[state](sides)
    comment = f"{COMMENT_TRAFFIC}{state.value}"
    return Chain("ip", "role_raw", _rules(comment, *raw)), Chain("ip", "role_forward", _rules(comment, *forward))


_Rules = tuple[str, ...]


def _local(sides: Sides) -> tuple[_Rules, _Rules]:
    private, public, network = sides.node.private_interface, sides.node.public_interface, sides.gateway.private_network
    forward = (
        f'iifname "{private}" oifname "{public}" ip saddr {network} ct state established,related'
        " counter name offered accept",
        f'iifname "{public}" oifname "{private}" ip daddr {network} ct state established,related accept',
        f'iifname "{private}" oifname "{public}" ip saddr {network} ct state new jump new_flow',
        # Replies that the standby relayed come in on the VLAN and leave on it.
        f'iifname "{private}" oifname "{private}" ip daddr {network} ct direction reply'
        " ct state established,related accept",
    )
    return (), forward


def _hold_clients(sides: Sides) -> str:
    # In raw, before conntrack: a stray packet must not touch the entries that belong to the active node.
    # This also drops packets for a FIP that come in on the VLAN, so nothing is relayed twice.
    return f'iifname "{sides.node.private_interface}" fib daddr type != local counter name held drop'


def _relay(sides: Sides) -> tuple[_Rules, _Rules]:
    private, public = sides.node.private_interface, sides.node.public_interface
    raw = (_hold_clients(sides), f'iifname "{public}" ip daddr @fips counter name relayed notrack')
    forward = (f'iifname "{public}" oifname "{private}" ip daddr @fips ct state untracked accept',)
    return raw, forward


def _closed(sides: Sides) -> tuple[_Rules, _Rules]:
    return (_hold_clients(sides), f'iifname "{sides.node.public_interface}" ip daddr @fips drop'), ()


def _duplicate(sides: Sides, *, on: bool) -> Chain:
    public = sides.node.public_interface
    match = f'iifname "{public}" ip daddr @fips ct state new,invalid'
    copy = f'dup to {sides.peer.private_address.ip} device "{sides.node.private_interface}"'
    # A SYN-ACK that matches an entry is delivered here. The entry may come from the peer, which must then see the
    # SYN-ACK too: on a node that saw only the SYN, the client's ACK is invalid, and the connection stalls for a second.
    handshake = f'iifname "{public}" ip daddr @fips tcp flags & (syn | ack) == syn | ack ct state established {copy}'
    rules = (handshake, f"{match} counter name duplicated {copy}", f"{match} drop") if on else ()
    return Chain("ip", "duplicate", _rules(f"{COMMENT_DUPLICATE}{_on_off(on)}", *rules))


def _fence(sides: Sides, *, on: bool) -> Chain:
    private, peer = sides.node.private_interface, sides.peer.private_address.ip
    drop = f'iifname "{private}" ip saddr {peer} udp dport {sides.gateway.sync.port} drop'
    return Chain("inet", "sync_fence", _rules(f"{COMMENT_FENCE}{_on_off(on)}", *((drop,) if on else ())))


def _on_off(on: bool) -> str:
    return "on" if on else "off"
