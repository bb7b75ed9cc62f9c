"""Runs the traffic programs for a drill: starts them in lab hosts, talks to them by lines, and always ends them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Self

from natpair.errors import LabError

START_SECONDS = 15.0
_END_SECONDS = 60.0

Document = dict[str, Any]
Popen = Callable[..., "subprocess.Popen[bytes]"]
"""The type of `Lab.popen`: host, argv and the options of subprocess.Popen."""


class Opened:
    """A context manager of several others. All are closed at its end, or as soon as one cannot be opened."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        """Open everything."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what is open."""
        self._stack.close()


class Program:
    """One traffic program in one host. A thread reads its output, so that a long record never blocks it."""

    def __init__(self, popen: Popen, host: str, module: str, arguments: Sequence[str] = ()) -> None:
        self.name = module
        argv = [sys.executable, "-m", f"natpair_lab.drill.{module}", *arguments]
        self._process = popen(
            host, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self._said: list[Document] = []
        self._news = threading.Condition()
        self._ended = False
        self._complaint = b""
        self._readers = [threading.Thread(target=work, daemon=True) for work in (self._listen, self._listen_to_errors)]
        for reader in self._readers:
            reader.start()

    def _listen(self) -> None:
        stream = self._process.stdout
        for line in stream or ():
            document = _parse(line)
            with self._news:
                self._said.append(document)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _listen_to_errors(self) -> None:
        stream = self._process.stderr
        for line in stream or ():
            self._complaint = (self._complaint + line)[-2000:]

    def tell(self, command: str) -> None:
        """Send one command. If the program has ended, the call that waits for the answer fails."""
        stream = self._process.stdin
        if stream is not None and not stream.closed:
            try:
                stream.write(command.encode() + b"\n")
                stream.flush()
            except BrokenPipeError:
                return

    def wait_for(self, key: str, seconds: float) -> Document:
        """Wait for the newest document with `key`; LabError when time runs out or the program ends."""
        found = self.look_for(key, seconds)
        if found is None:
            raise self._failure(f"did not say {key!r} within {seconds:g} s")
        return found

    def check(self) -> None:
        """LabError if the program has ended on its own."""
        if self._ended:
            raise self._failure("ended too early")

    def _failure(self, what: str) -> LabError:
        complaint = self._complaint.decode(errors="replace").strip().splitlines()
        return LabError(f"{self.name} {what}" + (f": {complaint[-1]}" if complaint else ""))

    def look_for(self, key: str, seconds: float) -> Document | None:
        """Like `wait_for`, but returns None when time runs out or the program ends."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                for document in reversed(self._said):
                    if key in document:
                        return document
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    return None
                self._news.wait(left)

    def ask(self, command: str, key: str, seconds: float = 5.0) -> Document:
        """Send a command and return the first document with `key` after it."""
        with self._news:
            self._said = [document for document in self._said if key not in document]
        self.tell(command)
        return self.wait_for(key, seconds)

    def finish(self, key: str) -> Document:
        """Tell the program to stop and return its record."""
        self.tell("stop")
        record = self.wait_for(key, _END_SECONDS)
        self.close()
        return record

    def close(self) -> None:
        """End the program, whatever has happened before."""
        stream = self._process.stdin
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended already
                stream.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._kill_if_deaf()
        for reader in self._readers:
            reader.join(2.0)

    def _kill_if_deaf(self) -> None:
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _parse(line: bytes) -> Document:
    try:
        document: object = json.loads(line)
    except ValueError:
        return {"garbage": line.decode(errors="replace")}
    return document if isinstance(document, dict) else {"garbage": document}
