"""The only place of the product that starts processes: argv lists, a clean environment, always a time limit."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from natpair.errors import CommandFailed, Unsupported

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of a finished child process."""

    rc: int
    stdout: str
    stderr: str


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    # LC_ALL=C: daemons' messages are parsed and quoted, so they must not be translated.
    return {"PATH": os.environ.get("PATH", _PATH), "LC_ALL": "C", **(extra or {})}


def _missing(program: str) -> Unsupported:
    return Unsupported(f"{program} is not installed", fix=f"install the package that brings {program}")


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float,
    ok: Sequence[int] = (0,),
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run `argv` to its end within `timeout` seconds.

    Raises CommandFailed when it exits with a status outside `ok` or runs out of time, Unsupported
    when the program does not exist.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            env=_environment(env),
            check=False,
        )
    except FileNotFoundError as error:
        raise _missing(argv[0]) from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(argv, None, f"no end within {timeout:g} s") from error
    if done.returncode not in ok:
        raise CommandFailed(argv, done.returncode, done.stderr or done.stdout)
    return Completed(done.returncode, done.stdout, done.stderr)


def detach(argv: Sequence[str]) -> None:
    """Start `argv` in its own session, without terminal or pipes, and do not wait for it."""
    null = subprocess.DEVNULL
    # The environment is unchanged, because the child is natpair itself and has to find its files.
    child = subprocess.Popen(list(argv), stdin=null, stdout=null, stderr=null, start_new_session=True, cwd="/")
    child.returncode = 0  # ours to forget: init reaps it


async def arun(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float,  # noqa: ASYNC109 - the limit is part of the contract of every effect
    ok: Sequence[int] = (0,),
    env: Mapping[str, str] | None = None,
) -> Completed:
    """As `run`, without blocking the event loop; a cancelled call kills its child. OSError if none can be started."""
    child = await _start(argv, env)
    return await _finish(child, argv, stdin, timeout, ok)


async def _start(argv: Sequence[str], env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe, env=_environment(env))
    except FileNotFoundError as error:
        raise _missing(argv[0]) from error
    except RuntimeError as error:
        # Python 3.11 waits for each child in a thread. If no process can be started, a thread often cannot be either.
        raise OSError(errno.EAGAIN, str(error)) from error


async def _finish(
    child: asyncio.subprocess.Process,
    argv: Sequence[str],
    stdin: str | None,
    timeout: float,  # noqa: ASYNC109 - as in `arun`
    ok: Sequence[int] = (0,),
) -> Completed:
    try:
        async with asyncio.timeout(timeout):
            out, err = await child.communicate((stdin or "").encode())
    except TimeoutError as error:
        raise CommandFailed(argv, None, f"no end within {timeout:g} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    rc = child.returncode if child.returncode is not None else -1
    if rc not in ok:
        raise CommandFailed(argv, rc, err.decode(errors="replace") or out.decode(errors="replace"))
    return Completed(rc, out.decode(errors="replace"), err.decode(errors="replace"))


class Spare:
    """A child process started in advance that waits for its input, in case starting one later is slow or impossible.

    The program must read its input before it does anything, and be harmless if it gets none.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)
        self._child: asyncio.subprocess.Process | None = None

    async def ready(self) -> None:
        """Start one that waits. OSError if none can be started."""
        if self._child is None or self._child.returncode is not None:
            self._child = await _start(self._argv)

    async def feed(self, stdin: str, *, timeout: float) -> Completed:  # noqa: ASYNC109 - as in `arun`
        """Run the waiting child, or a new one if there is none or it was killed. Fails as `arun`.

        `stdin` may be executed twice, if the first child was killed after it had read it.
        """
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            try:
                return await _finish(child, self._argv, stdin, timeout)
            except CommandFailed as error:
                if error.rc is None or error.rc >= 0:
                    raise
        return await arun(self._argv, stdin=stdin, timeout=timeout)

    async def close(self) -> None:
        """End the one that waits."""
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()
