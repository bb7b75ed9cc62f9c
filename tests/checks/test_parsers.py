"""Every generated file before its daemon's own parser, and every parser before a file that it must refuse."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from checks.scratch import Scratch, scratch_node
from golden.cases import CASES, Case
from natpair.apply.validation import check
from natpair.core import paths
from natpair.core.model import Node
from natpair.core.rendered import Checker, RenderedFile
from natpair.errors import DaemonError
from natpair.render.services import KEEPALIVED, services

pytestmark = pytest.mark.root

CHECK_INSIDE = """
from pathlib import Path
from natpair.config.load import load
from natpair.errors import DaemonError
from natpair.render.bundle import render_all
from natpair.apply.validation import check
files = render_all(load(Path(sys.argv[1])), sys.argv[2])
check(files, among=files)
"""

BREAK_INSIDE = """
from dataclasses import replace
from pathlib import Path
from natpair.config.load import load
from natpair.errors import DaemonError
from natpair.render.bundle import render_all
from natpair.apply.validation import check
config, node, name, old, new = sys.argv[1:]
files = render_all(load(Path(config)), node)
(file,) = [f for f in files if f.path.endswith("/" + name)]
assert old in file.text
try:
    check([replace(file, text=file.text.replace(old, new))], among=files)
except DaemonError as error:
    print(error.message)
else:
    print("accepted")
