"""`natpair lab api` as a person starts it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request


def start(port: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "natpair", "lab", "api", "--port", str(port)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_serves_until_told_to_stop() -> None:
    # SIGTERM, because a background job of a shell is born deaf to SIGINT; `with` and kill leave nothing behind.
    with start(0) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with urllib.request.urlopen(f"{url}/regions", timeout=5) as answer:  # noqa: S310 - loopback
                assert json.load(answer)["results"] > 30
            process.terminate()
            assert process.wait(timeout=10) == 128 + signal.SIGTERM
        finally:
            process.kill()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(port) as process:
            _, talk = process.communicate(timeout=10)
    assert process.returncode == 73
    assert f"127.0.0.1:{port}" in talk
