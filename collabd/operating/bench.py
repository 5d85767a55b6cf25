"""`collabd bench`: what this machine and this disk can do with collabd, in some seconds, its data left alone.

Law of this file: a server of its own on loopback, with a data directory of its own beside the real one; both are gone
at the end. Its clients are as plain as can be (RFC 6455 by hand), since they share the machine with what they measure.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from collabd.errors import NotDone

Progress = Callable[[str, int, int], None]

READY: Final = "collabd is ready at http://"
START_S: Final = 30.0
_SYNCS: Final = 200
_SYNC_S: Final = 3.0
_PAGE: Final = bytes(4096)
_OUTSTANDING: Final = 64
_DATA: Final = {"after": "ARCHITECT", "agentName": "security-scanner-v1", "note": "x" * 100}
_ACK: Final = b'{"eventType":"ACK"'
_EVENT: Final = b'{"eventType":"GRAFT"'


def measure(data_dir: Path, seconds: float, members: int, progress: Progress) -> dict[str, Any]:
    """Measure the disk of a directory and a server on it. Times in milliseconds.

    `members` clients join one run and one more sends: first one event at a time (latency), then 64 outstanding
    (throughput), `seconds` each. Raises NotDone where the directory cannot be written or the server does not start.
    """
    with ExitStack() as stack:
        try:
            if not data_dir.exists():
                data_dir.mkdir(mode=0o700, parents=True)
                stack.callback(data_dir.rmdir)
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=data_dir, prefix=".bench-")))
            sync_ms = _time_syncs(place / "sync", progress)
        except OSError as error:
            raise NotDone(f"{data_dir}: cannot be written: {error.strerror}; name another --data-dir") from error
        address = stack.enter_context(_server(place))
        run = f"/ws/runs/{uuid4()}/collaboration"
        readers = [stack.enter_context(_Client(address, f"{run}?userId=member-{n}")) for n in range(members)]
        sender = stack.enter_context(_Client(address, f"{run}?userId=sender"))
        alone = _Round(sender, readers, seconds, 1).run("one at a time", progress)
        full = _Round(sender, readers, seconds, _OUTSTANDING).run(f"{_OUTSTANDING} outstanding", progress)
    return {
        "dataDir": str(data_dir),
        "members": members + 1,
        "seconds": seconds,
        "fsyncMs": _percentiles(sync_ms),
        "ackMs": _percentiles(alone.acks_ms),
        "eventsPerSecond": round(len(full.acks_ms) / full.seconds),
        "deliveriesPerSecond": round(full.deliveries / full.seconds),
        "loadedAckMs": _percentiles(full.acks_ms),
    }


def in_words(report: dict[str, Any]) -> str:
    """The report for people."""

    def times(name: str) -> str:
        return f"p50 {report[name]['p50']:.2f} ms, p99 {report[name]['p99']:.2f} ms"

    return "\n".join(
        [
            f"disk of {report['dataDir']}",
            f"  sync of 4 KiB    {times('fsyncMs')}",
            f"one run, {report['members']} members, all on this machine",
            f"  acknowledged in  {times('ackMs')} (one event at a time, durable)",
            f"  events           {report['eventsPerSecond']:,}/s ({_OUTSTANDING} outstanding; {times('loadedAckMs')})",
            f"  deliveries       {report['deliveriesPerSecond']:,}/s",
        ]
    )


def _time_syncs(path: Path, progress: Progress) -> list[float]:
    times: list[float] = []
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        end = time.perf_counter() + _SYNC_S
        while len(times) < _SYNCS and (not times or time.perf_counter() < end):
            began = time.perf_counter()
            os.write(handle, _PAGE)
            os.fdatasync(handle)
            times.append((time.perf_counter() - began) * 1000)
            progress("disk", len(times), _SYNCS)
    finally:
        os.close(handle)
    return times


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {f"p{part}": round(ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 3) for part in (50, 99)}


def own_program() -> list[str]:
    """The command that starts this program again, however it was packaged."""
    return [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-m", "collabd"]


@contextmanager
def _server(place: Path) -> Iterator[tuple[str, int]]:
    """A server with the defaults but without rate limits, for the length of the block; answers its address."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("COLLABD_", "NOTIFY_", "LISTEN_"))
    }
    environment |= {"COLLABD_LIMITS__MESSAGES_PER_SECOND": "0", "COLLABD_LIMITS__BYTES_PER_SECOND": "0"}
    config = place / "collabd.toml"
    config.touch()
    command = [*own_program(), "serve", "--config", str(config), "--bind", "127.0.0.1:0"]
    with (
        (place / "log").open("w") as log,
        subprocess.Popen(
            [*command, "--data-dir", str(place / "data")],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith(READY):
                why = (place / "log").read_text().strip().splitlines() or ["no reason given"]
                raise NotDone(f"the server to be measured did not start: {why[-1]}")
            host, _, port = line.removeprefix(READY).strip().rpartition(":")
            yield host, int(port)
        finally:
            process.kill()


class _Client:
    """One WebSocket: joined, and read frame by frame without looking at more of each than its first bytes."""

    def __init__(self, address: tuple[str, int], path: str) -> None:
        self.socket = socket.create_connection(address, timeout=START_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = "AAAAAAAAAAAAAAAAAAAAAA=="
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._buffer = bytearray()
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            self.socket.close()
            raise NotDone(f"the server to be measured refused a session: {head.splitlines()[0].decode()}")
        self._buffer = bytearray(rest)

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _receive(self) -> None:
        data = self.socket.recv(262_144)
        if not data:
            raise NotDone("the server to be measured closed a session; see whether the machine has room for it")
        self._buffer += data

    def send(self, payload: bytes) -> None:
        """A text frame; its mask is zero, which leaves the payload as it is."""
        size = len(payload)
        head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0xFE]) + size.to_bytes(2)
        self.socket.sendall(head + bytes(4) + payload)

    def count(self) -> tuple[int, int]:
        """Take what has come: how many ACKs, and how many events."""
        self._receive()
        buffer, at, acks, events = self._buffer, 0, 0, 0
        while at + 10 <= len(buffer):
            size, start = buffer[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[start : start + 2]), start + 2
            elif size == 127:
                size, start = int.from_bytes(buffer[start : start + 8]), start + 8
            if start + size > len(buffer):
                break
            acks += buffer.startswith(_ACK, start)
            events += buffer.startswith(_EVENT, start)
            at = start + size
        del buffer[:at]
        return acks, events


class _Round:
    """So many seconds with so many events outstanding."""

    def __init__(self, sender: _Client, readers: list[_Client], seconds: float, outstanding: int) -> None:
        self._sender = sender
        self._readers = readers
        self._length = seconds
        self._outstanding = outstanding
        self._sent_at: deque[float] = deque()
        self.acks_ms: list[float] = []
        self.deliveries = 0
        self.seconds = 0.0

    def run(self, what: str, progress: Progress) -> _Round:
        """Send until the time is over, then wait for what is outstanding."""
        with selectors.DefaultSelector() as selector:
            for client in [self._sender, *self._readers]:
                selector.register(client.socket, selectors.EVENT_READ, client)
            began = time.perf_counter()
            for _ in range(self._outstanding):
                self._send()
            while self._sent_at:
                for key, _ in selector.select(START_S):
                    self._take(key.data, time.perf_counter() - began < self._length)
                progress(
                    what,
                    min(round((time.perf_counter() - began) * 10), round(self._length * 10)),
                    round(self._length * 10),
                )
            self.seconds = time.perf_counter() - began
        return self

    def _take(self, client: _Client, more: bool) -> None:
        acks, events = client.count()
        self.deliveries += events
        now = time.perf_counter()
        for _ in range(acks):
            self.acks_ms.append((now - self._sent_at.popleft()) * 1000)
            if more:
                self._send()

    def _send(self) -> None:
        message = {"eventType": "GRAFT", "data": _DATA, "clientMessageId": uuid4().hex}
        self._sender.send(json.dumps(message).encode())
        self._sent_at.append(time.perf_counter())
