"""All errors that natpair raises on purpose.

    NatpairError
    ├── Usage              the command line is wrong or incomplete                 exit 64
    ├── ConfigError        the file is wrong; holds all problems                   exit 78
    ├── CommandFailed      a child process failed or timed out                     exit 69
    ├── DaemonError        keepalived, nft, conntrackd or BIRD refused or does not respond  exit 69
    ├── AgentUnreachable   no agent answers on its socket                          exit 69
    ├── ApiError           Linode's API refused or gave no usable answer           exit 69, 75 or 77
    ├── NoInput            a file other than the configuration does not exist      exit 66
    ├── NotReady           the pair cannot do this now; try later                  exit 75
    ├── Unsupported        a kernel feature, privilege or program is missing       exit 77
    └── LabError           the lab could not be built, found or removed            exit 73

The exit codes are those of sysexits(3). Only `cli.main` turns errors into exit codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class NatpairError(Exception):
    """Base of all errors that users see. `fix` says how to fix it."""

    exit_code = 70

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Problem:
    """One error in a configuration file: its key, the present value, what is wrong, what is expected.

    `called` is a clearer name for the key, if there is one: "node nat-b: name" for `node[1].name`.
    """

    key: str
    value: str
    message: str
    accepted: str = ""
    line: int | None = None
    called: str = ""


class Usage(NatpairError):
    """The command line cannot be carried out as typed."""

    exit_code = 64


class ConfigError(NatpairError):
    """The configuration cannot be used; `problems` lists every error, not only the first."""

    exit_code = 78

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{source}: {count} problem{'s' if count != 1 else ''}")
        self.source = source
        self.problems = tuple(problems)


class CommandFailed(NatpairError):
    """A child process exited with an unexpected status, could not start, or timed out (rc None)."""

    exit_code = 69

    def __init__(self, argv: Sequence[str], rc: int | None, stderr: str, *, fix: str = "") -> None:
        outcome = "timed out" if rc is None else f"exited {rc}"
        detail = stderr.strip()
        super().__init__(f"{argv[0]} {outcome}" + (f": {detail}" if detail else ""), fix=fix)
        self.argv = tuple(argv)
        self.rc = rc
        self.stderr = stderr


class DaemonError(NatpairError):
    """A daemon refused a command or did not answer in time."""

    exit_code = 69


class AgentUnreachable(NatpairError):
    """No agent answers on its control socket."""

    exit_code = 69


class ApiError(NatpairError):
    """Linode's API refused a call or gave no usable answer. `status` is None if there was no answer.

    `reasons` are Linode's own texts. `retryable`: it is safe to send the same call again. `uncertain`: the call may
    have taken effect although no answer confirmed it; read the state before sending it again.
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
        fix: str = "",
    ) -> None:
        answer = "" if status is None else f" (HTTP {status})"
        super().__init__(f"{call}: {'; '.join(reasons) or 'no reason given'}{answer}", fix=fix)
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
    """A file other than a configuration should be read but does not exist."""

    exit_code = 66


class NotReady(NatpairError):
    """The pair cannot do this now; the message says why."""

    exit_code = 75


class Unsupported(NatpairError):
    """A privilege, kernel feature or program is missing."""

    exit_code = 77


class LabError(NatpairError):
    """The lab could not be built, found or removed."""

    exit_code = 73
