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


def test_it_serves_until_interrupted() -> None:
    process = start(0)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/regions", timeout=5) as answer:  # noqa: S310 - loopback
            assert json.load(answer)["results"] > 30
    finally:
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "interrupted" in talk


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(port)
        _, talk = process.communicate(timeout=10)
    assert process.returncode == 73
    assert f"127.0.0.1:{port}" in talk
