"""The real server behind a network that delays, cuts and stalls: what happened is what is reported."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from tests.operations.asking import Series
from tests.operations.live import Watched, connected, until
from tests.support.daemon import Daemon, receive, running_daemon, send
from tests.support.fault_proxy import FaultProxy, open_fault_proxy

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WS = "orchestrator_websocket"


@asynccontextmanager
async def server_behind_proxy(tmp_path: Path, **settings: str) -> AsyncIterator[tuple[Watched, FaultProxy]]:
    """The daemon, and a proxy before it that breaks connections on command."""
    with running_daemon(tmp_path / "data", settings) as daemon:
        async with open_fault_proxy(daemon.host, daemon.port) as proxy:
            yield Watched(daemon), proxy


async def test_a_delay_of_80_ms_is_reported_as_80_ms(tmp_path: Path) -> None:
    """40 ms each way: p50 within 10 %, by the server's own pings and a client that only reads.

    On a machine that is busy otherwise round trips do take longer, so it may be tried five times.
    """
    async with server_behind_proxy(tmp_path, WEBSOCKET__HEARTBEAT_INTERVAL_S="0.25") as (watched, proxy):
        proxy.delay(0.04)
        for attempt in range(5):
            session, series = await _measure(watched, proxy, f"ann{attempt}")
            if not session:
                continue
            assert session["p50LatencyMs"] >= 72
            if session["p50LatencyMs"] <= 88:
                break
    assert 72 <= session["p50LatencyMs"] <= 88
    assert session["connectionQuality"] == pytest.approx(96, abs=6)
    assert series[f"{WS}_message_latency_bucket", (("le", "0.05"),)] == 0
    assert series[f"{WS}_message_latency_bucket", (("le", "0.1"),)] >= 6


async def _measure(watched: Watched, proxy: FaultProxy, user: str) -> tuple[dict[str, Any], Series]:
    """A session's figures after a dozen round trips, and all series; nothing where it was too silent to be kept."""
    session: dict[str, Any] = {}
    series: Series = {}
    measured = (await watched.scrape())[f"{WS}_message_latency_count", ()] + 12
    async with connected(proxy.port, str(uuid4()), user) as client, trio.open_nursery() as nursery:
        nursery.start_soon(_read_on, client)
        await trio.sleep(3.5)  # asking meanwhile would keep the proxy from being on time
        await until(lambda: _measured(watched, measured), 60)
        session, series = await watched.session(user), await watched.scrape()
        nursery.cancel_scope.cancel()
    return session, series


async def _read_on(client: Any) -> None:
    while True:
        await client.get_message()


async def _measured(watched: Watched, count: float) -> bool:
    return (await watched.scrape())[f"{WS}_message_latency_count", ()] >= count


async def test_a_cut_every_second_is_counted_as_a_reconnection_each(tmp_path: Path) -> None:
    """The session's count, the server's counter and the timeline agree with what the proxy did."""
    run, cuts = str(uuid4()), 4
    async with server_behind_proxy(tmp_path) as (watched, proxy):
        session, query = "", ""
        for attempt in range(cuts + 1):
            async with connected(proxy.port, run, "ann", query) as client:
                welcome = (await receive(client))["data"]
                assert session in ("", welcome["sessionId"])
                session = welcome["sessionId"]
                query = f"&sessionId={session}&epoch={welcome['epoch']}&afterSequence=0&reconnectAttempt=1"
                if attempt < cuts:
                    await trio.sleep(1)
                    proxy.cut()
                    await until(lambda: _nobody(watched))
                else:
                    told = await watched.session("ann")
                    series = await watched.scrape()
        timeline = (await watched.admin(f"/sessions/{session}/timeline"))["timeline"]
    assert told["reconnectionCount"] == cuts
    assert series[f"{WS}_reconnections_total", ()] == cuts
    assert series[f"{WS}_disconnections_total", (("close_code", "abnormal"),)] == cuts
    assert series[f"{WS}_connections_total", (("transport", "websocket"),)] == cuts + 1
    events = [entry["event"] for entry in timeline]
    assert events.count("came_back") == events.count("resumed") == cuts
    assert [entry["reconnectAttempt"] for entry in timeline if entry["event"] == "came_back"] == [1] * cuts


