"""The platform's own images, as far as a gateway could want them; an account's private ones are not emulated."""

from __future__ import annotations

from dataclasses import dataclass

from natpair_lab.emulator.views import Json

_CREATED = "2024-01-09T12:00:00"


@dataclass(frozen=True, slots=True)
class Image:
    """A disk to start from; `cloud_init` says whether user data would be read."""

    id: str
    label: str
    vendor: str
    cloud_init: bool = True
    deprecated: bool = False


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


def view(one: Image) -> Json:
    """An image as a list shows it."""
    return {
        "id": one.id,
        "label": one.label,
        "vendor": one.vendor,
        "description": "",
        "type": "manual",
        "status": "available",
        "size": 2500,
        "total_size": 2500,
        "is_public": True,
        "is_shared": False,
        "deprecated": one.deprecated,
        "created": _CREATED,
        "updated": _CREATED,
        "created_by": "linode",
        "eol": None,
        "expiry": None,
        "capabilities": ["cloud-init", "distributed-sites"] if one.cloud_init else [],
        "regions": [],
        "tags": [],
        "image_sharing": None,
    }
