"""What the emulated platform offers: regions, plans, images and prices.

Names, capabilities and prices follow recorded answers of the real API (2024 to 2026); resolvers are documentation
addresses. Clients must read all of it from the API and rely on no value here.
"""

from __future__ import annotations

from dataclasses import dataclass

from natpair_lab.emulator.body import Json
from natpair_lab.emulator.refused import invalid, not_found
from natpair_lab.emulator.routing import Call, get, listing

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

    def view(self) -> Json:
        """As a list shows it."""
        number, most = list(REGIONS).index(self.id), self.maximum_linodes_per_group
        return {
            "id": self.id,
            "label": self.label,
            "country": self.country,
            "capabilities": list(self.capabilities),
            "monitors": {"alerts": [], "metrics": []},
            "status": "ok",
            "resolvers": {
                "ipv4": f"192.0.2.{number + 10},192.0.2.{number + 100}",
                "ipv6": f"2001:db8:53::{number + 10:x},2001:db8:53::{number + 100:x}",
            },
            "placement_group_limits": {
                "maximum_pgs_per_customer": None if most else 0,
                "maximum_linodes_per_pg": most,
                "maximum_linodes_per_flexible_pg": most,
            },
            "site_type": self.site_type,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan of Linodes: money in US dollars, disk and memory in MiB, network in Mbit/s, transfer in GB per month."""

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

    def view(self) -> Json:
        """As a list shows it, with its prices."""
        return {
            "id": self.id,
            "label": self.label,
            **_prices(self.hourly, self.monthly),
            "addons": {"backups": _prices(self.backups_monthly / 720, self.backups_monthly)},
            "memory": self.memory,
            "disk": self.disk,
            "transfer": self.transfer,
            "vcpus": self.vcpus,
            "gpus": 0,
            "accelerated_devices": 0,
            "network_out": self.network_out,
            "class": self.family,
            "successor": None,
        }


# Jakarta costs a fifth more, São Paulo two fifths.
_DEARER = {"id-cgk": 1.2, "br-gru": 1.4}


def _prices(hourly: float, monthly: float) -> Json:
    def price(factor: float) -> Json:
        return {"hourly": round(hourly * factor, 4), "monthly": round(monthly * factor, 2)}

    return {
        "price": price(1.0),
        "region_prices": [{"id": where} | price(factor) for where, factor in _DEARER.items()],
    }


def reserved_ip_type() -> Json:
    """The price of a reserved address."""
    return {"id": "reserved-ipv4", "label": "Reserved IPv4", **_prices(0.0068, 5.0)}


@dataclass(frozen=True, slots=True)
class Image:
    """An image for new disks; `cloud_init` says whether user data would be read."""

    id: str
    label: str
    vendor: str
    cloud_init: bool = True
    deprecated: bool = False

    def view(self) -> Json:
        """As a list shows it."""
        return {
            "id": self.id,
            "label": self.label,
            "vendor": self.vendor,
            "description": "",
            "type": "manual",
            "status": "available",
            "size": 2500,
            "total_size": 2500,
            "is_public": True,
            "is_shared": False,
            "deprecated": self.deprecated,
            "created": "2024-01-09T12:00:00",
            "updated": "2024-01-09T12:00:00",
            "created_by": "linode",
            "eol": None,
            "expiry": None,
            "capabilities": ["cloud-init", "distributed-sites"] if self.cloud_init else [],
            "regions": [],
            "tags": [],
            "image_sharing": None,
        }


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

IMAGES: dict[str, Image] = {
    image.id: image
    for image in (
        Image("linode/alpine3.20", "Alpine 3.20", "Alpine", cloud_init=False),
        Image("linode/debian11", "Debian 11", "Debian"),
        Image("linode/debian12", "Debian 12", "Debian"),
        Image("linode/debian13", "Debian 13", "Debian"),
        Image("linode/ubuntu16.04lts", "Ubuntu 16.04 LTS", "Ubuntu", cloud_init=False, deprecated=True),
        Image("linode/ubuntu22.04", "Ubuntu 22.04 LTS", "Ubuntu"),
        Image("linode/ubuntu24.04", "Ubuntu 24.04 LTS", "Ubuntu"),
    )
}


def known_region(name: str, field: str = "region") -> Region:
    """The region, or 400."""
    if name not in REGIONS:
        raise invalid("region is not valid", field)
    return REGIONS[name]


def _region(call: Call) -> Json:
    if call.params["regionId"] not in REGIONS:
        raise not_found()
    return REGIONS[call.params["regionId"]].view()


def _type(call: Call) -> Json:
    if call.params["typeId"] not in PLANS:
        raise not_found()
    return PLANS[call.params["typeId"]].view()


ROUTES = (
    listing("/regions", None, lambda _: [one.view() for one in REGIONS.values()], "country site_type"),
    get("/regions/{regionId}", None, _region),
    listing(
        "/linode/types",
        None,
        lambda _: [one.view() for one in PLANS.values()],
        "accelerated_devices class disk gpus label memory network_out transfer vcpus",
    ),
    get("/linode/types/{typeId}", None, _type),
    listing("/networking/reserved/ips/types", None, lambda _: [reserved_ip_type()]),
    listing(
        "/images",
        None,
        lambda _: [one.view() for one in IMAGES.values()],
        "deprecated is_public is_shared label size status tags type vendor",
    ),
)
