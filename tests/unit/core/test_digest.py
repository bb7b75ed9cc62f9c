from __future__ import annotations

from natpair.config.load import parse
from natpair.core.model import config_hash
from samples import gateway, text_with


def test_a_default_written_out_changes_nothing() -> None:
    assert config_hash(gateway(extra="[vrrp]\nrouter_id = 51\n")) == config_hash(gateway())


def test_comments_and_layout_change_nothing() -> None:
    assert config_hash(parse("# hello\n\n" + text_with())) == config_hash(gateway())


def test_a_meaning_changes_it() -> None:
    assert config_hash(gateway(extra="[vrrp]\nrouter_id = 52\n")) != config_hash(gateway())


def test_it_is_sixteen_hex_digits() -> None:
    assert len(config_hash(gateway())) == 16
    int(config_hash(gateway()), 16)
