"""Networks and servers that fail: the fault proxy as a process, and a server that is killed and started again.

Law of this file: sync wrappers for tests that drive a browser; what the faults mean stands in tests/support.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.daemon import Daemon


class Proxy:
    """A fault proxy that is told what to do; its answers are waited for."""

    def __init__(self, upstream: Daemon) -> None:
        command = [sys.executable, "-m", "tests.support.fault_proxy", "--upstream", f"{upstream.host}:{upstream.port}"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def does(self, command: str) -> None:
        """One command, e.g. `refuse`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(command, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer.startswith("ok"), answer

    def ends(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def fault_proxy(upstream: Daemon) -> Iterator[Proxy]:
    """A proxy for the length of a block."""
    proxy = Proxy(upstream)
    try:
        yield proxy
    finally:
        proxy.ends()


class Phoenix:
    """A server on one port that can be killed (kill -9) and started again over the same data."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.data_dir, self.settings = data_dir, settings
        self.url = f"http://127.0.0.1:{self.port}"
        self.daemon: Daemon | None = None
        self.rises()

    def rises(self) -> None:
        """Start."""
        self.daemon = Daemon(self.data_dir, self.settings, port=self.port)

    def dies(self) -> None:
        """kill -9; nothing if it is dead already."""
        if self.daemon is not None:
            self.daemon.kill()
        self.daemon = None

    def replay(self, run_id: str) -> list[str]:
        """What the log holds: type and note or place of each event, in order."""
        assert self.daemon is not None
        events = self.daemon.replay(run_id)
        return [f"{event['eventType']} {event['data'].get('stepId') or event['data'].get('after')}" for event in events]