async def _nobody(watched: Watched) -> bool:
    return bool((await watched.admin("/connections"))["totalConnections"] == 0)


async def test_a_stalled_reader_shows_as_queued_bytes_then_as_failures_and_4008(tmp_path: Path) -> None:
    """And it hurts nobody else."""
    run = str(uuid4())
    settings = {
        "WEBSOCKET__OUTBOX_MAX_BYTES": "2000000",
        "EVENTS__PERSISTED_EVENT_TYPES": '["NOTE"]',
        "LIMITS__MESSAGES_PER_SECOND": "0",
        "LIMITS__BYTES_PER_SECOND": "0",
    }
    async with (
        server_behind_proxy(tmp_path, **settings) as (watched, _),
        connected(watched.daemon.port, run, "ann") as ann,
    ):
        await receive(ann)
        stalled = await _join_and_stall(watched.daemon, run, "bob")
        seen_queued = 0
        told = await watched.session("bob")
        with trio.fail_after(60):
            while not told["closeCode"]:
                await send(ann, "NOTE", "x" * 60_000, uuid4().hex)
                while (await receive(ann))["eventType"] != "ACK":
                    pass
                told = await watched.session("bob")
                seen_queued = max(seen_queued, told["queuedBytes"])
        timeline = (await watched.admin(f"/sessions/{told['sessionId']}/timeline"))["timeline"]
        other = await watched.session("ann")
        series = await watched.scrape()
        stalled.close()
    assert 60_000 < seen_queued <= 2_100_000
    assert told["closeCode"] == 4008
    assert told["messageFailures"] > 0
    assert told["messageDeliveryRate"] < 1
    assert [entry["event"] for entry in timeline][-2:] == ["failed", "closed"]
    assert timeline[-2]["events"] == told["messageFailures"]
    assert "4008" in timeline[-1]["text"]
    assert "too slow" in timeline[-1]["text"]
    assert series[f"{WS}_message_failures_total", ()] == told["messageFailures"]
    assert series[f"{WS}_disconnections_total", (("close_code", "4008"),)] == 1
    assert (other["messageFailures"], other["healthStatus"]) == (0, "HEALTHY")


async def _join_and_stall(daemon: Daemon, run: str, user: str) -> socket.socket:
    """A client that joins and never reads, with as little room in its socket as the system allows."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await trio.to_thread.run_sync(sock.connect, (daemon.host, daemon.port))
    head = (
        f"GET /ws/runs/{run}/collaboration?userId={user} HTTP/1.1",
        f"Host: {daemon.host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    sock.sendall("\r\n".join((*head, "", "")).encode())
    return sock


async def test_a_poller_reports_its_own_latency_and_queue(tmp_path: Path) -> None:
    """Where the server cannot ping, CLIENT_HEALTH counts."""
    run = str(uuid4())
    async with server_behind_proxy(tmp_path) as (watched, _):
        daemon = watched.daemon
        _, polled = await trio.to_thread.run_sync(daemon.request, f"/api/runs/{run}/collaboration/poll?userId=dan")
        report = {"latencyMs": 120, "queuedMessages": 3, "reconnectionCount": 0, "usingFallback": True}
        path = f"/api/runs/{run}/collaboration/events?userId=dan&sessionId={polled['sessionId']}"
        message = {"eventType": "CLIENT_HEALTH", "data": {**report, "transport": "polling"}}
        status, _ = await trio.to_thread.run_sync(daemon.request, path, message)
        assert status == 200
        told = await watched.session("dan")
        series = await watched.scrape()
    assert (told["transport"], told["averageLatencyMs"], told["maxLatencyMs"]) == ("polling", 120, 120)
    assert series[f"{WS}_queued_client_messages", ()] == 3
    assert series[f"{WS}_fallback_http_total", ()] == 1
