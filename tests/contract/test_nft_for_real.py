"""The rendered ruleset through the adapter: what is switched is what is read back."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from checks.scratch import Scratch
from contract.daemons import FILES, call
from natpair.core.desired import Traffic

pytestmark = pytest.mark.root

GENERATED = "/etc/natpair/generated"
READ = """
from natpair.system import nft
seen = await nft.read()
print(f"{seen.traffic} {seen.duplicate} {seen.fence}" if seen else "nothing")
"""
SWITCH = (
    """
from pathlib import Path
from natpair.system import nft
await nft.Loader().transact("\\n".join(Path(path).read_text() for path in sys.argv[1:]))
"""
    + READ
)
STATES = list(product(Traffic, ("on", "off"), ("on", "off")))


def files(traffic: str, duplicate: str, fence: str) -> list[str]:
    names = (f"traffic-{traffic}", f"duplicate-{duplicate}", f"sync-fence-{fence}")
    return [f"{GENERATED}/{name}.nft" for name in names]


def shown(traffic: str, duplicate: str, fence: str) -> str:
    return f"{traffic} {duplicate == 'on'} {fence == 'on'}"


def switch(machine: Scratch, *paths: str) -> str:
    return call(machine, SWITCH, *paths)


@pytest.fixture(autouse=True)
def _loaded(machine: Scratch) -> None:
    machine.run("nft", "-f", f"{GENERATED}/nftables.nft")


def test_a_fresh_ruleset_is_closed(machine: Scratch) -> None:
    assert call(machine, READ) == shown("closed", "off", "off")


@pytest.mark.parametrize("state", STATES, ids=["-".join(state) for state in STATES])
def test_every_combination_is_read_back(machine: Scratch, state: tuple[str, str, str]) -> None:
    assert switch(machine, *files(*state)) == shown(*state)


def test_a_walk_through_all_of_them_ends_where_it_should(machine: Scratch) -> None:
    """Each file switches only its own part, from whatever was there before."""
    before = switch(machine, *files(*STATES[0]))
    for old, new in pairwise([*STATES, STATES[0]]):
        parts = zip(files(*old), files(*new), strict=True)
        changed = [after for was, after in parts if was != after]
        before = switch(machine, *changed) if changed else before
        assert before == shown(*new)


def test_a_switch_twice_is_no_difference(machine: Scratch) -> None:
    switch(machine, *files("local", "on", "on"))
    first = machine.run("nft", "--stateless", "list", "ruleset").stdout
    switch(machine, *files("local", "on", "on"))
    assert machine.run("nft", "--stateless", "list", "ruleset").stdout == first


def test_the_whole_and_a_state_in_one_transaction(machine: Scratch) -> None:
    """What a repair does: base and switches together, no moment in between."""
    machine.run("nft", "flush", "ruleset")
    assert switch(machine, f"{GENERATED}/nftables.nft", *files("relay", "off", "on")) == shown("relay", "off", "on")


@pytest.mark.parametrize(
    "damage",
    [
        ("flush", "ruleset"),
        ("delete", "table", "ip", "natpair"),
        ("delete", "table", "inet", "natpair"),
    ],
    ids=lambda damage: " ".join(damage),
)
def test_tables_that_are_gone_are_nothing(machine: Scratch, damage: tuple[str, ...]) -> None:
    machine.run("nft", *damage)
    assert call(machine, READ) == "nothing"


def test_a_chain_emptied_by_a_stranger_is_noticed(machine: Scratch) -> None:
    switch(machine, *files("local", "off", "off"))
    chains = machine.run("nft", "list", "chains", "ip").stdout
    role_chains = [line.split()[1] for line in chains.splitlines() if line.strip().startswith("chain role_")]
    assert role_chains
    for chain in role_chains:
        machine.run("nft", "flush", "chain", "ip", "natpair", chain)
    assert call(machine, READ) == "nothing"


LISTING = "from natpair.system import nft\nseen = await nft.read()\nprint(seen.listing)"


def test_any_foreign_rule_changes_the_listing_and_traffic_does_not(machine: Scratch) -> None:
    before = call(machine, LISTING)
    for port in range(9, 19):
        machine.run("bash", "-c", f"echo hello > /dev/udp/192.168.1.4/{port}", ok=(0, 1))
    assert call(machine, LISTING) == before
    machine.run("nft", "insert", "rule", "inet", "natpair", "input", "accept")
    assert call(machine, LISTING) != before


def test_clients_that_are_counted_are_no_difference(machine: Scratch) -> None:
    switch(machine, *files("local", "off", "off"))
    body = """
