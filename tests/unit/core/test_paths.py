from __future__ import annotations

from natpair.core import paths


def constants() -> dict[str, str]:
    return {name: value for name, value in vars(paths).items() if name.isupper()}


def test_every_path_is_absolute_and_natpairs_own() -> None:
    foreign = {"UNITS"}
    for name, value in constants().items():
        assert value.startswith("/"), name
        assert "natpair" in value or name in foreign


def test_no_two_names_mean_one_path() -> None:
    assert len(set(constants().values())) == len(constants())


def test_sockets_fit_into_a_socket_address() -> None:
    assert all(len(value) < 108 for value in constants().values())
