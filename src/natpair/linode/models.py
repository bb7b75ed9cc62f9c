"""What the API answers, as frozen values with only the fields natpair uses.

Unknown fields are ignored and unknown states kept as they are, so that an API that grows does not break us;
a missing field that we need is an error.
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Interface
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


def _in_utc(moment: datetime) -> datetime:
    # The API writes `2026-11-22T10:00:00` and means UTC.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _none_is_empty(value: object) -> object:
    return () if value is None else value


Moment = Annotated[datetime, AfterValidator(_in_utc)]
Labels = Annotated[tuple[str, ...], BeforeValidator(_none_is_empty)]
# An address as the API writes it, with or without a prefix length, as the bare address.
RangeStart = Annotated[IPv6Address, BeforeValidator(lambda value: str(value).partition("/")[0])]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Reference(_Answer):
    """An entity that another one names."""

    id: int
    label: str | None = None


class Instance(_Answer):
    """A Linode. `status` goes `provisioning`, `booting`, `running`; `host_uuid` names the machine it runs on."""

    id: int
    label: str
    region: str
    type: str | None = None
    status: str
    ipv4: tuple[IPv4Address, ...] = ()
    ipv6: IPv6Interface | None = None
    tags: Labels = ()
    host_uuid: str | None = None
    interface_generation: str | None = None
    has_user_data: bool | None = None
    placement_group: Reference | None = None
    watchdog_enabled: bool | None = None

    @property
    def running(self) -> bool:
        """Whether it is up, as the platform sees it."""
        return self.status == "running"


class OneToOneNat(_Answer):
    """A VPC address that a public one stands for; such a public address cannot be shared."""

    address: IPv4Address | None = None


class Address(_Answer):
    """An IPv4 address. `linode_id` is its owner, also in the list of another Linode that it is shared with."""

    address: IPv4Address
    linode_id: int | None = None
    public: bool = True
    prefix: int | None = None
    gateway: IPv4Address | None = None
    region: str
    reserved: bool = False
    vpc_nat_1_1: OneToOneNat | None = None


class InstanceIpv4(_Answer):
    """A Linode's IPv4 addresses: its own, and in `shared` those of others that it may announce."""

    public: tuple[Address, ...] = ()
    private: tuple[Address, ...] = ()
    shared: tuple[Address, ...] = ()
    reserved: tuple[Address, ...] = ()


class Slaac(_Answer):
    """The IPv6 address a Linode gives itself; the route servers are reached from it."""

    address: IPv6Address
    prefix: int
    gateway: IPv6Address | None = None


class InstanceIpv6(_Answer):
    """A Linode's IPv6 addresses."""

    slaac: Slaac | None = None


class InstanceAddresses(_Answer):
    """Everything one Linode is reached by."""

    ipv4: InstanceIpv4
    ipv6: InstanceIpv6 | None = None


class RangeSummary(_Answer):
    """An IPv6 range as lists show it."""

    range: RangeStart
    prefix: int
    region: str


class Range(RangeSummary):
    """An IPv6 range. `is_bgp`: it is shared; `linodes`: those it is assigned to or shared with."""

    is_bgp: bool
    linodes: tuple[int, ...] = ()


class ConfigInterface(_Answer):
    """One interface of a config (the older generation); its place in the list is the N of ethN."""

    id: int | None = None
    purpose: str
    label: str | None = None
    ipam_address: str | None = None


class ConfigHelpers(_Answer):
    """What the platform writes into the guest at boot; `network` is Network Helper."""

    network: bool = True


class Config(_Answer):
    """A config profile: how a Linode of the older interface generation boots."""

    id: int
    label: str
    interfaces: Annotated[tuple[ConfigInterface, ...], BeforeValidator(_none_is_empty)] = ()
    helpers: ConfigHelpers | None = None


class VlanPart(_Answer):
    """The VLAN side of an interface."""

    vlan_label: str
    ipam_address: str | None = None


class PublicAddress(_Answer):
    """One IPv4 address of a public interface."""

    address: IPv4Address
    primary: bool = False


class PublicIpv4(_Answer):
    """The IPv4 addresses of a public interface that its Linode owns."""

    addresses: tuple[PublicAddress, ...] = ()


class PublicPart(_Answer):
    """The public side of an interface."""

    ipv4: PublicIpv4 = PublicIpv4()


class Interface(_Answer):
    """One Linode interface (the newer generation): public, VLAN or VPC."""

    id: int
    mac_address: str | None = None
    public: PublicPart | None = None
    vlan: VlanPart | None = None


class InterfaceSettings(_Answer):
    """Settings over all Linode interfaces of one Linode."""

    network_helper: bool


