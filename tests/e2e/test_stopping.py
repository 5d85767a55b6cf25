"""Starting and stopping the real process: what an operator and a service manager see."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from tests.support.daemon import Daemon, joined, receive, receive_until, running_daemon, send

pytestmark = pytest.mark.e2e


def collabd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "collabd", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        env={"PATH": "/usr/bin:/bin", **environment},
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_drains_and_exits_0(tmp_path: Path, number: signal.Signals) -> None:
    """Sessions get what was committed, DRAIN and 1012; then the process exits 0."""
    run_id = str(uuid.uuid4())

    async def live(daemon: Daemon) -> None:
        async with joined(daemon, run_id, "ann") as ann:
            await receive(ann)
            await send(ann, "GRAFT", {"after": "A"}, "m1")
            daemon.process.send_signal(number)
            drain = await receive_until(ann, "DRAIN")
            assert 500 <= drain["data"]["retryAfterMs"] <= 30_000
            with pytest.raises(ConnectionClosed) as closed, trio.fail_after(5):
                await ann.get_message()
            assert closed.value.reason is not None
            assert closed.value.reason.code == 1012

    with running_daemon(tmp_path / "data") as daemon:
        trio.run(live, daemon)
        assert daemon.wait() == 0
    with running_daemon(tmp_path / "data") as daemon:
        events = daemon.replay(run_id)
        assert len(events) <= 1  # sent at the moment of the signal: either way, never twice


def test_a_stop_is_bounded_when_peers_do_not_read(tmp_path: Path) -> None:
    """A peer that never reads, one that never finishes its request and one that sleeps in a poll hold up nothing."""
    run_id = str(uuid.uuid4())
    settings = {"SERVER__DRAIN_TIMEOUT_S": "2", "LIMITS__MESSAGES_PER_SECOND": "0", "LIMITS__BYTES_PER_SECOND": "0"}
    with running_daemon(tmp_path / "data", settings) as daemon:
        upgrade = (
            f"GET /ws/runs/{run_id}/collaboration?userId=deaf HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        poll = f"GET /api/runs/{run_id}/collaboration/poll?wait=30000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with (
            socket.create_connection((daemon.host, daemon.port)) as deaf,
            socket.create_connection((daemon.host, daemon.port)) as slow,
            socket.create_connection((daemon.host, daemon.port)) as poller,
        ):
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(upgrade.encode())
            assert deaf.recv(12) == b"HTTP/1.1 101"
            slow.sendall(b"POST /api/runs/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n1")
            poller.sendall(poll.encode())
            trio.run(_fill, daemon, run_id)
            started = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - started < 3.5


async def _fill(daemon: Daemon, run_id: str) -> None:
    """More than a deaf peer's socket takes."""
    async with joined(daemon, run_id, "loud") as loud:
        await receive(loud)
        for number in range(100):
            await send(loud, "SHOUT", "x" * 60_000, f"m{number}")
            await receive_until(loud, "ACK")


def test_joining_while_the_server_drains_is_refused_with_when_to_come_again(tmp_path: Path) -> None:
    """503 and Retry-After, for as long as the drain lasts."""
    run_id = str(uuid.uuid4())
    settings = {"SERVER__DRAIN_TIMEOUT_S": "3", "LIMITS__MESSAGES_PER_SECOND": "0", "LIMITS__BYTES_PER_SECOND": "0"}
    upgrade = (
        f"GET /ws/runs/{run_id}/collaboration?userId=deaf HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with (
        running_daemon(tmp_path / "data", settings) as daemon,
        socket.create_connection((daemon.host, daemon.port)) as deaf,
    ):
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(upgrade.encode())
        assert deaf.recv(12) == b"HTTP/1.1 101"
        trio.run(_fill, daemon, run_id)
        daemon.process.send_signal(signal.SIGTERM)
        for _ in range(200):
            status, problem = daemon.request(f"/api/runs/{run_id}/collaboration/poll")
            if status == 503:
                break
            time.sleep(0.01)
        assert problem["code"] == "draining"
        assert problem["retryAfterMs"] > 0
        assert daemon.wait() == 0


