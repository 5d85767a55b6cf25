"""A disk that fails or stalls under the running daemon, by strace's fault injection."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.support.daemon import Daemon, joined, receive, receive_until, running_daemon, send

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        shutil.which("strace") is None and "CI" not in os.environ, reason="NOT RUN: needs strace, to have calls fail"
    ),
]


@contextmanager
def injected(daemon: Daemon, fault: str) -> Iterator[None]:
    """Have system calls of a daemon fail, or wait, for the length of a block (strace(1), "Tampering")."""
    command = ["strace", "-f", "-q", "-o", "/dev/null", "-e", "signal=none", "-e", f"trace={fault.partition(':')[0]}"]
    tracer = subprocess.Popen(
        [*command, "-e", f"inject={fault}", "-p", str(daemon.process.pid)], stderr=subprocess.DEVNULL
    )
    try:
        _wait_traced(daemon.process.pid, tracer)
        yield
    finally:
        tracer.terminate()
        tracer.wait(30)


def _wait_traced(pid: int, tracer: subprocess.Popen[bytes]) -> None:
    """Until every thread of the process is traced."""
    while any("\nTracerPid:\t0\n" in (task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()):
        assert tracer.poll() is None, "strace could not attach: is ptrace allowed here?"


async def write_until_it_ends(daemon: Daemon, run_id: str, acknowledged: list[int]) -> None:
    """Send one event after the other; note what is acknowledged, until the daemon closes the connection."""
    with suppress(ConnectionClosed, OSError):
        async with joined(daemon, run_id, "ann") as ann:
            await receive(ann)
            for number in range(1, 1000):
                await send(ann, "GRAFT", {"after": "A", "n": number}, f"m{number}")
                ack = await receive_until(ann, "ACK", 60)
                acknowledged.append(ack["data"]["sequenceNumber"])


@pytest.mark.parametrize("fault", ["fdatasync:error=EIO:when=1", "pwrite64:error=EIO:when=1"], ids=["sync", "write"])
def test_nothing_is_acknowledged_after_a_disk_failed_and_a_restart_recovers(tmp_path: Path, fault: str) -> None:
    """The daemon stops acknowledging, leaves with a status that is not 0, and the next has every acknowledged event."""
    run_id = str(uuid.uuid4())
    acknowledged: list[int] = []
    with running_daemon(tmp_path / "data") as daemon:
        path = f"/api/runs/{run_id}/collaboration/events?userId=bob"
        for number in range(1, 4):
            body = {"eventType": "GRAFT", "data": None, "clientMessageId": f"b{number}"}
            assert daemon.request(path, body)[0] == 200
        epoch = daemon.request(f"/api/runs/{run_id}/collaboration/poll")[1]["epoch"]
        with injected(daemon, fault):
            trio.run(write_until_it_ends, daemon, run_id, acknowledged)
            status = daemon.wait(60)
        assert status != 0
        assert acknowledged == []
        assert "nothing more is acknowledged" in daemon.log.read_text()
    with running_daemon(tmp_path / "data") as daemon:
        events = daemon.replay(run_id)
        assert [event["sequenceNumber"] for event in events] == list(range(1, len(events) + 1))
        assert len(events) >= 3
        assert daemon.request(f"/api/runs/{run_id}/collaboration/poll")[1]["epoch"] == epoch
        assert daemon.request(path, {"eventType": "GRAFT", "data": 1})[1]["acks"][0]["sequenceNumber"] > len(events)


def test_a_write_that_falls_short_is_refused_and_works_when_sent_again(tmp_path: Path) -> None:
    """What a disk without room does: nothing of it is there, no number is burnt, and the daemon goes on."""
    with running_daemon(tmp_path / "data") as daemon:
        path = f"/api/runs/{uuid.uuid4()}/collaboration/events?userId=bob"
        body = {"eventType": "GRAFT", "data": None, "clientMessageId": "b1"}
        with injected(daemon, "pwrite64:retval=0:when=1"):
            status, refused = daemon.request(path, body)
            assert (status, refused["code"], refused["retryable"]) == (503, "storage_unavailable", True)
            ack = daemon.request(path, body)[1]["acks"][0]
        assert (ack["sequenceNumber"], ack["duplicate"]) == (1, False)


def test_a_slow_disk_delays_commits_and_nothing_else(tmp_path: Path) -> None:
    """While each sync takes a second, pings of other runs are answered in the time they always are."""
    with running_daemon(tmp_path / "data") as daemon, injected(daemon, "fdatasync:delay_enter=1s"):
        trio.run(_compare, daemon)
        assert daemon.request("/actuator/health") == (200, {"status": "UP"})


async def _compare(daemon: Daemon) -> None:
    slow_run, other_run = str(uuid.uuid4()), str(uuid.uuid4())
    round_trips: list[float] = []
    commits: list[float] = []
    done = trio.Event()

    async def write() -> None:
        async with joined(daemon, slow_run, "ann") as ann:
            await receive(ann)
            for number in range(5):
                began = trio.current_time()
                await send(ann, "GRAFT", {"after": "A"}, f"m{number}")
                await receive_until(ann, "ACK", 60)
                commits.append(trio.current_time() - began)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        async with joined(daemon, other_run, "bob") as bob:
            await receive(bob)
            while not done.is_set():
                began = trio.current_time()
                await send(bob, "PING", {})
                await receive_until(bob, "PONG", 60)
                round_trips.append(trio.current_time() - began)
                await trio.sleep(0.02)
    assert min(commits) > 0.9
    # Most, since the machine may have other things to do now and then.
    round_trips.sort()
    print(f"{len(round_trips)} pings, median {round_trips[len(round_trips) // 2] * 1000:.1f} ms")
    assert len(round_trips) > 20
    assert round_trips[len(round_trips) // 2] < 0.25