"""


def each_node() -> list[tuple[Case, Node]]:
    return [(case, node) for case in CASES for node in case.gateway().node]


@pytest.fixture(scope="module")
def example() -> Iterator[Scratch]:
    with scratch_node(CASES[0].gateway().node[0]) as scratch:
        yield scratch


@pytest.mark.parametrize(("case", "node"), each_node(), ids=lambda value: value.name)
def test_every_file_passes_its_check(case: Case, node: Node) -> None:
    with scratch_node(node) as scratch:
        scratch.python(CHECK_INSIDE, str(case.config), node.name)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("nftables.nft", "policy drop;", "policy dorp;", "syntax error"),
        ("nftables.nft", "ip natpair {", "ip natpair { chain x { goto nowhere; }", "nftables.nft"),
        ("traffic-local.nft", "role_forward", "role_foward", "traffic-local.nft"),
        ("duplicate-on.nft", '"eth1"', '"eth9"', "eth9"),
        ("keepalived.conf", "advert_int", "advert_itn", "Unknown keyword 'advert_itn'"),
        ("keepalived.conf", "virtual_router_id 51", "virtual_router_id 512", "512"),
        ("bird.conf", "bgp_origin", "bgp_orgin", "syntax error"),
        ("bird.conf", "hold time 6", "hold time 2", "Hold time"),
        ("conntrackd.conf", "FTFW", "FTWF", "syntax error"),
    ],
)
def test_every_check_refuses_a_bad_file(example: Scratch, name: str, old: str, new: str, says: str) -> None:
    verdict = example.python(BREAK_INSIDE, str(CASES[0].config), "nat-a", name, old, new).stdout
    assert verdict != "accepted\n"
    assert says in verdict


def test_keepalived_starts_without_its_interface_which_may_come_late(example: Scratch) -> None:
    """`natpair apply` itself asks for the interfaces of its node; at boot nobody must end for a card that is late."""
    verdict = example.python(
        BREAK_INSIDE, str(CASES[0].config), "nat-a", "keepalived.conf", "interface eth1", "interface eth7"
    )
    assert "eth7" not in verdict.stdout


def test_a_file_without_a_check_is_taken_as_it_is() -> None:
    check([RenderedFile("/etc/x", "anything")], among=())


def test_refusals_are_gathered() -> None:
    """Both files are named, not only the first."""
    bad = [RenderedFile(f"/etc/{n}.conf", "nonsense {", checker=Checker.BIRD) for n in ("one", "two")]
    with pytest.raises(DaemonError, match=r"(?s)/etc/one\.conf.*/etc/two\.conf"):
        check(bad, among=bad)


def test_conntrackd_stays_up_with_its_file_and_ends_with_a_bad_one(example: Scratch) -> None:
    bundle = CASES[0].bundles()["nat-a"]
    (file,) = [f for f in bundle if f.checker is Checker.CONNTRACKD]
    path = example.write("/run/conntrackd.conf", file.text)
    daemon = subprocess.Popen(
        example.argv(["conntrackd", "-C", path]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.wait(timeout=1)
        example.run("conntrackd", "-C", path, "-s", "network")
    finally:
        daemon.terminate()
        said = daemon.communicate(timeout=10)[0]
    assert "initialization completed" in said
    assert "reliable ctnetlink event delivery is ENABLED" in said
    assert "disabling external cache" in said
    assert not re.search(r"\[(warning|ERROR)\]", said)
    bad = example.write("/run/bad.conf", file.text.replace("Scheduler", "Schedular"))
    assert "syntax error" in example.run("conntrackd", "-C", bad, ok=(1,)).stderr


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", ["prepare", "conntrackd", "bird", "keepalived", "agent"])
def test_systemd_accepts_the_units(example: Scratch, unit: str) -> None:
    for file in CASES[0].bundles()["nat-a"]:
        if file.path.endswith(".service"):
            # natpair itself need not be installed here.
            example.write(file.path, file.text.replace("/usr/bin/natpair", "/bin/true"))
    path = f"/etc/systemd/system/natpair-{unit}.service"
    done = example.run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path)
    assert done.stdout + done.stderr == ""


@pytest.mark.needs("systemd-analyze")
def test_systemd_complains_of_a_bad_unit(example: Scratch) -> None:
    path = example.write("/etc/systemd/system/natpair-bad.service", "[Service]\nExecStart=/bin/true\nRestartt=always\n")
    done = example.run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path, ok=(0, 1))
    assert "Restartt" in done.stderr


def test_tc_and_ip_take_their_batches_twice(example: Scratch) -> None:
    files = {f.path.rsplit("/", 1)[-1]: f.text for f in CASES[0].bundles()["nat-a"]}
    for _ in range(2):
        example.run("tc", "-force", "-batch", example.write("/run/guard.tc", files["guard.tc"]))
        example.run("ip", "-force", "-batch", example.write("/run/routes.ip", files["routes.ip"]))
    assert example.run("ip", "route", "show", "type", "blackhole").stdout.split()[:2] == ["blackhole", "192.0.2.221"]
    filters = json.loads(example.run("tc", "-json", "filter", "show", "dev", "eth0", "egress").stdout)
    (options,) = [f["options"] for f in filters if "options" in f]
    assert options["direct-action"]
    numbers = ",".join(f"{i['code']} {i['jt']} {i['jf']} {i['k']}" for i in options["bytecode"]["insns"])
    assert f"{options['bytecode']['length']},{numbers}" in files["guard.tc"]


def test_a_bad_batch_fails(example: Scratch) -> None:
    bad = example.write("/run/bad.tc", 'filter replace dev eth0 egress protocol ip bpf da bytecode "2,6 0 0 0"\n')
    example.run("tc", "-force", "-batch", bad, ok=(1,))
    example.run("ip", "-force", "-batch", example.write("/run/bad.ip", "route add blackhole nowhere\n"), ok=(1,))


def test_settings_take_effect_and_only_the_machines_own_are_refused(example: Scratch) -> None:
    texts = [f.text for f in CASES[0].bundles()["nat-a"] if f.path in (paths.SYSCTL, paths.FORWARDING)]
    assert len(texts) == 2
    path = example.write("/run/sysctl.conf", "".join(texts))
    code = """
from pathlib import Path
from natpair.system import sysctl
text = Path(sys.argv[1]).read_text()
refused = sysctl.load(text)
left = sysctl.differing(sysctl.parse(text))
assert set(left) <= set(refused), left
assert all(assignment.optional for assignment in refused)
print(len(sysctl.parse(text)) - len(refused))
"""
    assert int(example.python(code, path).stdout) >= 40
    assert example.run("cat", "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal").stdout == "1\n"


def test_a_setting_the_kernel_does_not_know_is_an_error(example: Scratch) -> None:
    code = """
