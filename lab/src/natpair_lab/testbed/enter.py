"""Runs one program inside a lab host: `enter.py PID PROGRAM [ARGUMENT…]`. PID is the host's init.

It runs as a file and uses only the standard library. The program ends with the host's PID namespace *and* with this
process. Signals sent to this process reach the program, and its exit status becomes ours. nsenter(1) alone leaves the
program behind when it is killed itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_NAMESPACES = ("net", "uts", "ipc", "pid", "mnt")  # mnt last: the files of /proc/PID/ns are found through the old one
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_PR_SET_PDEATHSIG = 1
_NOT_FOUND = 127
_CANNOT_RUN = 126

_libc = ctypes.CDLL(None, use_errno=True)


def join(pid: int) -> None:
    """Enter the namespaces of process `pid`."""
    files = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in _NAMESPACES]
    for file in files:
        if _libc.setns(file, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter the host; is it running?")
        os.close(file)


def execute(argv: list[str]) -> None:
    """The child: become the program; 127 or 126 if that fails, as in a shell."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # So `natpair` and `python3` in a host are the ones that run the lab.
    os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # noqa: PTH120
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - that is what this program is for
    except FileNotFoundError:
        os.write(2, f"{argv[0]}: no such program in this host\n".encode())
        os._exit(_NOT_FOUND)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(_CANNOT_RUN)


def forward_until_end(child: int) -> int:
    """Pass signals on to `child` until it ends; returns its wait status."""
    while True:
        news = signal.sigwaitinfo([*_FORWARDED, signal.SIGCHLD])
        if news.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return status
        elif news.si_code <= 0:  # sent by a process; a signal from the terminal has already reached the child
            os.kill(child, news.si_signo)


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit status, or 128 + N when signal N ended it."""
    try:
        join(int(arguments[0]))
    except OSError as error:
        os.write(2, f"{error.strerror}\n".encode())
        return _CANNOT_RUN
    signal.pthread_sigmask(signal.SIG_BLOCK, [*_FORWARDED, signal.SIGCHLD])
    child = os.fork()
    if child == 0:
        execute(arguments[1:])
    code = os.waitstatus_to_exitcode(forward_until_end(child))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
