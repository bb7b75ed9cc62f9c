"""The fabric's files, checked by BIRD and nft themselves, and what is read back from BIRD."""

from __future__ import annotations

import subprocess
from itertools import product
from pathlib import Path

import pytest

from natpair_lab.testbed import fabric, routers
from natpair_lab.testbed.fabric import Knobs
from natpair_lab.testbed.routers import Heard, Provider

ALL_KNOBS = [Knobs(m * 1000, *rest) for m, *rest in product((False, True), repeat=5)]


def test_one_file_for_each_route_server_and_the_router(gateway):
    made = fabric.configs(gateway, Knobs(), fabric.all_shared(gateway))
    assert made.daemons == ("rs1", "rs2", "rs3", "rs4", "router")
    assert {f"{name}.conf" for name in made.daemons} <= set(made.files)


def test_every_node_is_a_resolvable_next_hop_whatever_its_prefix_length(gateway):
    made = fabric.configs(gateway, Knobs(), fabric.all_shared(gateway))
    for name in made.daemons:
        assert 'route 2001:db8:100::4/128 via "public0";' in made.files[f"{name}.conf"]


def test_a_node_without_a_share_is_refused(gateway):
    (fip,) = gateway.pair.fips
    text = fabric.configs(gateway, Knobs(), {fip: ("nat-b",)}).files["rs1.conf"]
    assert "filter from_0 { reject; }" in text
    assert "if ! (net ~ [ 192.0.2.221/32 ]) then reject;" in text


def test_the_knobs_reach_the_files(gateway):
    shares = fabric.all_shared(gateway)
    plain = fabric.configs(gateway, Knobs(), shares).files
    assert "bgp_med = 0" not in plain["rs1.conf"]
    assert "bgp_med = 0;" in fabric.configs(gateway, Knobs(ignore_med=True), shares).files["rs1.conf"]
    assert "prefer older on" in fabric.configs(gateway, Knobs(prefer_older=True), shares).files["rs1.conf"]
    shared = fabric.configs(gateway, Knobs(load_share=True), shares).files
    assert "add paths tx" in shared["rs1.conf"]
    assert "merge paths on" in shared["router.conf"]
    assert fabric.configs(gateway, Knobs(converge_ms=1500), shares).files["converge_ms"] == "1500\n"


def test_sessions_are_held_only_for_nodes_without_a_share(gateway):
    (fip,) = gateway.pair.fips
    rules = fabric.configs(gateway, Knobs(hold_sessions=True), {fip: ("nat-b",)}).files["sessions.nft"]
    assert "2001:db8:100::3 tcp dport 179 drop" in rules
    assert "2001:db8:100::4" not in rules
    assert "drop" not in fabric.configs(gateway, Knobs(), {fip: ()}).files["sessions.nft"]


@pytest.mark.root
@pytest.mark.parametrize("knobs", ALL_KNOBS)
def test_bird_and_nft_accept_every_combination(gateway, tmp_path: Path, knobs: Knobs):
    (fip,) = gateway.pair.fips
    for shares in ({fip: ("nat-a", "nat-b")}, {fip: ("nat-b",)}, {fip: ()}):
        made = fabric.configs(gateway, knobs, shares)
        for name in ("rs1", "router"):
            checked = check(tmp_path, made.files[f"{name}.conf"])
            assert checked.returncode == 0, checked.stderr
        checked = subprocess.run(
            ["unshare", "-n", "nft", "-c", "-f", "-"], input=made.files["sessions.nft"], text=True, check=False
        )
        assert checked.returncode == 0


@pytest.mark.root
def test_the_check_refuses_a_bad_file(gateway, tmp_path: Path):
    good = fabric.configs(gateway, Knobs(), fabric.all_shared(gateway)).files["rs1.conf"]
    assert check(tmp_path, good.replace("passive yes", "passiv yes")).returncode != 0


def check(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "bird.conf"
    path.write_text(text)
    return subprocess.run(["bird", "-p", "-c", str(path)], capture_output=True, text=True, timeout=10, check=False)


SHOWN_PROTOCOLS = """\
2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     07:40:43.651  
 node_0     BGP        ---        up     07:41:35.122  Established   
 node_1     BGP        ---        start  07:41:35.122  Connect       Hold timer expired
1002-to_router  BGP        ---        up     07:41:35.122  Established   
0000 
"""  # noqa: W291 - as BIRD 2.0.12 prints it

SHOWN_ROUTES = """\
1007-Table master4:
 192.0.2.221/32       unicast [node_1 07:43:58.919] * (100) [AS65001?]
\tvia 2001:db8:100::4 on public0
                      unicast [node_0 07:44:00.001] (100) [AS65001?]
\tvia 2001:db8:100::3 on public0
0000 
"""  # noqa: W291


def test_established_sessions_are_read_from_bird():
    assert list(routers.up_sessions(SHOWN_PROTOCOLS)) == ["node_0", "to_router"]


def test_routes_are_read_from_bird_with_the_prefix_of_the_row_above():
    assert list(routers.learnt(SHOWN_ROUTES)) == [("node_1", "192.0.2.221/32"), ("node_0", "192.0.2.221/32")]


def test_what_must_come_back_after_a_change(gateway):
    (fip,) = gateway.pair.fips
    before = {
        Heard("rs1", "to_router"),
        Heard("rs1", "node_0"),
        Heard("rs1", "node_0", f"{fip}/32"),
        Heard("rs1", "node_1"),
        Heard("rs1", "node_1", f"{fip}/32"),
        Heard("router", "rs1"),
    }
    everything = Provider(gateway, Knobs(), fabric.all_shared(gateway))
    assert routers.survivors(before, everything, []) == before - {Heard("router", "rs1")}
    unshared = Provider(gateway, Knobs(), {fip: ("nat-b",)})
    assert Heard("rs1", "node_0", f"{fip}/32") not in routers.survivors(before, unshared, [])
    assert Heard("rs1", "node_0") in routers.survivors(before, unshared, [])
    held = Provider(gateway, Knobs(hold_sessions=True), {fip: ("nat-b",)})
    assert Heard("rs1", "node_0") not in routers.survivors(before, held, [])
    assert Heard("rs1", "node_1") not in routers.survivors(before, everything, ["nat-b"])


@pytest.mark.parametrize(
    ("route", "nodes"),
    [
        ("[]", ()),
        ('[{"dst":"192.0.2.221","via":{"family":"inet6","host":"2001:db8:100::4"},"dev":"public0"}]', ("nat-b",)),
        (
            '[{"dst":"192.0.2.221","nexthops":[{"via":{"family":"inet6","host":"2001:db8:100::4"}},'
            '{"via":{"family":"inet6","host":"2001:db8:100::3"}}]}]',
            ("nat-a", "nat-b"),
        ),
        ('[{"type":"blackhole","dst":"192.0.2.221","metric":1000000}]', ()),
    ],
)
def test_the_next_hop_names_the_node(gateway, route: str, nodes: tuple[str, ...]):
    assert routers.nodes_of(route, gateway) == nodes
