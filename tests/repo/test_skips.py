"""The rules of tests/conftest.py itself: neither a skip nobody allowed nor a lab left behind passes."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

SUITE = """
    import pytest

    def test_skips():
        pytest.skip("no such kernel")

    def test_runs():
        pass

    @pytest.mark.xfail(reason="known")
    def test_known():
        assert False

    @pytest.mark.lab
    def test_lab():
        pass

    @pytest.mark.needs("no-such-program")
    def test_needs():
        pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("NATPAIR_REQUIRE_ROOT_TESTS", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makeini("[pytest]\nmarkers =\n    root: x\n    lab: x\n    needs: x\n")
    pytester.makepyfile(test_it=SUITE)
    return pytester


def run(suite: pytest.Pytester) -> pytest.RunResult:
    return suite.runpytest_inprocess("-rs", "-p", "no:asyncio", "-p", "no:cacheprovider")


def test_without_the_switch_a_skip_is_a_skip(suite: pytest.Pytester) -> None:
    result = run(suite)
    result.assert_outcomes(passed=1, skipped=3, xfailed=1)
    result.stdout.fnmatch_lines_random(["*needs root: run it again as root*", "*needs no-such-program*"])


@pytest.mark.parametrize(("variable", "value"), [("CI", "true"), ("NATPAIR_REQUIRE_ROOT_TESTS", "1")])
def test_with_the_switch_a_skip_is_a_failure(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    result = run(suite)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["xfailed"] == 1
    result.stdout.fnmatch_lines(["*allowed-skips.toml does not allow it: *no such kernel*"])
    result.stdout.fnmatch_lines(["*allowed-skips.toml does not allow it: *needs root*"])
    assert result.parseoutcomes().get("skipped", 0) == 0


def test_a_false_switch_is_off(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "false")
    run(suite).assert_outcomes(passed=1, skipped=3, xfailed=1)


def test_a_listed_skip_is_allowed_and_no_other(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    allowed = '[[skip]]\ntest = "test_it.py::test_skips"\nreason = "*no such*"\nwhy = "runs elsewhere"\n'
    suite.path.joinpath("allowed-skips.toml").write_text(allowed)
    result = run(suite)
    assert result.parseoutcomes()["skipped"] == 1
    result.stdout.fnmatch_lines(["*does not allow it: *needs root*"])


def test_an_entry_without_why_is_refused(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    suite.path.joinpath("allowed-skips.toml").write_text('[[skip]]\ntest = "*"\n')
    assert run(suite).ret != pytest.ExitCode.OK


def test_a_module_that_skips_itself_fails_too(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile(test_whole="import pytest\npytest.skip('not here', allow_module_level=True)\n")
    result = run(suite)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*does not allow it: *not here*"])


def test_a_lab_left_behind_fails(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = suite.mkdir("netns")
    suite.makeconftest(CONFTEST.read_text().replace("/run/netns", str(folder)))
    suite.makepyfile(test_it=f"def test_boots(): open('{folder}/np-lab-nat-a', 'w').close()")
    assert run(suite).ret == pytest.ExitCode.OK
    (folder / "np-lab-nat-a").unlink()
    monkeypatch.setenv("CI", "true")
    result = run(suite)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*left behind: np-lab-nat-a*"])


def test_a_lab_of_before_is_nobodys_fault(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    folder = suite.mkdir("netns")
    (folder / "np-lab-nat-a").touch()
    suite.makeconftest(CONFTEST.read_text().replace("/run/netns", str(folder)))
    suite.makepyfile(test_it="def test_passes(): pass")
    assert run(suite).ret == pytest.ExitCode.OK
