"""What Keepalived says, parsed; its FIFO and its track files. tests/contract has the real one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.core.messages import VrrpRole
from natpair.errors import DaemonError
from natpair.system import keepalived
from natpair.system.daemon import name_of
from natpair.system.keepalived import NotifyFifo, dump, parse_dump, parse_notify, write_track

# As Keepalived 2.2.7 writes it on SIGRTMIN+2, shortened by keys that nobody reads.
DUMP = """[{"data":{"iname":"natpair","ifp_ifname":"eth1","vrid":51,"base_priority":240,"effective_priority":240,
"vipset":true,"adver_int":0.1,"nopreempt":true,"state":2,"wantstate":2,"version":3,
"vips":["192.168.1.1\\/24 dev eth1 scope global set"],"auth_type":0},"stats":{"advert_rcvd":0,"advert_sent":12,
"become_master":1,"release_master":0,"pri_zero_rcvd":0,"pri_zero_sent":0}}]
"""


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ('INSTANCE "natpair" MASTER 240', VrrpRole.MASTER),
        ('INSTANCE "natpair" BACKUP 239', VrrpRole.BACKUP),
        ('INSTANCE "natpair" FAULT 240', VrrpRole.FAULT),
        ('INSTANCE "natpair" STOP 240', VrrpRole.INIT),
        ('INSTANCE "natpair" DELETED 240', VrrpRole.INIT),
        ('INSTANCE "natpair" MASTER_RX_LOWER_PRI 240', VrrpRole.MASTER),
        ("INSTANCE \"a name, with 'marks'\" MASTER 1\n", VrrpRole.MASTER),
        ('GROUP "natpair" MASTER 240', None),
        ('INSTANCE "natpair" BACKUP_WITH_A_TWIST 240', None),
        ('INSTANCE "natpair" MASTER', None),
        ('INSTANCE "natpair" MASTER 240 more', None),
        ('xINSTANCE "natpair" MASTER 240', None),
        ('INSTANCE "natpair" master 240', None),
        ("", None),
    ],
)
def test_a_line_of_the_fifo_is_a_role_or_nothing(line: str, role: VrrpRole | None) -> None:
    assert parse_notify(line) is role


@given(st.text())
def test_any_line_is_a_role_or_nothing(line: str) -> None:
    assert parse_notify(line) in {*VrrpRole, None}


@given(
    st.text(st.characters(blacklist_characters='"\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029')),
    st.sampled_from(["MASTER", "BACKUP", "FAULT"]),
    st.integers(0, 255),
)
def test_whatever_the_instance_is_called(name: str, state: str, priority: int) -> None:
    assert parse_notify(f'INSTANCE "{name}" {state} {priority}') is VrrpRole(state)


def test_a_dump_of_2_2_7_is_read() -> None:
    state = parse_dump(DUMP)
    assert (state.role, state.adverts_sent) == (VrrpRole.MASTER, 12)


@pytest.mark.parametrize(
    ("number", "role"), [(0, VrrpRole.INIT), (1, VrrpRole.BACKUP), (2, VrrpRole.MASTER), (3, VrrpRole.FAULT)]
)
def test_states_are_numbers_in_a_dump(number: int, role: VrrpRole) -> None:
    assert parse_dump(DUMP.replace('"state":2', f'"state":{number}')).role is role


def test_the_later_form_with_a_key_around_is_read() -> None:
    assert parse_dump(f'{{"vrrp": {DUMP}}}').role is VrrpRole.MASTER


@pytest.mark.parametrize("text", ["", "[]", '{"vrrp": []}', DUMP[:100], DUMP[:-5]])
def test_half_a_dump_or_an_empty_one_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_dump(text)


@pytest.mark.parametrize("text", ["{}", "[1]", "[{}]", "3", DUMP.replace('"state":2', '"state":9')])
def test_a_dump_of_an_unknown_shape_is_a_value_error_too(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_dump(text)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[NotifyFifo]:
    os.mkfifo(tmp_path / "fifo")
    opened = NotifyFifo(str(tmp_path / "fifo"))
    yield opened
    opened.close()


def write(fifo: NotifyFifo, data: bytes) -> None:
    os.write(fifo.fd, data)  # it is open both ways


MASTER, BACKUP = b'INSTANCE "natpair" MASTER 240\n', b'INSTANCE "natpair" BACKUP 240\n'


def test_an_empty_fifo_does_not_block(fifo: NotifyFifo) -> None:
    assert fifo.roles() == []


def test_all_lines_come_oldest_first_and_only_once(fifo: NotifyFifo) -> None:
    write(fifo, BACKUP + b"noise\n" + MASTER)
    assert fifo.roles() == [VrrpRole.BACKUP, VrrpRole.MASTER]
    assert fifo.roles() == []


@pytest.mark.parametrize("cut", range(1, len(MASTER)))
def test_a_line_cut_in_two_is_one_line(fifo: NotifyFifo, cut: int) -> None:
    write(fifo, BACKUP + MASTER[:cut])
    assert fifo.roles() == [VrrpRole.BACKUP]
    write(fifo, MASTER[cut:])
    assert fifo.roles() == [VrrpRole.MASTER]


def test_bytes_that_are_no_text_are_skipped(fifo: NotifyFifo) -> None:
    write(fifo, b"\xff\xfe\n" + MASTER)
    assert fifo.roles() == [VrrpRole.MASTER]


def test_a_full_fifo_is_read_to_its_end(fifo: NotifyFifo) -> None:
    os.set_blocking(fifo.fd, False)
    for _ in range(1000):
        write(fifo, MASTER)
    assert len(fifo.roles()) == 1000


def test_a_track_file_is_replaced_and_written_only_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "health"
    assert write_track(str(path), 1)
    assert path.read_text() == "1\n"
    first = path.stat().st_ino
    assert not write_track(str(path), 1)
    assert path.stat().st_ino == first
    assert write_track(str(path), 0)
    assert path.read_text() == "0\n"
    path.write_bytes(b"\xff\n")
    assert write_track(str(path), 0), "whatever somebody wrote there"
    assert [entry.name for entry in tmp_path.iterdir()] == ["health"]


async def test_a_dump_is_waited_for_until_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keepalived renames the file into place before it has filled it."""
    path, half = tmp_path / "json", DUMP[: len(DUMP) // 2]
    path.write_text(DUMP.replace('"state":2', '"state":1'))

    async def fill() -> None:
        for text in ("", half, DUMP):
            await asyncio.sleep(0.05)
            fresh = tmp_path / "fresh"
            if not text:
                fresh.touch()
                fresh.replace(path)
            else:
                path.write_text(text)

    asked: list[asyncio.Task[None]] = []
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    with monkeypatch.context() as patch:
        patch.setattr(keepalived, "_NAME", name_of(os.getpid()), raising=False)
        patch.setattr(signal, "pidfd_send_signal", lambda *_: asked.append(asyncio.create_task(fill())))
        patch.setattr(os, "kill", lambda *_: asked.append(asyncio.create_task(fill())))
        state = await dump(str(tmp_path / "pid"), str(path))
    await asyncio.gather(*asked)
    assert state.role is VrrpRole.MASTER


async def test_a_dump_that_never_becomes_whole_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalived, "_DUMP_SECONDS", 0.1)
    monkeypatch.setattr(keepalived, "_NAME", name_of(os.getpid()))
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: (tmp_path / "json").write_text(DUMP[:50]))
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    with pytest.raises(DaemonError):
        await dump(str(tmp_path / "pid"), str(tmp_path / "json"))


async def test_without_keepalived_there_is_no_state(tmp_path: Path) -> None:
    with pytest.raises(DaemonError) as caught:
        await dump(str(tmp_path / "pid"), str(tmp_path / "json"))
    assert caught.value.fix


def test_the_sample_is_json() -> None:
    assert len(json.loads(DUMP)) == 1
