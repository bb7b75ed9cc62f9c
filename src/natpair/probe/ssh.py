"""The way to a real machine: the system's ssh, with a key made for one probe in a folder of that probe.

Nothing of the user's own ssh is used: no configuration, no agent, no known hosts. A host key is taken at the first
contact, minutes after we made the machine, and must stay the same from then on.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from natpair.errors import CommandFailed
from natpair.probe.channel import Channel, Here
from natpair.system.process import Completed, arun, run

KEY = "key"
_KEYGEN_SECONDS = 20
_CONNECT_SECONDS = 10
_GRACE_SECONDS = _CONNECT_SECONDS + 5
_CONNECTION_FAILED = 255
_TIMED_OUT = 124  # timeout(1)
_LONGEST_SOCKET = 107 - 17
"""A socket's path holds 107 characters, and ssh puts 17 behind the name; beyond that each command connects anew."""

CUT = """\
[ -e /etc/natpair/probe.toml ] && [ ! -e /run/lab ] && [ "$(cat /proc/1/comm)" = systemd ] || exit 3
setsid sh -c 'sleep 0.3; for i in {public} {private}; do ip link set $i down; done; echo o >/proc/sysrq-trigger' \
    >/dev/null 2>&1 </dev/null &
"""
"""A power cut from inside: both links go down, so that no closing word gets out, then the kernel powers off at once,
without stopping a process. Only on a machine that is a probe's, and never in a lab, whose kernel is the user's."""


def make_key(folder: Path) -> str:
    """A new key in `folder`, which only its owner may read; the public half."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "natpair-probe", "-f", str(folder / KEY)]
    run(argv, timeout=_KEYGEN_SECONDS)
    return (folder / f"{KEY}.pub").read_text().strip()


class SshChannel:
    """One machine by ssh, over one connection that stays open between commands."""

    def __init__(self, name: str, address: str, folder: Path, *, port: int = 22, user: str = "root") -> None:
        self.name = name
        self._target = f"{user}@{address}"
        options = {
            "IdentityFile": str(folder / KEY),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "PasswordAuthentication": "no",
            "UserKnownHostsFile": str(folder / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "accept-new",
            "ConnectTimeout": str(_CONNECT_SECONDS),
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",
        }
        socket = folder / f"{name}.ssh"
        if len(str(socket)) <= _LONGEST_SOCKET:
            options |= {"ControlMaster": "auto", "ControlPath": str(socket), "ControlPersist": "30"}
        written = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        self._ssh = ["ssh", "-F", "none", "-T", "-p", str(port), *written]

    async def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_seconds: float = 10, ok: Sequence[int] = (0,)
    ) -> Completed:
        """Run a program there. CommandFailed names that program, or ssh when there was no connection."""
        # The time limit holds over there: ssh's standing connection keeps our pipes open as long as the program runs.
        limited = ["timeout", "--kill-after=1", f"{timeout_seconds:g}", *argv]
        command = [*self._ssh, self._target, "--", shlex.join(limited)]
        try:
            return await arun(command, stdin=stdin, timeout=timeout_seconds + _GRACE_SECONDS, ok=ok)
        except CommandFailed as error:
            if error.rc == _TIMED_OUT:
                raise CommandFailed([argv[0]], None, f"on {self.name}: no end within {timeout_seconds:g} s") from error
            if error.rc == _CONNECTION_FAILED:
                raise CommandFailed(["ssh"], error.rc, f"{self.name}: {error.stderr}") from error
            raise CommandFailed([argv[0]], error.rc, f"on {self.name}: {error.stderr}") from error

    async def forget(self) -> None:
        """End the open connection."""
        await arun([*self._ssh, "-O", "exit", self._target], timeout=_CONNECT_SECONDS, ok=range(256))


class SshReach:
    """Real machines: ssh to them, this machine as the outside view, power by the machine's own kernel."""

    def __init__(self, folder: Path, public_interface: str, private_interface: str) -> None:
        self._folder = folder
        self._cut = CUT.format(public=public_interface, private=private_interface)
        self._channels: dict[str, SshChannel] = {}
        self.vantage: Channel = Here()
        self.eye_folder = str(folder / "eye")
        self.public_key = make_key(folder)

    def channel(self, name: str, address: str) -> Channel:
        """Root's shell on the machine."""
        if name not in self._channels:
            self._channels[name] = SshChannel(name, address, self._folder)
        return self._channels[name]

    async def ready(self) -> None:
        """Nothing to do."""

    async def cut(self, name: str) -> None:
        """Let the machine die half a second from now, and forget the connection, which dies with it."""
        await self._channels[name].run(["sh", "-c", self._cut], timeout_seconds=20)
        await self._channels[name].forget()

    async def restore(self, name: str) -> bool:
        """The platform's business."""
        return False

    async def close(self) -> None:
        """End all connections. The key goes with the folder."""
        for channel in self._channels.values():
            await channel.forget()
