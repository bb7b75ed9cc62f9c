"""The validated configuration: one `Gateway` value describes the pair, the same on both nodes.

Everything behind `config/` works on these frozen models; after validation no address, time or
enum is a string. Units are in the names (`_ms`, `_seconds`, `_bytes`). Rules that look at one field
live here; rules between fields live in `config/checks.py`.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_HASH_DIGITS = 16
INTERFACE_PATTERN = r"^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$"
InterfaceName = Annotated[str, Field(pattern=INTERFACE_PATTERN)]
NodeName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Profile(StrEnum):
    """How fast a dead node is noticed; see `TIMINGS`."""

    FAST = "fast"
    BALANCED = "balanced"
    CONSERVATIVE = "conservative"


class Timing(BaseModel):
    """The timers of one profile. VRRPv3 counts in centiseconds (RFC 9568 section 5.2.7)."""

    model_config = ConfigDict(frozen=True)

    advert_ms: int
    down_after: int
    bgp_hold_seconds: int

    @property
    def detect_ms(self) -> int:
        """Silence after which a standby calls the active dead, without VRRP's skew."""
        return self.advert_ms * self.down_after

    @property
    def bgp_keepalive_seconds(self) -> int:
        """A third of the hold time, as RFC 4271 section 4.4 suggests."""
        return max(1, self.bgp_hold_seconds // 3)


TIMINGS: dict[Profile, Timing] = {
    Profile.FAST: Timing(advert_ms=20, down_after=3, bgp_hold_seconds=3),
    Profile.BALANCED: Timing(advert_ms=100, down_after=5, bgp_hold_seconds=6),
    Profile.CONSERVATIVE: Timing(advert_ms=1000, down_after=3, bgp_hold_seconds=9),
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Pair(_Model):
    """What the two nodes are together: the gateway address inside, the public addresses outside."""

    name: NodeName = "natpair"
    vip: IPv4Interface
    fips: Annotated[tuple[IPv4Address, ...], Field(min_length=1, max_length=16)]
    profile: Profile = Profile.BALANCED
    prefer: NodeName | None = None
    failback_seconds: Annotated[int, Field(ge=60, le=86_400)] | None = None


class Node(_Model):
    """One machine of the pair, addresses with their prefix length as they stand on its interfaces."""

    name: NodeName
    private_interface: InterfaceName = "eth1"
    private_address: IPv4Interface
    public_interface: InterfaceName = "eth0"
    public_address: IPv4Interface
    public_address6: IPv6Interface
    linode: Annotated[int, Field(ge=1)] | None = None


class Vrrp(_Model):
    """VRRP between the two nodes (RFC 9568), spoken by Keepalived."""

    router_id: Annotated[int, Field(ge=1, le=255)] = 51


class BgpPolicy(StrEnum):
    """How a newer promotion beats a stale route. `newest-wins` uses MED, the other only communities."""

    NEWEST_WINS = "newest-wins"
    PRIMARY_SECONDARY = "primary-secondary"


class Bgp(_Model):
    """Sessions to the fabric's route servers, spoken by BIRD."""

    region: str | None = None
    route_servers: tuple[IPv6Address, ...] = ()
    local_as: Annotated[int, Field(ge=1, le=4294967294)] = 65001
    peer_as: Annotated[int, Field(ge=1, le=4294967294)] = 65000
    multihop_ttl: Annotated[int, Field(ge=1, le=255)] = 16
    hold_seconds: Annotated[int, Field(ge=3, le=65535)] | None = None
    policy: BgpPolicy = BgpPolicy.NEWEST_WINS


class Sync(_Model):
    """Replication of conntrack entries, done by conntrackd over the private interface."""

    port: Port = 3780
    refresh_seconds: Annotated[int, Field(ge=10, le=3600)] = 60


class Heartbeat(_Model):
    """The agents' own messages, on the private and the public path, each with an HMAC."""

    port: Port = 3781
    key_file: str = "/etc/natpair/pair.key"


_LIST = 256


class Nat(_Model):
    """Limits and idle times of tracked flows. Floors are those of RFC 4787, 5382 and 5508."""

    max_flows: Annotated[int, Field(ge=1024, le=16_777_216)] = 262_144
    max_flows_per_client: Annotated[int, Field(ge=0, le=16_777_216)] = 0
    new_flows_per_second_per_client: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    tcp_established_seconds: Annotated[int, Field(ge=7440, le=432_000)] = 7440
    tcp_transitory_seconds: Annotated[int, Field(ge=30, le=600)] = 240
    udp_seconds: Annotated[int, Field(ge=120, le=3600)] = 300
    icmp_seconds: Annotated[int, Field(ge=60, le=600)] = 60

    @property
    def flows_per_client(self) -> int:
        """`max_flows_per_client`, or an eighth of the table."""
        return self.max_flows_per_client or self.max_flows // 8

    @property
    def lists_per_client(self) -> int:
        """A client's flows are counted in so many lists: a new one walks fewer than twice `_LIST` of them."""
        return max(1, self.flows_per_client // _LIST)

    @property
    def flows_per_list(self) -> int:
        """Full lists hold `flows_per_client` at most; the first of them is full at about 85 % of that."""
        return self.flows_per_client // self.lists_per_client

    @property
    def new_flows_per_client(self) -> int:
        """`new_flows_per_second_per_client`, or a rate that takes four minutes to fill the table."""
        return self.new_flows_per_second_per_client or max(self.max_flows // 256, 50)


class Firewall(_Model):
    """Who may reach the nodes themselves. Forwarding is not governed here: it is private to WAN only."""

    management_sources: tuple[IPv4Network, ...] = ()
    management_tcp_ports: tuple[Port, ...] = (22,)


class Health(_Model):
    """Probes that decide whether a node may be active."""

    public_gateway: IPv4Address | None = None
    probe_target: IPv4Address | None = None
    probe_interval_ms: Annotated[int, Field(ge=100, le=10_000)] = 500
    probe_failures: Annotated[int, Field(ge=1, le=20)] = 3


class Linode(_Model):
    """How Linode's API is reached, by `natpair cloud` and by an agent that watches the account; never in a failover."""

    api_url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] = "https://api.linode.com/v4"
    token_file: str | None = None
    plain_http: bool = False


class InterfaceGeneration(StrEnum):
    """The platform's two models of interfaces: on the Linode itself, or in its configuration profile."""

    LINODE = "linode"
    LEGACY = "legacy_config"


class Placement(StrEnum):
    """Whether a Linode that cannot be placed apart from its peer is refused or placed anyhow."""

    STRICT = "strict"
    FLEXIBLE = "flexible"


class Cloud(_Model):
    """What `natpair cloud` makes on Linode. `stamp` marks what is ours; `natpair cloud apply` chooses it."""

    stamp: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None = None
    type: str = "g6-standard-2"
    image: str = "linode/debian12"
    vlan: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9](-?[A-Za-z0-9])*$")] = "natpair"
    generation: InterfaceGeneration = InterfaceGeneration.LINODE
    placement: Placement = Placement.STRICT
    firewall: bool = True
    authorized_keys_file: str | None = None
    key_file: str | None = None


class Install(_Model):
    """Where a new node gets natpair itself from. There is no default: nobody should run what they did not choose."""

    source: Annotated[str, Field(pattern=r"^(https?://|/)[\x21-\x7e]+\.(whl|tar\.gz|tgz)$")] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class Watch(_Model):
    """What the agents look after in the provider's account, with the token of `linode.token_file`."""

    enabled: bool = False
    interval_seconds: Annotated[int, Field(ge=2, le=3600)] = 30
    maintenance_lead_seconds: Annotated[int, Field(ge=10, le=86_400)] = 900
    switch_over: bool = True
    repair_shares: bool = False


class Gateway(_Model):
    """The whole of `gateway.toml`."""

    schema_version: Literal[1] = 1
    pair: Pair
    node: Annotated[tuple[Node, ...], Field(min_length=2, max_length=2)]
    vrrp: Vrrp = Vrrp()
    bgp: Bgp = Bgp()
    sync: Sync = Sync()
    heartbeat: Heartbeat = Heartbeat()
    nat: Nat = Nat()
    firewall: Firewall = Firewall()
    health: Health = Health()
    linode: Linode = Linode()
    cloud: Cloud = Cloud()
    install: Install = Install()
    watch: Watch = Watch()

    @property
    def timing(self) -> Timing:
        """The profile's timers, with `bgp.hold_seconds` in place of the profile's where it is set."""
        timing = TIMINGS[self.pair.profile]
        if self.bgp.hold_seconds is None:
            return timing
        return timing.model_copy(update={"bgp_hold_seconds": self.bgp.hold_seconds})

    @property
    def private_network(self) -> IPv4Network:
        """The subnet of the private instances, taken from the VIP's prefix length."""
        return self.pair.vip.network

    def node_named(self, name: str) -> Node:
        """The node called `name`; KeyError if there is none."""
        for node in self.node:
            if node.name == name:
                return node
        raise KeyError(name)

    def peer_of(self, name: str) -> Node:
        """The other node; KeyError if `name` is not one of the two."""
        first, second = self.node
        return second if self.node_named(name) is first else first

    def bit_of(self, name: str) -> int:
        """0 for the first node of the file, 1 for the second: the last bit of an epoch."""
        return self.node.index(self.node_named(name))


def config_hash(gateway: Gateway) -> str:
    """16 hex digits over the meaning of the file: defaults filled in, order of keys and comments ignored."""
    canonical = json.dumps(gateway.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_HASH_DIGITS]
