"""What a switch drops, as text that nft accepts; faults by name."""

from __future__ import annotations

import subprocess

import pytest

from natpair.errors import LabError, Usage
from natpair_lab.testbed.faults import KINDS, SERVICE_KINDS, kind_named
from natpair_lab.testbed.switches import SwitchFaults, ruleset


def test_no_fault_drops_nothing():
    assert "drop" not in ruleset(SwitchFaults())


def test_a_dead_port_drops_both_ways_and_can_be_repaired():
    dead = SwitchFaults().with_dead("nat-a", True)
    assert 'iifname "nat-a" drop' in ruleset(dead)
    assert 'oifname "nat-a" drop' in ruleset(dead)
    assert dead.with_dead("nat-a", False) == SwitchFaults()
    assert dead.with_dead("nat-a", True).dead == ("nat-a",)


def test_a_partition_spares_everybody_else():
    text = ruleset(SwitchFaults().with_partition(("nat-a", "nat-b")))
    assert text.count(" drop") == 2
    assert 'iifname "nat-a" oifname "nat-b" drop' in text


def test_a_new_cable_has_no_old_faults():
    broken = SwitchFaults().with_dead("nat-a", True).with_loss("nat-a", 30).with_loss("nat-b", 5)
    assert broken.without("nat-a") == SwitchFaults().with_loss("nat-b", 5)


@pytest.mark.parametrize("loss", [-1, 1001])
def test_a_loss_beyond_all_is_refused(loss: int):
    with pytest.raises(LabError):
        SwitchFaults().with_loss("nat-a", loss)


@pytest.mark.root
def test_nft_accepts_all_faults_at_once_and_twice():
    faults = SwitchFaults().with_dead("a", True).with_loss("b", 30).with_loss("c", 1000).with_partition(("a", "b"))
    subprocess.run(
        ["unshare", "-n", "nft", "-f", "-"], input=ruleset(faults) + ruleset(faults), text=True, timeout=10, check=True
    )


@pytest.mark.parametrize("name", [*KINDS, *(f"{verb}:bird" for verb in SERVICE_KINDS)])
def test_every_fault_has_words(name: str):
    assert kind_named(name).words


def test_a_service_may_be_named_without_its_prefix():
    assert kind_named("stop:bird").words == kind_named("stop:natpair-bird").words


@pytest.mark.parametrize("name", ["", "fire", "kill:", "burn:bird", "kill:prepare"])
def test_an_unknown_fault_is_refused(name: str):
    with pytest.raises(Usage):
        kind_named(name)
