"""BIRD by its control socket: numbered replies, see doc/reply_codes of BIRD 2."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from natpair.core import paths
from natpair.core.announcement import Announcement
from natpair.errors import DaemonError

_SECONDS = 1.0
_FINAL = re.compile(r"^(\d{4}) ")
_COMMUNITY = re.compile(r"\((\d+),\s*(\d+)\)")


async def command(text: str, *, socket: str = paths.BIRD_CTL) -> list[str]:
    """The reply's lines without codes. DaemonError when BIRD refuses (8xxx, 9xxx) or is mute for a second."""
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                await _reply(reader)
                writer.write(text.encode() + b"\n")
                code, lines = await _reply(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise DaemonError(f"BIRD does not answer on {socket}", cure="see the log of natpair-bird") from error
    if code >= 8000:
        raise DaemonError(f"BIRD refused '{text}': {' '.join(lines)}", cure="see the log of natpair-bird")
    return lines


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
    """Put `role_text` in the place of the role file and let BIRD read it: one UPDATE, no withdrawal."""
    path = Path(role_file)
    fresh = path.with_suffix(".new")
    # No fsync: the file lives in /run and says standby again after a boot.
    fresh.write_text(role_text)
    fresh.replace(path)
    await command("configure")


async def announced() -> Announcement | None:
    """The role BIRD's running configuration holds, asked from BIRD itself; None if it has none."""
    community = _COMMUNITY.search(" ".join(await command("eval COMM")))
    if community is None:
        return None
    med = int((await command("eval MED"))[0])
    return Announcement(primary=community[2] == "1", med=med or None)


async def sessions() -> tuple[int, int]:
    """How many BGP sessions are Established, and how many there are."""
    rows = [line.split() for line in await command("show protocols")]
    bgp = [row for row in rows if len(row) > 3 and row[1] == "BGP"]
    return sum("Established" in row for row in bgp), len(bgp)
