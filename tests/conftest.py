"""What a test may ask of the machine, and that a skip is never mistaken for a pass.

Tests marked `root` need root and network namespaces, tests marked `lab` the daemons as well, and
`needs("program")` says what else; elsewhere they are skipped with the fix in the reason. Where
NATPAIR_REQUIRE_ROOT_TESTS or CI is set, every skip is a failure unless `allowed-skips.toml` beside this
file lists it and says why, and so is a lab that a test leaves behind.
"""

from __future__ import annotations

import os
import shutil
import signal
import tomllib
from collections.abc import Generator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ("neighbours",)

ROOT_PROGRAMS = ("ip", "nft", "unshare", "nsenter", "sysctl")
LAB_PROGRAMS = (*ROOT_PROGRAMS, "tc", "keepalived", "conntrackd", "conntrack", "bird", "tcpdump")

NETWORK_NAMESPACES = Path("/run/netns")
LAB_PREFIX = "np-"
namespaces_before = pytest.StashKey[set[str]]()

# Whoever starts us in the background may have told us to ignore these; what we start would inherit that, and the
# tests that interrupt programs would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Two cores shared with whatever else runs: a slow example says nothing about the code.
settings.register_profile("natpair", deadline=None)
settings.load_profile("natpair")


@dataclass(frozen=True)
class AllowedSkip:
    """One entry of allowed-skips.toml: shell patterns for the test and its reason, and why that is all right."""

    test: str
    why: str
    reason: str = "*"


def allowed_skips(path: Path) -> tuple[AllowedSkip, ...]:
    if not path.exists():
        return ()
    return tuple(AllowedSkip(**entry) for entry in tomllib.loads(path.read_text()).get("skip", []))


def skips_are_failures() -> bool:
    wanted = (os.environ.get("NATPAIR_REQUIRE_ROOT_TESTS", ""), os.environ.get("CI", ""))
    return any(value.lower() not in ("", "0", "false", "no") for value in wanted)


def missing_for(item: pytest.Item) -> str:
    """What this machine lacks for the test, with the fix; empty if nothing."""
    lab = item.get_closest_marker("lab") is not None
    root = lab or item.get_closest_marker("root") is not None
    if root and os.geteuid() != 0:
        return "needs root: run it again as root"
    wanted = [name for marker in item.iter_markers("needs") for name in marker.args]
    wanted += LAB_PROGRAMS if lab else ROOT_PROGRAMS if root else ()
    missing = [name for name in wanted if shutil.which(name) is None]
    return f"needs {', '.join(missing)}: see scripts/system-packages" if missing else ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if missing := missing_for(item):
        pytest.skip(missing)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip that nobody allowed into a failure, where skips are failures."""
    if not report.skipped or not skips_are_failures():
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    for allowed in allowed_skips(Path(__file__).with_name("allowed-skips.toml")):
        if fnmatchcase(report.nodeid, allowed.test) and fnmatchcase(reason, allowed.reason):
            return
    report.outcome = "failed"
    report.longrepr = f"skipped, and tests/allowed-skips.toml does not allow it: {reason}"


def lab_namespaces() -> set[str]:
    return {path.name for path in NETWORK_NAMESPACES.glob(f"{LAB_PREFIX}*")}


def pytest_sessionstart(session: pytest.Session) -> None:
    session.stash[namespaces_before] = lab_namespaces()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):  # labs of the other workers are still up
        return
    left = lab_namespaces() - session.stash[namespaces_before]
    if left and skips_are_failures():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.issue_config_time_warning(
            LabLeftBehind(f"came up during the tests and left behind: {', '.join(sorted(left))}"), 1
        )


class LabLeftBehind(pytest.PytestWarning):
    """A test ended without removing the namespaces of its lab."""
