"""Check files with the daemons' own parsers, before anything is installed.

This happens in a temporary folder. No running daemon, socket or ruleset is changed.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from natpair.core import paths
from natpair.core.rendered import Checker, RenderedFile
from natpair.errors import CommandFailed, DaemonError
from natpair.system.process import run

_SECONDS = 120.0
"""A limit for a parser that hangs. It is far above what the slowest machine needs at its first boot."""
_ROLE_SAMPLE = "define COMM = (65000,2);\ndefine MED = 4294967294;\n"

Check = Callable[[RenderedFile, Mapping[str, RenderedFile], Path], None]


def check(files: Sequence[RenderedFile], *, among: Sequence[RenderedFile]) -> None:
    """Check each of `files`. `among` is the whole set of files, because some files can only be checked with others.

    Raise DaemonError with every refusal: the file and its parser's message.
    """
    bundle = {file.path: file for file in among}
    refusals, slow = [], False
    with tempfile.TemporaryDirectory(prefix="natpair-check-") as folder:
        for file in files:
            if file.checker is None:
                continue
            try:
                _CHECKS[file.checker](file, bundle, Path(folder))
            except CommandFailed as error:
                refusals.append(f"{file.path}: {error.message}")
                slow |= error.rc is None
    if slow:
        raise DaemonError("\n".join(refusals), fix="nothing was changed; this machine is very busy, so try again")
    if refusals:
        fix = "nothing was changed; this is a bug in natpair, unless a package is older than that of Debian 12"
        raise DaemonError("\n".join(refusals), fix=fix)


def _write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def _check_nft(file: RenderedFile, bundle: Mapping[str, RenderedFile], folder: Path) -> None:
    del bundle, folder
    run(["nft", "-c", "-f", "-"], stdin=file.text, timeout=_SECONDS)


def _check_nft_fragment(file: RenderedFile, bundle: Mapping[str, RenderedFile], folder: Path) -> None:
    # A fragment refills chains of the ruleset, so it is checked in one transaction with the ruleset.
    del folder
    run(["nft", "-c", "-f", "-"], stdin=f"{bundle[paths.NFTABLES].text}\n{file.text}", timeout=_SECONDS)


def _check_keepalived(file: RenderedFile, bundle: Mapping[str, RenderedFile], folder: Path) -> None:
    del bundle
    path = _write(folder, "keepalived.conf", file.text)
    run(["keepalived", "-t", "-f", path], timeout=_SECONDS, env={"TMPDIR": str(folder)})


def _check_bird(file: RenderedFile, bundle: Mapping[str, RenderedFile], folder: Path) -> None:
    del bundle
    role = _write(folder, "role.conf", _ROLE_SAMPLE)
    run(["bird", "-p", "-c", _write(folder, "bird.conf", file.text.replace(paths.BIRD_ROLE, role))], timeout=_SECONDS)


def _check_conntrackd(file: RenderedFile, bundle: Mapping[str, RenderedFile], folder: Path) -> None:
    # conntrackd has no check option. It reads its file and then creates its lock. With an impossible lock path it exits
    # with 1 in any case; if its error names the lock, the file itself was accepted.
    del bundle
    lock = str(folder / "no-such-folder" / "lock")
    text = re.sub(r"(?m)^(\s*LockFile\s+).*$", rf"\g<1>{lock}", file.text)
    text = re.sub(r"(?m)^(\s*Path\s+).*$", rf"\g<1>{folder / 'ctl'}", text)
    argv = ["unshare", "--net", "conntrackd", "-C", _write(folder, "conntrackd.conf", text)]
    done = run(argv, timeout=_SECONDS, ok=(0, 1))
    if lock not in done.stderr + done.stdout:
        raise CommandFailed(argv, done.rc, done.stderr or done.stdout)


_CHECKS: Mapping[Checker, Check] = {
    Checker.NFT: _check_nft,
    Checker.NFT_FRAGMENT: _check_nft_fragment,
    Checker.KEEPALIVED: _check_keepalived,
    Checker.BIRD: _check_bird,
    Checker.CONNTRACKD: _check_conntrackd,
}
