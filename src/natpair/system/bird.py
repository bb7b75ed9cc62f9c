"""BIRD by its control socket: numbered replies, see doc/reply_codes of BIRD 2."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from natpair.core import paths
from natpair.core.announcement import Announcement
from natpair.errors import DaemonError
from natpair.system.files import write_atomic

_SECONDS = 1.0
_FINAL = re.compile(r"^(\d{4}) ")
_COMMUNITY = re.compile(r"\((\d+),\s*(\d+)\)")


async def command(text: str, *, socket: str = paths.BIRD_CTL) -> list[str]:
    """The reply's lines without codes. DaemonError when BIRD refuses (8xxx, 9xxx) or does not respond for a second."""
    return (await ask(text, socket=socket))[0]


async def ask(*texts: str, socket: str = paths.BIRD_CTL, seconds: float = _SECONDS) -> list[list[str]]:
    """One reply for each command, all on one connection, because connecting costs more than a command. Fails as
    `command`.
    """
    replies: list[list[str]] = []
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                # Send all at once: waiting for each reply before the next command costs more than the command.
                writer.write("".join(f"{text}\n" for text in texts).encode())
                await _reply(reader)
                for text in texts:
                    code, lines = await _reply(reader)
                    if code >= 8000:
                        fix = "see the log of natpair-bird"
                        raise DaemonError(f"BIRD refused '{text}': {' '.join(lines)}", fix=fix)
                    replies.append(lines)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise DaemonError(f"BIRD does not answer on {socket}", fix="see the log of natpair-bird") from error
    return replies


async def _reply(reader: asyncio.StreamReader) -> tuple[int, list[str]]:
    lines: list[str] = []
    while True:
        raw = await reader.readline()
        if not raw:
            raise ConnectionResetError("BIRD closed its control socket")
        line = raw.decode(errors="replace").rstrip("\n")
        lines.append(line[5:] if line[:4].isdigit() else line[1:])
        if (final := _FINAL.match(line)) is not None:
            return int(final[1]), lines


async def announce(role_text: str, *, role_file: str = paths.BIRD_ROLE) -> None:
    """Replace the role file by `role_text` and reload BIRD: one UPDATE, no withdrawal."""
    write_atomic(Path(role_file), role_text, sync=False)  # in /run, where it says standby again after a boot
    await command("configure")


async def announced() -> Announcement | None:
    """The role in BIRD's running configuration, as BIRD reports it; None if it has none."""
    return _announcement(*await ask("eval COMM", "eval MED"))


async def plain_sessions() -> tuple[str, ...]:
    """The names of Established sessions whose neighbour does not support RFC 8950."""
    return _without_extended_next_hop((await ask("show protocols all"))[0])


def _without_extended_next_hop(lines: list[str]) -> tuple[str, ...]:
    found: list[str] = []
    name, theirs, established, extended = "", False, False, False
    for line in [*lines, "end of -"]:
        words = line.split()
        if line[:1].strip():
            if name and established and theirs and not extended:
                found.append(name)
            name, theirs, established, extended = words[0], False, "Established" in words, False
        elif words[:2] == ["Neighbor", "capabilities"]:
            theirs = True
        elif theirs and words[:3] == ["Extended", "next", "hop"]:
            extended = True
    return tuple(found)


async def sessions() -> tuple[int, int]:
    """How many BGP sessions are Established, and how many there are."""
    return _counted(*await ask("show protocols"))


async def reading(*, seconds: float = _SECONDS) -> tuple[tuple[int, int], Announcement | None]:
    """`sessions` and `announced` in one call, for periodic checks. Waits for `seconds`."""
    protocols, community, med = await ask("show protocols", "eval COMM", "eval MED", seconds=seconds)
    return _counted(protocols), _announcement(community, med)


def _announcement(community: list[str], med: list[str]) -> Announcement | None:
    found = _COMMUNITY.search(" ".join(community))
    return None if found is None else Announcement(primary=found[2] == "1", med=int(med[0]) or None)


def _counted(protocols: list[str]) -> tuple[int, int]:
    rows = [line.split() for line in protocols]
    bgp = [row for row in rows if len(row) > 3 and row[1] == "BGP"]
    return sum("Established" in row for row in bgp), len(bgp)
