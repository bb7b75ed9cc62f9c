"""The usual mistakes are named as what they are: one problem each, on its line, and no secret is shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from natpair.cli.main import run
from natpair.cli.output import problem_block
from natpair.config.advice import advise
from natpair.config.load import load, parse
from natpair.config.places import near_region
from natpair.core.regions import DCIDS
from natpair.errors import ConfigError, Problem
from samples import text_with

VIP, FIPS, REGION = 'vip = "192.168.1.1/24"', 'fips = ["192.0.2.221"]', 'region = "us-ord"'
PROFILE = 'name = "natpair"'
SECRET = "0123456789abcdef" * 4


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.problems


BROKEN = [
    ('[[node]]\nname = "a"\n[node]\nname = "b"\n', 3, "[node] is defined twice", "[[node]] with double brackets"),
    ("[node]\nname = 'a'\n[node]\nname = 'b'\n", 3, "[node] is defined twice", "[[node]] with double brackets"),
    ("[pair]\n\n[pair]\n", 3, "[pair] is already defined on line 1", "one table [pair]"),
    ('[pair]\nname = "x"\nprofile = "fast"\nname = "y"\n', 4, "name is already set on line 2", "each key only once"),
    ('[pair]\nname = "x\nvip = 1\n', 2, 'the closing " is missing', '"…"'),
    ("[pair]\nname = 'x\nvip = 1\n", 2, "the closing ' is missing", "'…'"),
    ('[pair]\nname = """x\nvip = 1\n', 2, 'the closing """ is missing', '"""'),
    ("pair:\n  name: natpair\n", 1, "this looks like YAML", "key ="),
    ("---\npair:\n", 1, "this looks like YAML", "key ="),
    ('{"pair": {"name": "x"}}\n', 1, "this looks like JSON", "key ="),
    ("[pair]\nname = “natpair”\n", 2, "these are typographic quotes", "straight quotes"),
    ("[pair]\nfips = [\u2018192.0.2.1\u2019]\n", 2, "these are typographic quotes", "straight quotes"),
    ("[pair]\nvip = 192.168.1.1/24  # the gateway\n", 2, "must be in quotes", 'vip = "192.168.1.1/24"'),
    ("[pair]\nname = natpair\n", 2, "must be in quotes", 'name = "natpair"'),
    ("[pair]\nfips = [192.0.2.1, 192.0.2.2]\n", 2, "must be in quotes", 'fips = ["192.0.2.1", "192.0.2.2"]'),
    ("[linode]\ntoken = sesame\n", 2, "must be in quotes", "token = (not shown)"),
]


@pytest.mark.parametrize(("text", "line", "says", "accepted"), BROKEN, ids=range(len(BROKEN)))
def test_what_is_no_toml_is_named(text: str, line: int, says: str, accepted: str) -> None:
    (problem,) = problems(text)
    assert says in problem.message
    assert accepted in problem.accepted
    assert problem.line == line


def test_whatever_else_is_no_toml_keeps_the_parsers_words() -> None:
    (problem,) = problems("[pair\n")
    assert problem.message.startswith("not valid TOML at column 6: Expected ']'")


def test_a_windows_editors_mark_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(b"\xef\xbb\xbf" + text_with().encode())
    assert load(file).pair.name == "natpair"


