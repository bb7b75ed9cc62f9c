"""Every error natpair raises on purpose.

    NatpairError
    ├── Usage              the command line is wrong or incomplete                 exit 64
    ├── ConfigError        the file is wrong; holds all problems at once           exit 78
    ├── CommandFailed      a child process failed or ran out of time               exit 69
    ├── DaemonError        keepalived, nft, conntrackd or BIRD refused or is mute  exit 69
    ├── AgentUnreachable   nobody answers on the agent's socket                    exit 69
    ├── ApiError           Linode's API refused or gave no usable answer           exit 69, 75 or 77
    ├── NoInput            a file to read, other than the configuration, is not there  exit 66
    ├── NotReady           the pair cannot do this now; try later                  exit 75
    ├── Unsupported        kernel, privilege or program missing                    exit 77
    └── LabError           the lab could not be built, found or removed            exit 73

Exit codes are those of sysexits(3); `cli.main` maps them, nothing else exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class NatpairError(Exception):
    """Base of all errors meant for people. `cure` says what to do about it."""

    exit_code = 70

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a configuration file: where it is, what stands there, what would be accepted.

    `called` is what people call the key, if that is something else: "node nat-b: name" for `node[1].name`.
    """

    key: str
    value: str
    message: str
    accepted: str = ""
    line: int | None = None
    called: str = ""


class Usage(NatpairError):
    """What was typed cannot be carried out as it is."""

    exit_code = 64


class ConfigError(NatpairError):
    """The configuration cannot be used; `problems` lists every fault, not only the first."""

    exit_code = 78

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{source}: {count} problem{'s' if count != 1 else ''}")
        self.source = source
        self.problems = tuple(problems)


class CommandFailed(NatpairError):
    """A child process exited with an unexpected status, could not start, or timed out (rc None)."""

    exit_code = 69

    def __init__(self, argv: Sequence[str], rc: int | None, stderr: str, *, cure: str = "") -> None:
        outcome = "timed out" if rc is None else f"exited {rc}"
        detail = stderr.strip()
        super().__init__(f"{argv[0]} {outcome}" + (f": {detail}" if detail else ""), cure=cure)
        self.argv = tuple(argv)
        self.rc = rc
        self.stderr = stderr


class DaemonError(NatpairError):
    """A daemon refused a command or did not answer in time."""

    exit_code = 69


class AgentUnreachable(NatpairError):
    """Nobody answers on the agent's control socket."""

    exit_code = 69


class ApiError(NatpairError):
    """Linode's API refused a call, or gave no answer that can be used (`status` None when there was none at all).

    `reasons` are Linode's own words. `retryable`: the same call may be sent again without harm. `uncertain`: the work
    may have been done although no answer said so; read before sending it again.
    """

    exit_code = 69

    def __init__(
        self,
        call: str,
        status: int | None,
        reasons: Sequence[str],
        *,
        retryable: bool = False,
        uncertain: bool = False,
        retry_after_seconds: float | None = None,
        cure: str = "",
    ) -> None:
        answer = "" if status is None else f" (HTTP {status})"
        super().__init__(f"{call}: {'; '.join(reasons) or 'no reason given'}{answer}", cure=cure)
        self.call = call
        self.status = status
        self.reasons = tuple(reasons)
        self.retryable = retryable
        self.uncertain = uncertain
        self.retry_after_seconds = retry_after_seconds
        if status in {401, 403}:
            self.exit_code = 77
        elif retryable and status is not None:
            self.exit_code = 75


class NoInput(NatpairError):
    """A file that was to be read, other than a configuration, is not there."""

    exit_code = 66


class NotReady(NatpairError):
    """The pair cannot do this at the moment; the message says why."""

    exit_code = 75


class Unsupported(NatpairError):
    """A privilege, kernel feature or program is missing."""

    exit_code = 77


class LabError(NatpairError):
    """The lab could not be built, found or removed."""

    exit_code = 73