class Member(_Answer):
    """A Linode in a placement group."""

    linode_id: int
    is_compliant: bool


class PlacementGroup(_Answer):
    """Linodes kept on different machines. Not compliant: two of them share one at the moment."""

    id: int
    label: str
    region: str
    placement_group_type: str
    placement_group_policy: str
    is_compliant: bool
    members: tuple[Member, ...] = ()


class RuleAddresses(_Answer):
    """Networks a rule is for, in CIDR notation."""

    ipv4: Labels = ()
    ipv6: Labels = ()


class FirewallRule(_Answer):
    """One rule of a Cloud Firewall. `ports` as Linode writes them, such as `22, 179`; none for ICMP."""

    action: str
    protocol: str
    ports: str | None = None
    addresses: RuleAddresses = RuleAddresses()
    label: str | None = None
    description: str | None = None


class FirewallRules(_Answer):
    """The rules of a Cloud Firewall and what happens to what no rule names."""

    # The API answers null where there are no rules.
    inbound: Annotated[tuple[FirewallRule, ...], BeforeValidator(_none_is_empty)] = ()
    inbound_policy: str
    outbound: Annotated[tuple[FirewallRule, ...], BeforeValidator(_none_is_empty)] = ()
    outbound_policy: str


class Firewall(_Answer):
    """A Cloud Firewall; it never sees VLAN traffic."""

    id: int
    label: str
    status: str
    rules: FirewallRules
    tags: Labels = ()


class Entity(_Answer):
    """What a device, an event or a maintenance is about."""

    id: int | str | None = None
    label: str | None = None
    type: str | None = None


class FirewallDevice(_Answer):
    """Something a firewall stands before."""

    id: int
    entity: Entity


class PlacementLimits(_Answer):
    """How many Linodes a placement group of the region may hold."""

    maximum_linodes_per_pg: int | None = None


class Resolvers(_Answer):
    """The region's name servers, as the API writes them: addresses separated by commas."""

    ipv4: str = ""
    ipv6: str = ""


class Region(_Answer):
    """A region. IP Sharing has no capability string: that it works there must be known otherwise."""

    id: str
    label: str
    country: str | None = None
    status: str
    capabilities: tuple[str, ...] = ()
    resolvers: Resolvers = Resolvers()
    placement_group_limits: PlacementLimits | None = None


class Price(_Answer):
    """US dollars before tax."""

    hourly: float | None = None
    monthly: float | None = None


class RegionPrice(Price):
    """The price in one region that differs from the others."""

    id: str


class AddressType(_Answer):
    """What an address costs."""

    id: str
    label: str
    price: Price
    region_prices: tuple[RegionPrice, ...] = ()


class Image(_Answer):
    """A disk to start from. User data is read by images with the capability `cloud-init` alone."""

    id: str
    label: str
    status: str | None = None
    deprecated: bool = False
    capabilities: Labels = ()


class LinodeType(_Answer):
    """A plan. `network_out` in Mbit/s, `memory` in MB, `transfer` in GB a month."""

    id: str
    label: str
    vcpus: int
    memory: int
    network_out: int
    transfer: int
    price: Price
    region_prices: tuple[RegionPrice, ...] = ()

    def price_in(self, region: str) -> Price:
        """What it costs there."""
        return next((price for price in self.region_prices if price.id == region), self.price)


class AccountSettings(_Answer):
    """Defaults of the account. `interfaces_for_new_linodes` ends in `_only` where only one generation may be made."""

    interfaces_for_new_linodes: str | None = None
    network_helper: bool | None = None


class Maintenance(_Answer):
    """Planned work on a machine. `status` and `type` differ between sources: take an unknown one as imminent."""

    entity: Entity
    type: str
    status: str
    reason: str | None = None
    description: str | None = None
    when: Moment | None = None
    not_before: Moment | None = None
    start_time: Moment | None = None
    complete_time: Moment | None = None

    @property
    def begins(self) -> datetime | None:
        """The earliest moment it may begin; None when no source says one."""
        moments = [moment for moment in (self.start_time, self.when, self.not_before) if moment is not None]
        return min(moments, default=None)


class EventDetails(_Answer):
    """When the work of an event begins, as newer answers tell."""

    not_before: Moment | None = None
    start_time: Moment | None = None

    @property
    def begins(self) -> datetime | None:
        """The earliest moment it may begin; None when it does not say."""
        return min((moment for moment in (self.start_time, self.not_before) if moment is not None), default=None)


class Event(_Answer):
    """Something that happened to the account's things, such as `linode_reboot`; `created` in UTC."""

    id: int
    action: str
    status: str
    created: Moment
    entity: Entity | None = None
    message: str | None = None
    percent_complete: int | None = None
    details: EventDetails | None = None
