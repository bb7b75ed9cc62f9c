"""Names of regions' cities, for a file that has a city or another spelling instead of a region."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from natpair.core.regions import DCIDS

CITIES: Mapping[str, str] = MappingProxyType(
    {
        "amsterdam": "nl-ams",
        "atlanta": "us-southeast",
        "chennai": "in-maa",
        "chicago": "us-ord",
        "dallas": "us-central",
        "frankfurt": "eu-central",
        "fremont": "us-west",
        "jakarta": "id-cgk",
        "london": "eu-west",
        "los angeles": "us-lax",
        "madrid": "es-mad",
        "melbourne": "au-mel",
        "miami": "us-mia",
        "milan": "it-mil",
        "mumbai": "ap-west",
        "newark": "us-east",
        "osaka": "jp-osa",
        "paris": "fr-par",
        "sao paulo": "br-gru",
        "seattle": "us-sea",
        "singapore": "ap-south",
        "stockholm": "se-sto",
        "sydney": "ap-southeast",
        "tokyo": "ap-northeast",
        "toronto": "ca-central",
        "washington": "us-iad",
    }
)


def near_region(given: str) -> str | None:
    """The region that `given` probably means, by spelling or by city; None if unknown."""
    word = given.strip().lower().replace("_", "-")
    found = get_close_matches(word, [*DCIDS, *CITIES], n=1)
    city = found or get_close_matches(word.partition(",")[0].replace("-", " "), CITIES, n=1)
    return CITIES.get(city[0], city[0]) if city else None
