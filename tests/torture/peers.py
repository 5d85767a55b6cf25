"""Peers who take everything and give nothing: silent, half a handshake, never reading, a byte at a time; and no file
descriptor left.

    python -m tests.torture peers [--half 1000] [--deaf 200] [--descriptors 200]

Law of this file: raw sockets that do one wrong thing each, all at once, beside clients who do everything right and
whose views the oracle judges.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.support.daemon import Daemon, running_daemon
from tests.torture.bystander import standing_by
from tests.torture.crowd import Crowd, Member
from tests.torture.oracle import Broken, Log, View
from tests.torture.watch import OBSERVED, Window

HANDSHAKE_S: Final = 5
OUTBOX_BYTES: Final = 262_144
SETTINGS: Final = {
    "SERVER__HANDSHAKE_TIMEOUT_S": str(HANDSHAKE_S),
    "SERVER__DRAIN_TIMEOUT_S": "3",
    "SERVER__WRITE_TIMEOUT_S": "5",
    "WEBSOCKET__OUTBOX_MAX_BYTES": str(OUTBOX_BYTES),
    "LIMITS__MESSAGES_PER_SECOND": "0",
    "LIMITS__BYTES_PER_SECOND": "0",
    "LOGGING__LEVEL": "warning",
}
PATIENCE_S: Final = 90.0
_EVENT_BYTES: Final = 30_000


def peers(half: int, deaf: int, directory: Path) -> dict[str, Any]:
    """All of them at once, beside twenty who go on working. Raises Broken."""
    run_id, log, figures = str(uuid.uuid4()), Log("peers"), dict[str, Any]()
    crowd = Crowd(Member(View(log, f"user{number:02}"), run_id) for number in range(20))
    with running_daemon(directory / "data", SETTINGS, command=OBSERVED) as daemon, ExitStack() as stack:
        window = Window(daemon, directory / "data")
        stack.callback(crowd.close)
        crowd.dial(daemon.port, None, Member.request)
        crowd.run_until(lambda: all(member.view.place for member in crowd.members), PATIENCE_S)
        before = window.rss_bytes()
        with standing_by(daemon.url, str(uuid.uuid4()), None, figures):
            window.ask_now("ticks")
            silent = [_open(stack, daemon, first) for first in (b"", b"GET / HTTP/1.1\r\n") for _ in range(half // 2)]
            started = time.monotonic()
            slow = [_open(stack, daemon, _slow_request(run_id)) for _ in range(20)]
            never = [_open(stack, daemon, _upgrade(run_id, f"deaf{number}"), deaf=True) for number in range(deaf)]
            head = _write_until(daemon, crowd, run_id, lambda: _ended(daemon, "deaf") == deaf, slow)
            _wait_ended(silent)
            cut_after = time.monotonic() - started
            figures |= window.ask_now("ticks")
        log.judge(head)
        grown = window.rss_bytes() - before
        began = time.monotonic()
        status = daemon.stop()
        stopped = time.monotonic() - began
        if status or (lines := daemon.log.read_text()):
            raise Broken(f"exit {status}, and the daemon warned: {lines[:2000]}")
    return {
        "half handshakes": len(silent),
        "never reading": len(never),
        "writing a byte at a time": len(slow),
        "cut after s": round(cut_after, 2),
        "grown MiB": round(grown / 2**20, 1),
        "stopped after s": round(stopped, 2),
        "events": head,
        "bystander": figures,
    }


def _open(stack: ExitStack, daemon: Daemon, first: bytes, *, deaf: bool = False) -> socket.socket:
    sock = stack.enter_context(socket.socket())
    if deaf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(PATIENCE_S)
    sock.connect((daemon.host, daemon.port))
    sock.sendall(first)
    return sock


def _upgrade(run_id: str, user: str) -> bytes:
    return Member(View(Log(), user), run_id).request()


def _slow_request(run_id: str) -> bytes:
    path = f"/api/runs/{run_id}/collaboration/events?userId=slow"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n".encode()


def _write_until(daemon: Daemon, crowd: Crowd, run_id: str, done: Callable[[], bool], slow: list[socket.socket]) -> int:
    """Publish what the crowd reads and nobody deaf can take, while the slow ones send a byte each; answers the head."""
    path, head = f"/api/runs/{run_id}/collaboration/events?userId=loud", 0
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise Broken(f"those who never read are still there after {head} events")
        data = {"after": str(head), "x": "x" * _EVENT_BYTES}
        events = [{"eventType": "GRAFT", "data": data, "clientMessageId": f"m{head + n}"} for n in range(10)]
        status, answer = daemon.request(path, {"events": events})
        if status != 200:
            raise Broken(f"a publish was answered {status}: {answer}")
        head = answer["acks"][-1]["sequenceNumber"]
        crowd.run_until(partial(_has_all_reached, crowd, head), PATIENCE_S)
        for sock in slow:
            with suppress(OSError):
                sock.send(b" ")
    return head


def _has_all_reached(crowd: Crowd, head: int) -> bool:
    return all(member.view.place is not None and member.view.place.number == head for member in crowd.members)


def _ended(daemon: Daemon, user: str) -> int:
    """How many sessions of these users have been closed as too slow."""
    _, sessions = daemon.request("/api/admin/websocket/metrics")
    return sum(each["closeCode"] == 4008 for each in sessions if each["userId"].startswith(user))


def _wait_ended(socks: list[socket.socket]) -> None:
    """Wait until the server has ended all of these. Raises Broken."""
    poll = select.poll()
    waiting = {sock.fileno(): sock for sock in socks}
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + PATIENCE_S
    while waiting:
        if time.monotonic() > deadline:
            raise Broken(f"{len(waiting)} silent connections are still open")
        for fd, _ in poll.poll(100):
            with suppress(ConnectionResetError):
                if waiting[fd].recv(65536):
                    continue
            poll.unregister(fd)
            del waiting[fd]


def descriptors(limit: int, directory: Path) -> dict[str, Any]:
    """More connections than file descriptors: those inside go on, one line says it, and it passes. Raises Broken."""
    run_id, log, inside = str(uuid.uuid4()), Log("inside"), 10
    crowd = Crowd(Member(View(log, f"user{number}"), run_id) for number in range(inside))
    path = f"/api/runs/{run_id}/collaboration/events?userId=ann"
    command = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *OBSERVED)
    with running_daemon(directory / "data", SETTINGS, command=command) as daemon, ExitStack() as stack:
        window = Window(daemon, directory / "data")
        stack.callback(crowd.close)
        crowd.dial(daemon.port, None, Member.request)
        crowd.run_until(lambda: all(member.view.place for member in crowd.members), PATIENCE_S)
        daemon.request(f"/api/runs/{run_id}/collaboration/replay")  # so that the log has a reader already
        crowding = [_open(stack, daemon, _upgrade(run_id, f"crowd{number}")) for number in range(limit + 50)]
        deadline = time.monotonic() + PATIENCE_S
        while "new connections wait" not in daemon.log.read_text():
            if time.monotonic() > deadline:
                raise Broken(f"{len(window.descriptors())} descriptors are open, and no line says that it is too much")
        _write_inside(crowd, 5)
        crowd.run_until(partial(_has_all_reached, crowd, 5), PATIENCE_S)
        seconds = time.monotonic()
        while time.monotonic() - seconds < 1:
            pass_by = window.ask_now("look")
        taken = len(window.descriptors())
        for sock in crowding:
            sock.close()
        status, answer = daemon.request(path, {"eventType": "GRAFT", "data": {}, "clientMessageId": "after"})
        if status != 200 or answer["acks"][0]["sequenceNumber"] != 6:
            raise Broken(f"after the shortage: {status} {answer}")
        crowd.run_until(partial(_has_all_reached, crowd, 6), PATIENCE_S)
        log.judge(6)
        lines = daemon.log.read_text().splitlines()
        if len(lines) != 1 or daemon.stop() != 0:
            raise Broken(f"exit {daemon.process.returncode}, {len(lines)} lines: {lines[:5]}")
    return {"limit": limit, "open at the worst": taken, "knocked": len(crowding), "line": lines[0], "inside": pass_by}


def _write_inside(crowd: Crowd, count: int) -> None:
    """Somebody who is in writes over the connection that is open."""
    for number in range(count):
        crowd.members[0].write("GRAFT", {"after": str(number)}, f"m{number}")


def main(arguments: list[str]) -> int:
    """Run both, and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture peers", description=__doc__)
    parser.add_argument("--half", type=int, default=1000)
    parser.add_argument("--deaf", type=int, default=200)
    parser.add_argument("--descriptors", type=int, default=200)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="collabd-peers-") as place:
        first, second = Path(place) / "peers", Path(place) / "descriptors"
        first.mkdir()
        second.mkdir()
        try:
            print(json.dumps(peers(options.half, options.deaf, first)), flush=True)
            print(json.dumps(descriptors(options.descriptors, second)), flush=True)
        except Broken as broken:
            print(f"BROKEN: {broken}", file=sys.stderr)
            return 1
    return 0