from natpair.errors import DaemonError
from natpair.system import sysctl
try:
    sysctl.load("net/ipv4/no_such_key = 1\\n-net/ipv4/nor_this = 1\\n")
except DaemonError as error:
    print(error.message)
"""
    assert example.python(code).stdout == "the kernel refused net/ipv4/no_such_key\n"


def test_keepalived_outlives_a_reload_in_real_time() -> None:
    """With vrrp_rt_priority in its file, 2.2.7 was killed by the kernel after each reload: a lost election."""
    case = CASES[0]
    bundle = {file.path: file.text for file in case.bundles()["nat-a"]}
    (service,) = [s for s in services(case.gateway(), "nat-a") if s.name == KEEPALIVED]
    with scratch_node(case.gateway().node[0]) as machine:
        machine.run("mkfifo", paths.NOTIFY_FIFO)
        for path, text in ((paths.KEEPALIVED_CONF, bundle[paths.KEEPALIVED_CONF]), (paths.TRACK_HEALTH, "1\n")):
            machine.write(path, text)
        machine.write(paths.TRACK_BOOST, "0\n")
        argv = ["env", f"TMPDIR={paths.KEEPALIVED_TMP}", "chrt", "--rr", str(service.rt_priority), *service.argv]
        daemon = subprocess.Popen(machine.argv(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            wait_for(machine, "ip -4 address show eth1 | grep -q 192.168.1.1/32")
            first = machine.run("cat", paths.VRRP_PID).stdout
            machine.python("from natpair.apply.reload import Step, perform\nperform(Step.KEEPALIVED)")
            for boost in ("10", "0", "10"):
                machine.write(paths.TRACK_BOOST, boost)
                wait_for(machine, f"kill -s $(keepalived --signum=JSON) {daemon_pid(machine)} && {priority_is(boost)}")
            assert machine.run("cat", paths.VRRP_PID).stdout == first
            assert "SCHED_RR" in machine.run("chrt", "-p", first.strip()).stdout
        finally:
            machine.run("kill", daemon_pid(machine))
            said = daemon.communicate(timeout=20)[0]
    assert "signal 9" not in said
    assert said.count("Entering MASTER STATE") == 1


def test_bird_waits_for_an_address_that_comes_late() -> None:
    """At boot IPv6 addresses are tentative or missing. With `strict bind` the sessions stayed down for ever."""
    bundle = {file.path: file.text for file in CASES[0].bundles()["nat-a"]}
    node = CASES[0].gateway().node[0]
    with scratch_node(node) as machine:
        machine.run("ip", "address", "del", str(node.public_address6), "dev", "eth0")
        machine.write(paths.BIRD_ROLE, bundle[paths.BIRD_ROLE_STANDBY])
        argv = ["bird", "-f", "-c", machine.write(paths.BIRD_CONF, bundle[paths.BIRD_CONF]), "-s", paths.BIRD_CTL]
        daemon = subprocess.Popen(machine.argv(argv), stderr=subprocess.DEVNULL)
        try:
            four = f"test $(birdc -s {paths.BIRD_CTL} show protocols | grep -c '%s') = 4"
            wait_for(machine, four % "Active .*Socket: Connection closed")  # that is how it words the failed bind
            assert " down " not in machine.run("birdc", "-s", paths.BIRD_CTL, "show", "protocols").stdout
            machine.run("ip", "address", "add", str(node.public_address6), "dev", "eth0", "nodad")
            wait_for(machine, four % "Network is unreachable")  # it dials; this machine has no way to anywhere
        finally:
            daemon.terminate()
            daemon.wait(timeout=10)


def daemon_pid(machine: Scratch) -> str:
    return machine.run("cat", paths.KEEPALIVED_PID).stdout.strip()


def priority_is(boost: str) -> str:
    return f"grep -q '\"effective_priority\": *{240 + int(boost)}[, ]' {paths.KEEPALIVED_JSON}"


def wait_for(machine: Scratch, condition: str) -> None:
    machine.run("timeout", "15", "sh", "-c", f"until {condition}; do sleep 0.1; done")
