"""Servers that tests start on loopback and end with all that they have started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_PATIENCE_S = 300.0


def free_port() -> int:
    """A port of loopback at which nobody listens yet."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], health: str, log: Path, **options: Any) -> Iterator[None]:
    """Run a server until the block ends; the block begins when the address of its health answers."""
    with log.open("wb") as said:
        running = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, start_new_session=True, **options)
        try:
            _await(health, running)
            yield
        finally:
            for end in (signal.SIGTERM, signal.SIGKILL):  # some wait for seconds for clients that will not come
                with suppress(ProcessLookupError):
                    os.killpg(running.pid, end)
                with suppress(subprocess.TimeoutExpired):
                    running.wait(timeout=1 if end is signal.SIGTERM else 30)


def _await(address: str, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        assert running.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310  (loopback)
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the server did not answer within {_PATIENCE_S:.0f} s")
