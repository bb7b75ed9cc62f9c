"""scripts/system-packages starts and enables nothing, and takes its guard away however it ends.

apt and dpkg are stand-ins that record what the guard says while they work; /usr/sbin and the folders of
enabled services are empty file systems in a mount namespace of the test's own.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from repo.rules import ROOT

pytestmark = pytest.mark.root

SERVICES = ("keepalived", "bird", "conntrackd", "nftables", "gobgpd")

WORLD = """
for folder in /usr/sbin /etc/systemd /etc/rc2.d /etc/rc3.d /etc/rc4.d /etc/rc5.d; do
    mkdir -p "$folder"
    mount -t tmpfs tmpfs "$folder"
done
export PATH=$STAND_INS:/usr/bin:/bin
{before}
"$SCRIPT"
echo "exit $?" >>"$RECORD"
ls -A /usr/sbin | grep policy >>"$RECORD"
find /etc/systemd -mindepth 1 >>"$RECORD"
{after}
"""

APT_GET = """#!/bin/bash
[[ " $* " == *" install "* ]] || exit 0
for service in keepalived bird.service cron; do
    /usr/sbin/policy-rc.d "$service" start
    echo "policy $service $?" >>"$RECORD"
done
sed 's/^/preset /' /etc/systemd/system-preset/*.preset >>"$RECORD"
for program in keepalived nft conntrackd conntrack bird ip tc tcpdump sysctl gobgpd ping arping; do
    ln -s /bin/true "/usr/sbin/$program"
done
eval "$DURING"
"""

STAND_INS = {
    "apt-get": APT_GET,
    "dpkg": "#!/bin/bash\n",
    "dpkg-query": '#!/bin/bash\n[ "${!#}" = "$OWNED" ] && echo "ii "\n',
    "pgrep": "#!/bin/bash\nexit 1\n",
    "systemctl": "#!/bin/bash\nexit 1\n",
    "update-rc.d": "#!/bin/bash\n",
    "deb-systemd-helper": '#!/bin/bash\necho "helper $*" >>"$RECORD"\nrm -f /etc/systemd/system/*.wants/"$2"\n',
}


@dataclass(frozen=True)
class Outcome:
    record: list[str]
    said: str


@pytest.fixture
def install(tmp_path: Path):
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(*, before: str = "", during: str = "", after: str = "", owned: str = "none") -> Outcome:
        record = tmp_path / "record"
        record.write_text("")
        environment = {
            "STAND_INS": str(tmp_path),
            "SCRIPT": str(ROOT / "scripts" / "system-packages"),
            "RECORD": str(record),
            "DURING": during,
            "OWNED": owned,
            "TMPDIR": str(tmp_path),  # a killed script leaves its log there
        }
        world = WORLD.format(before=before, after=after)
        argv = ["unshare", "--mount", "--propagation", "private", "bash", "-c", world]
        result = subprocess.run(argv, env=environment | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                timeout=60, check=False)  # fmt: skip
        return Outcome(record.read_text().splitlines(), result.stderr)

    return run


def test_services_are_neither_started_nor_enabled(install) -> None:
    record = install().record
    assert {"policy keepalived 101", "policy bird.service 101", "policy cron 0"} <= set(record)
    assert {f"preset disable {name}.service" for name in SERVICES} <= set(record)
    assert "helper disable keepalived.service" in record


def test_nothing_of_the_guard_stays(install) -> None:
    assert install().record[-1] == "exit 0"


@pytest.mark.parametrize(("signal", "code"), [("INT", 130), ("TERM", 143), ("HUP", 129)])
def test_an_interrupted_installation_leaves_no_guard(install, signal: str, code: int) -> None:
    record = install(during=f"kill -{signal} $PPID").record
    assert record[-1] == f"exit {code}"
    assert "helper disable bird.service" in record


def test_a_failed_installation_says_why_and_leaves_no_guard(install) -> None:
    outcome = install(during="echo 'E: Failed to fetch: Temporary failure resolving'; exit 100")
    assert outcome.record[-1] == "exit 69"
    assert "the package servers cannot be reached" in outcome.said


OWN_POLICY = "printf '#!/bin/sh\\nexit 104\\n' >/usr/sbin/own; chmod 700 /usr/sbin/own; ln -s own /usr/sbin/policy-rc.d"


@pytest.mark.parametrize("during", ["", "kill -INT $PPID"])
def test_a_policy_of_before_is_asked_and_put_back(install, during: str) -> None:
    record = install(before=OWN_POLICY, during=during, after='readlink /usr/sbin/policy-rc.d >>"$RECORD"').record
    assert "policy cron 104" in record
    assert "policy keepalived 101" in record
    assert record[-2:] == ["policy-rc.d", "own"]


def test_a_killed_installation_is_tidied_by_the_next(install) -> None:
    # dpkg finished keepalived meanwhile: only the policy left behind knows that it is ours to keep quiet.
    killed = (
        f"{OWN_POLICY}; DURING='kill -KILL $PPID' \"$SCRIPT\"; ls /usr/sbin | grep policy >>$RECORD; OWNED=keepalived"
    )
    record = install(before=killed, after='readlink /usr/sbin/policy-rc.d >>"$RECORD"').record
    assert "policy-rc.d.before-natpair-setup" in record
    assert record[-3:] == ["exit 0", "policy-rc.d", "own"]
    assert "helper disable keepalived.service" in record


def test_a_service_that_was_here_before_is_left_alone(install) -> None:
    record = install(owned="keepalived").record
    assert "policy keepalived 0" in record
    assert "preset disable keepalived.service" not in record
    assert "helper disable keepalived.service" not in record
    assert "policy bird.service 101" in record


def test_a_service_that_got_enabled_all_the_same_is_an_error(install) -> None:
    enable = "mkdir -p /etc/systemd/system/a.wants; ln -s /x /etc/systemd/system/a.wants/$NAME.service"
    assert "exit 0" in install(during=enable.replace("$NAME", "bird")).record  # disabled again
    stubborn = install(during="ln -s /x /etc/rc2.d/S01bird")
    assert "exit 69" in stubborn.record
    assert "enabled bird.service" in stubborn.said


def test_with_all_programs_there_nothing_is_done(install) -> None:
    programs = "{keepalived,nft,conntrackd,conntrack,bird,ip,tc,tcpdump,sysctl}"
    assert install(before=f"for program in {programs}; do ln -s /bin/true /usr/sbin/$program; done").record == [
        "exit 0"
    ]
