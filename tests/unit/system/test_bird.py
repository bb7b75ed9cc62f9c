"""BIRD's control socket, spoken to by a stand-in that says what BIRD 2.0.12 says. tests/contract has the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from natpair.core.announcement import Announcement
from natpair.errors import DaemonError
from natpair.system import bird

PROTOCOLS = """\
2002-Name       Proto      Table      State  Since         Info
1002-fips       Static     master4    up     08:53:01.123
 rs1        BGP        ---        up     08:53:02.456  Established
 rs2        BGP        ---        start  08:53:01.123  Active        Socket: Connection refused
 rs3        BGP        ---        up     08:53:02.456  Established
 odd        Pipe
"""
PROTOCOLS += "0000 \n"  # the blank after the code belongs to it


@asynccontextmanager
async def playing(
    folder: Path, answer: Callable[[str], str], banner: str = "0001 BIRD 2.0.12 ready.\n"
) -> AsyncIterator[str]:
    """A socket on which `answer` speaks."""
    asked = folder / "bird.ctl"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = banner
        writer.write(said.encode())
        while said and (line := (await reader.readline()).decode().strip()):
            said = answer(line)
            writer.write(said.encode())
        writer.close()

    server = await asyncio.start_unix_server(serve, asked)
    try:
        yield str(asked)
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the functions without a socket argument speak to the stand-in."""
    ask = bird.ask

    def use(socket: str) -> None:
        async def elsewhere(*texts: str, **_: str) -> list[list[str]]:
            return await ask(*texts, socket=socket)

        monkeypatch.setattr(bird, "ask", elsewhere)

    return use


async def test_a_reply_is_its_lines_without_codes(tmp_path: Path) -> None:
    async with playing(tmp_path, lambda line: f"1000-{line}\n and more\n0000 end\n") as socket:
        assert await bird.command("show status", socket=socket) == ["show status", "and more", "end"]


@pytest.mark.parametrize("code", [8000, 8002, 9000, 9001])
async def test_a_refusal_is_an_error_with_birds_words(tmp_path: Path, code: int) -> None:
    async with playing(tmp_path, lambda line: f"{code} it cannot be\n") as socket:
        with pytest.raises(DaemonError, match="it cannot be"):
            await bird.command("configure", socket=socket)


@pytest.mark.parametrize("answer", ["", "1000-half a reply\n"])
async def test_a_bird_that_ends_in_the_middle_is_unresponsive(tmp_path: Path, answer: str) -> None:
    async with playing(tmp_path, lambda line: answer) as socket:
        with pytest.raises(DaemonError, match="does not answer"):
            await bird.command("configure", socket=socket)


async def test_a_bird_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bird, "_SECONDS", 0.1)
    async with playing(tmp_path, lambda line: "", banner="0001-not yet\n") as socket:
        with pytest.raises(DaemonError):
            await bird.command("configure", socket=socket)


async def test_no_bird_is_an_error_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(DaemonError) as caught:
        await bird.command("configure", socket=str(tmp_path / "none"))
    assert caught.value.fix


async def test_sessions_are_counted_by_protocol_and_state(tmp_path: Path, control: Callable[[str], None]) -> None:
    async with playing(tmp_path, lambda line: PROTOCOLS) as socket:
        control(socket)
        assert await bird.sessions() == (2, 3)


@pytest.mark.parametrize(
    ("community", "med", "expected"),
    [
        ("(65000,1)", 2147483628, Announcement(primary=True, med=2147483628)),
        ("(65000, 2)", 4294967294, Announcement(primary=False, med=4294967294)),
        ("(65000,2)", 0, Announcement(primary=False, med=None)),
    ],
)
async def test_the_announcement_is_asked_from_bird_itself(
    tmp_path: Path, control: Callable[[str], None], community: str, med: int, expected: Announcement
) -> None:
    answers = {"eval COMM": f"0023 {community}\n", "eval MED": f"0023 {med}\n"}
    async with playing(tmp_path, answers.__getitem__) as socket:
        control(socket)
        assert await bird.announced() == expected


ANSWERS = {"show protocols": PROTOCOLS, "eval COMM": "0023 (65000,1)\n", "eval MED": "0023 7\n"}


async def test_a_reading_is_all_of_it_on_one_connection(tmp_path: Path) -> None:
    connections: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append("")
        writer.write(b"0001 BIRD 2.0.12 ready.\n")
        while line := (await reader.readline()).decode().strip():
            connections[-1] += f"{line};"
            writer.write(ANSWERS[line].encode())
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "bird.ctl"):
        replies = await bird.ask(*ANSWERS, socket=str(tmp_path / "bird.ctl"))
    assert connections == ["show protocols;eval COMM;eval MED;"]
    assert [len(lines) for lines in replies] == [7, 1, 1]


async def test_a_reading_is_sessions_and_announcement(tmp_path: Path, control: Callable[[str], None]) -> None:
    async with playing(tmp_path, ANSWERS.__getitem__) as socket:
        control(socket)
        assert await bird.reading() == ((2, 3), Announcement(primary=True, med=7))


async def test_the_role_file_is_in_place_before_bird_reads_it(tmp_path: Path, control: Callable[[str], None]) -> None:
    role = tmp_path / "role.conf"
    role.write_text("old\n")
    read: list[str] = []

    def answer(line: str) -> str:
        read.append(f"{line}: {role.read_text()}")
        return "0003 Reconfigured\n"

    async with playing(tmp_path, answer) as socket:
        control(socket)
        await bird.announce("new\n", role_file=str(role))
    assert read == ["configure: new\n"]