def test_latin_1_has_a_line_and_a_column(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes('[pair]\nname = "näh"\n'.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load(file)
    (problem,) = caught.value.problems
    assert (problem.line, problem.message) == (2, "byte 0xe4 at column 10 is not UTF-8")


ONE_PROBLEM = [
    ((VIP, 'vip = "192.168.1.1"'), "pair.vip", "192.168.1.1", '"192.168.1.1/24"'),
    ((VIP, 'vip = "192.168.1.1/16"'), "pair.vip", "192.168.1.1/16", "192.168.1.1/24"),
    ((VIP, 'vip = "10.0.0.1/24"'), "pair.vip", "10.0.0.1/24", "an address in 192.168.1.0/24"),
    ((FIPS, 'fips = ["255.255.255.255"]'), "pair.fips[0]", "255.255.255.255", "unicast"),
    ((FIPS, 'fips = ["10.0.0.5"]'), "pair.fips[0]", "10.0.0.5", "a public address"),
    ((FIPS, 'fips = ["172.31.0.5"]'), "pair.fips[0]", "172.31.0.5", "a public address"),
    ((FIPS, 'fips = ["192.0.2.1", "192.168.0.9"]'), "pair.fips[1]", "192.168.0.9", "a public address"),
    ((FIPS, 'fips = ["100.64.0.9"]'), "pair.fips[0]", "100.64.0.9", "a public address"),
    ((REGION, 'region = "US-ORD"'), "bgp.region", "US-ORD", "did you mean us-ord?"),
    ((REGION, 'region = "Chicago"'), "bgp.region", "Chicago", "did you mean us-ord?"),
    ((REGION, REGION + "\n[sync]\nport = 3781"), "sync.port", "3781", "two different"),
    ((REGION, REGION + "\n[heartbeat]\nport = 3780"), "heartbeat.port", "3780", "two different"),
    ((REGION, REGION + '\n[watch]\nenabled = "yes"'), "watch.enabled", "yes", "true or false"),
]


@pytest.mark.parametrize(("change", "key", "value", "accepted"), ONE_PROBLEM)
def test_one_mistake_is_one_problem_as_typed(change: tuple[str, str], key: str, value: str, accepted: str) -> None:
    (problem,) = problems(text_with(change))
    assert (problem.key, problem.value) == (key, value)
    assert accepted in problem.accepted
    assert problem.line is not None


@pytest.mark.parametrize("network", ["8.8.8", "1.1.1"])
def test_a_vlan_of_public_space_is_refused(network: str) -> None:
    (problem,) = problems(text_with().replace("192.168.1.", f"{network}."))
    assert problem.key == "pair.vip"
    assert "public address space" in problem.message


@pytest.mark.parametrize("network", ["10.1.2", "172.16.9", "100.64.1", "198.18.7"])
def test_a_vlan_of_nobodys_space_is_not(network: str) -> None:
    assert parse(text_with().replace("192.168.1.", f"{network}.")).pair.vip.ip.exploded == f"{network}.1"


@pytest.mark.parametrize("count", [1, 3])
def test_nodes_are_counted(count: int) -> None:
    text = text_with()
    node = text[text.rindex("[[node]]") : text.index("[bgp]")]
    changed = text.replace(node, "") if count == 1 else text.replace(node, node + node.replace("nat-b", "nat-c"))
    found = [problem for problem in problems(changed) if problem.key == "node"]
    assert [problem.message for problem in found] == [
        f"the file has {count} node{'s' * (count > 1)}, but a pair needs 2"
    ]
    assert found[0].value == ""


def test_a_problem_of_a_node_names_the_node() -> None:
    (problem,) = problems(text_with(('private_address = "192.168.1.4/24"', 'private_address = "192.168.2.4/24"')))
    assert problem.key == "node[1].private_address"
    assert "node nat-b: private_address = 192.168.2.4/24" in problem_block(problem, "gateway.toml")


def advice(*changes: tuple[str, str], extra: str = "") -> dict[str, str]:
    return {problem.key: problem.message for problem in advise(parse(text_with(*changes, extra=extra)))}


@pytest.mark.parametrize("sources", ['["0.0.0.0/0"]', '["0.0.0.0/1", "128.0.0.0/1"]', '["10.0.0.0/8", "0.0.0.0/0"]'])
def test_everywhere_is_everywhere(sources: str) -> None:
    firewall = f"\n[firewall]\nmanagement_tcp_ports = [22]\nmanagement_sources = {sources}\n"
    assert "everyone on the internet can connect" in advice(extra=firewall)["firewall.management_sources"]
    assert "firewall.management_sources" not in advice(extra=firewall.replace(sources, '["192.0.2.0/24"]'))


def test_nodes_that_are_not_alike_are_asked_about() -> None:
    text = text_with()
    at = text.rindex("[[node]]")
    swapped = text[:at] + text[at:].replace("eth1", "tmp").replace("eth0", "eth1").replace("tmp", "eth0")
    found = {problem.key: problem.message for problem in advise(parse(swapped))}
    assert "swapped compared with nat-a" in found["node[1].private_interface"]
    elsewhere = advice(('public_address = "203.0.113.4/24"', 'public_address = "203.0.112.4/24"'))
    assert "a different subnet from nat-a's" in elsewhere["node[1].public_address"]
    assert not {"node[1].private_interface", "node[1].public_address"} & set(advice())


def test_one_floating_address_has_ports() -> None:
    assert advice(extra="\n[nat]\nmax_flows = 1000000\n")["nat.max_flows"].startswith(
        "1 floating address has only 64512"
    )


@pytest.mark.parametrize(
    "extra",
    [
        f'[linode]\ntoken = "{SECRET}"',
        '[linode]\ntoken = "sesame-0123"',
        '[heartbeat]\nkey = "sesame-0123"',
        '[cloud]\napi_key = {value = "sesame-0123"}',
        '[secrets]\nlinode = "sesame-0123"',
        f'[linode]\nfile = "{SECRET}"',
        f'[linode]\ntoken = "{SECRET}',
        f"[linode]\ntoken = {SECRET}",
        f"[linode]\ntoken: {SECRET}",
        f"[linode]\ntoken = “{SECRET}”",
        '[bgp_extra]\npassword = "sesame-0123"',
    ],
)
def test_no_secret_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str], extra: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text_with(extra=f"\n{extra}\n"))
    assert run(["check", str(file)]) == 78
    assert run(["check", str(file), "--json"]) == 78
    out, err = capfd.readouterr()
    assert "not shown" in out
    assert "not shown" in err
    for secret in (SECRET, "sesame"):
        assert secret not in out + err


def test_what_only_sounds_secret_is_shown() -> None:
    (problem,) = problems(text_with((PROFILE, PROFILE + "\nkey_file = 3")))
    assert problem.value == "3"


def test_strict_is_not_good(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text_with(("[[node]]", "\n[[node]]"), extra="\n[nat]\nudp_seconds = 120\n"))
    assert run(["check", str(file), "--strict"]) == 78
    out, err = capfd.readouterr()
    assert "✓" not in out
    assert "is valid" not in out
    assert "suggested: 300 or more" in err
    assert run(["check", str(file), "--strict", "--json"]) == 78
    assert json.loads(capfd.readouterr().out)["ok"] is False
    assert run(["check", str(file), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["ok"] is True


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for text, code, says in ((text_with(), 0, "standard input is valid"), ("[pair", 78, "standard input: 1 problem")):
        file = tmp_path / "given"
        file.write_text(text)
        with file.open() as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            assert run(["check", "-"]) == code
        out, err = capfd.readouterr()
        assert says in out + err


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    fifo, long = tmp_path / "fifo", tmp_path / "long"
    os.mkfifo(fifo)
    long.write_bytes(b"#" * 1_000_001)
    for path, says in ((fifo, "not a regular file"), (Path("/dev/zero"), "not a regular file"), (long, "longer than")):
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert says in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("given", "meant"),
    [("frankfurt", "eu-central"), ("us_ord", "us-ord"), ("Toronto, CA", "ca-central"), ("qqq", None)],
)
def test_near_regions(given: str, meant: str | None) -> None:
    assert near_region(given) == meant
    assert meant is None or meant in DCIDS
