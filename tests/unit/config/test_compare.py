"""Two configurations beside each other, in the words of the file."""

from __future__ import annotations

from natpair.config.compare import KeyChange, compare
from samples import gateway


def test_equal_meaning_is_no_difference() -> None:
    assert compare(gateway(), gateway(extra="[nat]\nudp_seconds = 300\n")) == ()


def test_each_key_is_told_as_the_file_would_say_it() -> None:
    new = gateway(
        ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.221", "192.0.2.222"]'),
        ('"192.168.1.4/24"', '"192.168.1.5/24"'),
        extra='[health]\npublic_gateway = "203.0.113.1"\n[linode]\nplain_http = true\n',
    )
    assert compare(gateway(), new) == (
        KeyChange("pair.fips", '["192.0.2.221"]', '["192.0.2.221", "192.0.2.222"]'),
        KeyChange("node[1].private_address", '"192.168.1.4/24"', '"192.168.1.5/24"'),
        KeyChange("health.public_gateway", "not set", '"203.0.113.1"'),
        KeyChange("linode.plain_http", "false", "true"),
    )