from natpair.system import nft
before = await nft.read()
await nft.Loader().transact("add element ip natpair client_rate { 192.168.1.7 limit rate over 5/second }")
await nft.Loader().transact("add element ip natpair client_flows { 192.168.1.7 . udp . 3 ct count over 9 }")
await nft.Loader().transact("add element ip natpair clients_full { 192.168.1.7 }")
print((await nft.read()) == before)
await nft.Loader().transact("add element ip natpair fips { 192.0.2.222 }")
print((await nft.read()) == before)
"""
    assert call(machine, body).split() == ["True", "False"]


def test_a_refused_transaction_leaves_everything_as_it_was(machine: Scratch) -> None:
    switch(machine, *files("relay", "on", "off"))
    bad = """
from natpair.system import nft
try:
    await nft.Loader().transact("flush chain ip natpair role_forward\\nadd rule ip natpair nowhere accept")
except CommandFailed as error:
    print("refused", error.rc)
"""
    assert call(machine, bad).startswith("refused 1")
    assert call(machine, READ) == shown("relay", "on", "off")


COUNTERS = "from natpair.system import nft\nprint(sorted((nft.counters()).items()))"


def test_the_named_counters_are_there_and_count(machine: Scratch) -> None:
    names = {name for name, _ in eval(call(machine, COUNTERS))}  # noqa: S307 - printed by ourselves
    assert names >= {"leak_guard", "relayed", "fip_in", "fip_unknown", "duplicated"}


ONE = "from natpair.system import nft\nprint(nft.counter('sync_in'), nft.counters()['sync_in'], nft.counter('no_such'))"


def test_one_counter_alone_is_the_same_as_among_all(machine: Scratch) -> None:
    assert call(machine, ONE) == "0 0 0"
    table = "add table ip natpair; add counter ip natpair sync_in packets 7 bytes 9"
    machine.run("nft", f"delete table ip natpair; {table}")
    assert call(machine, ONE) == "7 7 0"


def test_without_a_table_there_are_no_counters(machine: Scratch) -> None:
    machine.run("nft", "flush", "ruleset")
    assert call(machine, COUNTERS) == "[]"


def test_a_switch_keeps_the_counters(machine: Scratch) -> None:
    """The base is replaced as a whole; a switch of state only refills chains."""
    switch(machine, *files("local", "off", "off"))
    listing = machine.run("nft", "list", "counters", "table", "ip", "natpair").stdout
    switch(machine, *files("relay", "off", "off"))
    assert machine.run("nft", "list", "counters", "table", "ip", "natpair").stdout == listing


def test_every_switch_is_a_file_of_its_own() -> None:
    assert {path for state in STATES for path in files(*state)} <= set(FILES)


PASSAGE = """
import subprocess
from natpair.drift.foreign_chains import Passage
def load(offered, passed):
    text = open("/etc/natpair/generated/nftables.nft").read()
    for name, packets in (("offered", offered), ("passed_192.0.2.221", passed)):
        text = text.replace(f"counter {name} {{", f"counter {name} {{ packets {packets} bytes 0;")
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
passage = Passage()
async def look(offered, passed, *commands):
    load(offered, passed)
    for command in commands:
        subprocess.run(["nft", command], check=True)
        passage.changed()
    print([(f.wrong.thing, f.repair) for f in await passage.findings()])
await look(0, 0)
await look(50, 0)
chain = "{ type filter hook forward priority -10; policy drop; }"
await look(100, 7, "add table ip stranger", f"add chain ip stranger way {chain}", "add chain ip stranger other")
await look(150, 8)
await look(200, 8)
await look(200, 8, "add rule ip stranger other accept")
await look(200, 8, "add rule ip stranger way accept")
await look(230, 8)
await look(260, 9)
await look(300, 9, "delete table ip stranger")
"""


def test_a_foreign_chain_is_named_while_nothing_of_what_clients_send_passes(machine: Scratch) -> None:
    named = "[('table ip stranger chain way', None)]"
    said = call(machine, PASSAGE).splitlines()
    assert said[:2] == ["[]", "[]"], "without a foreign chain nobody is to blame"
    assert said[2:5] == ["[]", "[]", named], "it lets through, then it does not"
    assert said[5] == named, "a chain that only sits beside it changes nothing"
    assert said[6:] == ["[]", named, "[]", "[]"], "another rule starts anew; then something passes; then it is gone"
