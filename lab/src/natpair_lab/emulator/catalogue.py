"""Regions, plans and prices that the emulated platform offers.

Names, capabilities and prices follow recorded answers of the real API (2024 to 2026); resolvers are documentation
addresses. Clients must read all of it from the API and rely on nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass

_CORE = (
    "Linodes",
    "Disk Encryption",
    "Backups",
    "NodeBalancers",
    "Block Storage",
    "Kubernetes",
    "Cloud Firewall",
    "Vlans",
    "VPCs",
    "Managed Databases",
    "Metadata",
    "Placement Group",
    "StackScripts",
    "Maintenance Policy",
    "Linode Interfaces",
)
_DISTRIBUTED = ("Linodes", "Disk Encryption", "Cloud Firewall", "Vlans", "Metadata", "Distributed Plans")


@dataclass(frozen=True, slots=True)
class Region:
    """A data centre."""

    id: str
    label: str
    country: str
    capabilities: tuple[str, ...] = _CORE
    site_type: str = "core"
    maximum_linodes_per_group: int = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """A size of Linode; money in US dollars, disk and memory in MiB, network in Mbit/s, transfer in GB a month."""

    id: str
    label: str
    family: str
    vcpus: int
    memory: int
    disk: int
    transfer: int
    network_out: int
    monthly: float
    hourly: float
    backups_monthly: float


# Jakarta and São Paulo cost a fifth and two fifths more.
_DEARER = {"id-cgk": 1.2, "br-gru": 1.4}
DEARER_REGIONS = tuple(_DEARER)


def price_factor(region: str) -> float:
    """What prices are multiplied by in that region."""
    return _DEARER.get(region, 1.0)


REGIONS: dict[str, Region] = {
    region.id: region
    for region in (
        Region("us-central", "Dallas, TX", "us"),
        Region("us-west", "Fremont, CA", "us"),
        Region("us-southeast", "Atlanta, GA", "us"),
        Region("us-east", "Newark, NJ", "us"),
        Region("eu-west", "London, UK", "gb"),
        Region("ap-south", "Singapore, SG", "sg"),
        Region("eu-central", "Frankfurt, DE", "de"),
        Region("ap-northeast", "Tokyo 2, JP", "jp"),
        Region("ap-west", "Mumbai, IN", "in"),
        Region("ca-central", "Toronto, CA", "ca"),
        Region("ap-southeast", "Sydney, AU", "au"),
        Region("us-iad", "Washington, DC", "us"),
        Region("us-ord", "Chicago, IL", "us"),
        Region("fr-par", "Paris, FR", "fr"),
        Region("us-sea", "Seattle, WA", "us"),
        Region("br-gru", "Sao Paulo, BR", "br"),
        Region("nl-ams", "Amsterdam, NL", "nl"),
        Region("se-sto", "Stockholm, SE", "se"),
        Region("es-mad", "Madrid, ES", "es"),
        Region("in-maa", "Chennai, IN", "in"),
        Region("jp-osa", "Osaka, JP", "jp"),
        Region("it-mil", "Milan, IT", "it"),
        Region("us-mia", "Miami, FL", "us"),
        Region("id-cgk", "Jakarta, ID", "id"),
        Region("us-lax", "Los Angeles, CA", "us"),
        Region("gb-lon", "London 2, UK", "gb"),
        Region("au-mel", "Melbourne, AU", "au"),
        Region("in-bom-2", "Mumbai 2, IN", "in"),
        Region("de-fra-2", "Frankfurt 2, DE", "de"),
        Region("sg-sin-2", "Singapore 2, SG", "sg"),
        Region("jp-tyo-3", "Tokyo 3, JP", "jp"),
        Region("no-osl-1", "Oslo, NO", "no"),
        Region("us-den-1", "Denver, CO", "us", _DISTRIBUTED, "distributed", 0),
    )
}

PLANS: dict[str, Plan] = {
    plan.id: plan
    for plan in (
        Plan("g6-nanode-1", "Nanode 1GB", "nanode", 1, 1024, 25600, 1000, 1000, 5.0, 0.0075, 2.0),
        Plan("g6-standard-1", "Linode 2GB", "standard", 1, 2048, 51200, 2000, 2000, 12.0, 0.018, 2.5),
        Plan("g6-standard-2", "Linode 4GB", "standard", 2, 4096, 81920, 4000, 4000, 24.0, 0.036, 5.0),
        Plan("g6-standard-4", "Linode 8GB", "standard", 4, 8192, 163840, 5000, 5000, 48.0, 0.072, 10.0),
        Plan("g6-standard-6", "Linode 16GB", "standard", 6, 16384, 327680, 8000, 6000, 96.0, 0.144, 20.0),
        Plan("g6-dedicated-2", "Dedicated 4GB", "dedicated", 2, 4096, 81920, 4000, 4000, 36.0, 0.054, 5.0),
        Plan("g6-dedicated-4", "Dedicated 8GB", "dedicated", 4, 8192, 163840, 5000, 5000, 72.0, 0.108, 10.0),
        Plan("g6-dedicated-8", "Dedicated 16GB", "dedicated", 8, 16384, 327680, 6000, 6000, 144.0, 0.216, 20.0),
        Plan("g6-dedicated-16", "Dedicated 32GB", "dedicated", 16, 32768, 655360, 7000, 7000, 288.0, 0.432, 40.0),
    )
}

RESERVED_IP_HOURLY = 0.0068
RESERVED_IP_MONTHLY = 5.0
