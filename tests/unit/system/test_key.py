"""The pair's key: checked before somebody relies on it, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from natpair.errors import ConfigError
from natpair.system.key import key_problems, read_key

KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    path.chmod(0o600)
    return path


def test_a_key_is_read_without_the_newline_of_an_editor(file: Path) -> None:
    assert read_key(str(file)) == KEY
    assert key_problems(str(file)) == ()


@pytest.mark.parametrize("content", [b"", b"sesame", b"\n" * 40, KEY[:-1]])
def test_a_key_that_is_too_short_is_refused_and_never_shown(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_key(str(file))
    (problem,) = caught.value.problems
    assert problem.key == "heartbeat.key_file"
    assert not content.strip() or content.decode() not in f"{problem}{caught.value}"
    assert key_problems(str(file)) == (problem,)


def test_a_missing_key_names_the_file(file: Path) -> None:
    file.unlink()
    (problem,) = key_problems(str(file))
    assert (problem.value, problem.message) == (str(file), "the file is missing")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_may_read_is_named_with_its_mode(file: Path, mode: int) -> None:
    file.chmod(mode)
    (problem,) = key_problems(str(file))
    assert f"{mode:04o}" in problem.message
    assert problem.accepted == f"chmod 600 {file}"


def test_one_that_only_its_owner_may_read_is_good(file: Path) -> None:
    file.chmod(0o400)
    assert key_problems(str(file)) == ()
