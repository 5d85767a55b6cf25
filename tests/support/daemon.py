"""The real process, started and stopped as an operator would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio
from trio_websocket import WebSocketConnection, open_websocket_url

READY = "collabd is ready at "
COLLABD = (sys.executable, "-m", "collabd")


class Daemon:
    """One `collabd serve` on loopback. `settings` are COLLABD_… variables without the prefix; port 0 is a free one.

    `command` is how collabd is called where it is not this environment's; its standard input is the test's to use.
    """

    def __init__(
        self,
        data_dir: Path,
        settings: Mapping[str, str] | None = None,
        *,
        port: int = 0,
        command: Sequence[str] = COLLABD,
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COLLABD_")}
        environment |= {f"COLLABD_{name}": value for name, value in (settings or {}).items()}
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self._log_file = self.log.open("a")
        self.process = subprocess.Popen(
            [*command, "serve", "--bind", f"127.0.0.1:{port}", "--data-dir", str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log_file,
            env=environment,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(READY):
            raise AssertionError(f"the daemon did not start: {line!r} {self.log.read_text()}")
        self.url = line.removeprefix(READY).strip()
        self.host, _, ready_port = self.url.partition("://")[2].rpartition(":")
        self.port = int(ready_port)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self._close()

    def stop(self, timeout: float = 20) -> int:
        """SIGTERM; answers the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = 20) -> int:
        """The exit status, once the process has ended."""
        try:
            return self.process.wait(timeout)
        finally:
            self._close()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self._log_file.close()

    def request(self, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
        """One HTTP request with a JSON answer: status and body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def replay(self, run_id: str) -> list[dict[str, Any]]:
        """Every retained event of a run, page by page."""
        events: list[dict[str, Any]] = []
        following: int | None = 1
        while following is not None:
            status, page = self.request(f"/api/runs/{run_id}/collaboration/replay?limit=1000&fromSequence={following}")
            assert status == 200, page
            events += page["events"]
            following = page["nextSequence"]
        return events


@contextlib.contextmanager
def running_daemon(
    data_dir: Path, settings: Mapping[str, str] | None = None, *, command: Sequence[str] = COLLABD
) -> Any:
    """A daemon for the length of a block; killed at its end where a test has not stopped it."""
    daemon = Daemon(data_dir, settings, command=command)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.kill()


@contextlib.asynccontextmanager
async def joined(daemon: Daemon, run_id: str, user: str, query: str = "") -> AsyncIterator[WebSocketConnection]:
    """A raw WebSocket in a run."""
    url = f"ws://{daemon.host}:{daemon.port}/ws/runs/{run_id}/collaboration?userId={user}{query}"
    async with open_websocket_url(url, subprotocols=["collabd.v1"]) as socket:
        yield socket


async def receive(socket: WebSocketConnection, seconds: float = 10) -> dict[str, Any]:
    """The next message."""
    with trio.fail_after(seconds):
        message: dict[str, Any] = json.loads(await socket.get_message())
    return message


async def receive_until(socket: WebSocketConnection, event_type: str, seconds: float = 10) -> dict[str, Any]:
    """The next message of a type; others are passed over."""
    with trio.fail_after(seconds):
        while True:
            message = await receive(socket)
            if message["eventType"] == event_type:
                return message


async def send(socket: WebSocketConnection, event_type: str, data: Any, message_id: str | None = None) -> None:
    """Send one message."""
    message = {"eventType": event_type, "data": data}
    if message_id is not None:
        message["clientMessageId"] = message_id
    await socket.send_message(json.dumps(message))