def test_a_second_daemon_on_a_data_directory_is_refused(tmp_path: Path) -> None:
    """One line that names the directory and who has it; exit status 1 (it may be about to stop), the first goes on."""
    with running_daemon(tmp_path / "data") as daemon:
        second = collabd("serve", "--bind", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"))
        assert second.returncode == 1
        assert str(tmp_path / "data") in second.stderr
        assert "Traceback" not in second.stderr
        assert daemon.request("/actuator/health") == (200, {"status": "UP"})


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    """Which address, why, what to do; exit status 1, since it may be free at the next start."""
    with running_daemon(tmp_path / "data") as daemon:
        second = collabd("serve", "--bind", f"127.0.0.1:{daemon.port}", "--data-dir", str(tmp_path / "other"))
        assert second.returncode == 1
        assert f"127.0.0.1:{daemon.port}" in second.stderr
        assert "Traceback" not in second.stderr


def test_a_bad_configuration_exits_with_2(tmp_path: Path) -> None:
    """So that a service manager does not restart it in a loop."""
    file = tmp_path / "collabd.toml"
    file.write_text("[server]\nbnd = '127.0.0.1:1'\n[limits]\nconnections = -1\n")
    done = collabd("serve", "--config", str(file))
    assert done.returncode == 2
    assert "bnd" in done.stderr
    assert "bind" in done.stderr
    assert "connections" in done.stderr


def test_a_database_that_is_none_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """Nothing is overwritten; the line says which file. Exit status 2, since another start will not help."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    database = data / "collabd.sqlite3"
    database.write_bytes(b"this is a shopping list, not a database\n" * 100)
    before = database.read_bytes()
    done = collabd("serve", "--bind", "127.0.0.1:0", "--data-dir", str(data))
    assert done.returncode == 2
    assert str(database) in done.stderr
    assert database.read_bytes() == before


def test_a_lost_log_is_noticed_and_gets_a_new_epoch(tmp_path: Path) -> None:
    """kill -9, then the write-ahead log vanishes: clients of the old history are told so, and the log says it."""
    run_id = str(uuid.uuid4())
    path = f"/api/runs/{run_id}/collaboration/events?userId=ann"
    with running_daemon(tmp_path / "data") as daemon:
        assert daemon.request(path, {"eventType": "GRAFT", "data": {"after": "A"}, "clientMessageId": "m1"})[0] == 200
        epoch = daemon.request(f"/api/runs/{run_id}/collaboration/poll")[1]["epoch"]
        daemon.kill()
    for file in (tmp_path / "data").glob("*-wal"):
        file.unlink()
    with running_daemon(tmp_path / "data") as daemon:
        answer = daemon.request(f"/api/runs/{run_id}/collaboration/poll?afterSequence=1&epoch={epoch}")[1]
        assert answer["epoch"] != epoch
        assert answer["resetReason"] == "epoch_changed"
        assert "epoch" in daemon.log.read_text()


def test_a_full_disk_refuses_events_and_recovers_by_itself(tmp_path: Path) -> None:
    """storage_unavailable for critical events while everything else goes on; no restart, and no number is burnt."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mounted)], check=False).returncode:
        pytest.skip("NOT RUN: a full disk needs root, to mount a small one")
    try:
        with running_daemon(
            mounted / "data", {"LIMITS__MESSAGES_PER_SECOND": "0", "LIMITS__BYTES_PER_SECOND": "0"}
        ) as daemon:
            trio.run(_fill_disk, daemon, mounted)
            assert daemon.stop() == 0
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


async def _fill_disk(daemon: Daemon, mounted: Path) -> None:
    run_id = str(uuid.uuid4())
    async with joined(daemon, run_id, "ann") as ann:
        await send(ann, "GRAFT", {"after": "A"}, "m1")
        assert (await receive_until(ann, "ACK"))["data"]["sequenceNumber"] == 1
        filler = mounted / "filler"
        fill(filler)
        number = 1
        while True:  # what is free inside the files takes a few more
            await send(ann, "GRAFT", {"after": "x" * 50_000, "n": number}, f"m{number + 1}")
            answer = await receive_answer(ann)
            if answer["eventType"] == "ERROR":
                break
            number += 1
        refused = answer["data"]
        assert refused["code"] == "storage_unavailable"
        assert refused["retryable"] is True
        await send(ann, "CURSOR_MOVE", {"nodeId": "A"})
        await receive_until(ann, "CURSOR_MOVE")
        assert daemon.request(f"/api/runs/{run_id}/collaboration/poll?userId=bob")[0] == 200
        assert daemon.request("/actuator/health")[0] == 503
        filler.unlink()
        await send(ann, "GRAFT", {"after": "x" * 50_000, "n": number}, f"m{number + 1}")
        ack = (await receive_until(ann, "ACK"))["data"]
        assert ack["sequenceNumber"] == number + 1
        assert [event["sequenceNumber"] for event in daemon.replay(run_id)] == list(range(1, number + 2))
        assert daemon.request("/actuator/health")[0] == 200


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


async def receive_answer(socket: WebSocketConnection) -> dict[str, Any]:
    """The next ACK or ERROR."""
    while True:
        message = await receive(socket)
        if message["eventType"] in ("ACK", "ERROR"):
            return message
