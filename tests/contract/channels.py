"""What every `Channel` of the probe must do, whatever is behind it; and a real sshd that is no service of anybody."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from natpair.errors import CommandFailed
from natpair.probe.channel import Channel, copy
from natpair_lab.testbed.wait import wait_until

HARD_WORDS = ("a b", "$HOME", "it's", '"', "new\nline", "", "*", "ä", "; exit 7")


async def takes_words_literally(channel: Channel) -> None:
    done = await channel.run(["printf", "%s|", *HARD_WORDS])
    assert done.stdout == "".join(f"{word}|" for word in HARD_WORDS)


async def passes_input_and_tells_apart_what_comes_back(channel: Channel) -> None:
    done = await channel.run(["sh", "-c", "cat; echo oops >&2"], stdin="one\ntwo\n")
    assert (done.rc, done.stdout, done.stderr) == (0, "one\ntwo\n", "oops\n")
    assert (await channel.run(["cat"])).stdout == ""  # no input is an empty one, never a wait


async def reports_a_status(channel: Channel) -> None:
    with pytest.raises(CommandFailed, match="no such luck") as failed:
        await channel.run(["sh", "-c", "echo no such luck >&2; exit 4"])
    assert (failed.value.rc, failed.value.argv[0]) == (4, "sh")
    assert (await channel.run(["sh", "-c", "exit 4"], ok=(0, 4))).rc == 4


async def ends_in_time(channel: Channel) -> None:
    begin = time.monotonic()
    with pytest.raises(CommandFailed) as failed:
        await channel.run(["sleep", "30"], timeout_seconds=1)
    assert failed.value.rc is None
    assert time.monotonic() - begin < 10


async def does_several_things_at_once(channel: Channel) -> None:
    numbers = [f"{n}" for n in range(5)]
    done = await asyncio.gather(*(channel.run(["echo", n]) for n in numbers))
    assert [one.stdout.strip() for one in done] == numbers


async def copies_files_for_their_owner_alone(channel: Channel, folder: str) -> None:
    files = {f"{folder}/deep/er/one": "first\n", f"{folder}/two": "zweite ä\n" * 5000}
    await copy(channel, {f"{folder}/two": "old"})
    await copy(channel, files)
    for path, text in files.items():
        assert (await channel.run(["cat", path])).stdout == text
        assert (await channel.run(["stat", "-c", "%a", path])).stdout == "600\n"
    await channel.run(["rm", "-r", folder])


async def keeps_the_contract(channel: Channel, folder: str) -> None:
    """All of it, in one event loop."""
    await takes_words_literally(channel)
    await passes_input_and_tells_apart_what_comes_back(channel)
    await reports_a_status(channel)
    await ends_in_time(channel)
    await does_several_things_at_once(channel)
    await copies_files_for_their_owner_alone(channel, folder)


@dataclass(frozen=True)
class Sshd:
    """A running sshd on the loopback address, for root with `key`."""

    port: int
    folder: Path


def program(cache: Path) -> tuple[str, dict[str, str]]:
    """sshd and what it needs in its environment. Taken out of its Debian package where it is not installed: installing
    it would start a service."""
    installed = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if installed:
        return installed, {}
    for package in ("openssh-server", "libwrap0"):
        got = subprocess.run(["apt-get", "download", package], cwd=cache, capture_output=True, text=True, check=False)
        files = list(cache.glob(f"{package}_*.deb"))
        if got.returncode != 0 or not files:
            pytest.skip("needs sshd: neither installed nor to be had from the package servers")
        subprocess.run(["dpkg", "--extract", str(files[0]), str(cache / "root")], check=True)
    libraries = ":".join(str(path.parent) for path in (cache / "root").rglob("libwrap.so.0"))
    return str(cache / "root" / "usr" / "sbin" / "sshd"), {"LD_LIBRARY_PATH": libraries}


@contextmanager
def serving(folder: Path, sshd: tuple[str, dict[str, str]], public_key: str, port: int = 0) -> Iterator[Sshd]:
    """An sshd with a new host key, in mount and PID namespaces of its own, gone afterwards with all it started."""
    folder.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = port or probe.getsockname()[1]
    host_key = folder / "host"
    for old in (host_key, folder / "host.pub"):
        old.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key)], check=True)
    (folder / "authorized").write_text(public_key + "\n")
    users = Path("/etc/passwd").read_text()
    if "\nsshd:" not in users:
        users += "sshd:x:65333:65534::/run/sshd:/usr/sbin/nologin\n"
    (folder / "passwd").write_text(users)
    options = (
        f"ListenAddress=127.0.0.1:{port}",
        f"HostKey={host_key}",
        f"AuthorizedKeysFile={folder}/authorized",
        "PermitRootLogin=prohibit-password",
        "UsePAM=no",
        "StrictModes=no",
        "PidFile=none",
    )
    written = " ".join(f"-o {option}" for option in options)
    script = (
        f"mount -t tmpfs tmpfs /run && mkdir -p /run/sshd && mount --bind {folder}/passwd /etc/passwd && "
        f"exec {sshd[0]} -D -e -f /dev/null {written}"
    )
    argv = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script]
    with (folder / "sshd.log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, **sshd[1]})
    try:
        wait_until(
            lambda: "Server listening" in (folder / "sshd.log").read_text() or process.poll() is not None,
            deadline_seconds=15,
            what="the start of sshd",
        )
        assert process.poll() is None, (folder / "sshd.log").read_text()
        yield Sshd(port, folder)
    finally:
        process.kill()
        process.wait()
