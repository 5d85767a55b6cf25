"""The hub's figures in the names that operators know (docs/protocol.md, "Admin"). Law of this file: it only reads."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from collabd.errors import StorageUnavailable
from collabd.hub.diagnosis import Server, diagnose, finding_report, verdict
from collabd.hub.history import INTERVAL_S
from collabd.hub.timeline import in_words
from collabd.hub.watch import take_moment
from collabd.protocol.quality import DEGRADED, HEALTHY, UNHEALTHY, delivery_rate, health_status
from collabd.store.interface import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collabd.hub.health import SessionHealth
    from collabd.hub.hub import Hub
    from collabd.hub.overview import Overview

_SLICE: Final = 50


def rfc3339(milliseconds: int | None) -> str | None:
    """A time in milliseconds since 1970 as an RFC 3339 string in UTC."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def connections_report(hub: Hub) -> dict[str, Any]:
    """How many sessions are connected or polling, and in which runs."""
    by_run = Counter(record.run_id for record in hub.health.live())
    return {"totalRuns": len(by_run), "totalConnections": by_run.total(), "connectionsByRun": by_run}


def run_report(hub: Hub, run_id: str) -> dict[str, Any]:
    """The connections of one run; an unknown or idle one has none."""
    run = hub.runs.get(run_id)
    sessions = [] if run is None else run.attendance.sessions()
    connections = [
        {
            "sessionId": session.session_id,
            "userId": session.user_id,
            "connectedAt": rfc3339(session.health.connected_at),
            "transport": session.health.transport,
            "remoteAddress": session.connection.link.remote_address if session.connection else None,
        }
        for session in sessions
    ]
    return {
        "runId": run_id,
        "connectionCount": len(connections),
        "connections": connections,
        "activeUsers": [] if run is None else run.attendance.presence.users(),
    }


def session_report(hub: Hub, record: SessionHealth) -> dict[str, Any]:
    """All figures of one session. Latencies in milliseconds, null while none was measured."""
    latency = record.latency
    sent = record.sent()
    score = record.quality()
    return {
        "sessionId": record.session_id,
        "userId": record.user_id,
        "runId": record.run_id,
        "connectedAt": rfc3339(record.connected_at),
        "disconnectedAt": rfc3339(record.disconnected_at),
        "reconnectionCount": record.reconnections,
        "messagesSent": sent,
        "messagesReceived": record.messages_received,
        "messageFailures": record.messages_failed,
        "averageLatencyMs": _rounded(latency.average() if latency else None),
        "maxLatencyMs": _rounded(latency.maximum if latency else None),
        "p50LatencyMs": _rounded(latency.percentile(0.50) if latency else None),
        "p95LatencyMs": _rounded(latency.percentile(0.95) if latency else None),
        "p99LatencyMs": _rounded(latency.percentile(0.99) if latency else None),
        "messageDeliveryRate": delivery_rate(sent, record.messages_failed),
        "connectionQuality": round(score, 1),
        "healthStatus": health_status(score),
        "queuedBytes": record.queued(),
        "lastActivity": rfc3339(hub.last_activity(record)),
        "transport": record.transport,
        "closeCode": record.close_code,
    }


async def sessions_report(hub: Hub, records: Iterable[SessionHealth]) -> bytes:
    """The figures of many sessions as a JSON array; others get their turn in between."""
    parts = []
    for index, record in enumerate(records):
        if index and index % _SLICE == 0:
            await trio.lowlevel.checkpoint()
        parts.append(msgspec.json.encode(session_report(hub, record)))
    return b"[" + b",".join(parts) + b"]"


def timeline_report(hub: Hub, record: SessionHealth) -> dict[str, Any]:
    """What happened to a session, the oldest entry first, and what else is known of it."""
    return {
        "sessionId": record.session_id,
        "userId": record.user_id,
        "runId": record.run_id,
        "closeCode": record.close_code,
        "closeReason": record.close_reason,
        "deliveryLag": _delivery_lag(hub, record),
        "queuedClientMessages": record.client_queue,
        "timeline": [{**entry, "at": rfc3339(entry["at"])} for entry in map(in_words, record.timeline)],
    }


def _delivery_lag(hub: Hub, record: SessionHealth) -> int | None:
    """How many persisted events the client has not processed yet, by its own PINGs."""
    run = hub.runs.get(record.run_id)
    if run is None or record.disconnected_at is not None or record.last_sequence is None:
        return None
    return max(0, run.ring.head - record.last_sequence)


def health_report(overview: Overview) -> dict[str, Any]:
    """The health of all sessions that are there now."""
    return {
        "totalConnections": overview.sessions,
        "healthyConnections": overview.statuses[HEALTHY],
        "degradedConnections": overview.statuses[DEGRADED],
        "unhealthyConnections": overview.statuses[UNHEALTHY],
        "averageQualityScore": round(overview.quality, 1),
        "overallHealth": health_status(overview.quality),
    }


def history_report(hub: Hub) -> dict[str, Any]:
    """The last half hour in steps, the oldest first."""
    steps = [{"at": rfc3339(window.at), **window.figures()} for window in hub.history.windows()]
    return {"intervalMs": INTERVAL_S * 1000, "samples": steps}


async def storage_report(hub: Hub) -> dict[str, Any]:
    """What the log takes on its disk, and how old it is; times are null where nothing is kept, or cannot be read."""
    disk, error = hub.store.disk_usage(), hub.committer.storage_error
    try:
        span = await hub.store.span()
    except StorageUnavailable as unreadable:
        span, error = Span(None, None), error or str(unreadable)
    return {
        "epoch": hub.store.epoch,
        "databaseBytes": disk.database_bytes,
        "walBytes": disk.wal_bytes,
        "diskFreeBytes": disk.free_bytes,
        "oldestEventAt": rfc3339(span.oldest_at),
        "newestEventAt": rfc3339(span.newest_at),
        "problem": error,
    }


async def diagnosis_report(hub: Hub, window_ms: int) -> dict[str, Any]:
    """What is wrong and what to try, by the figures of the last `window_ms` milliseconds."""
    now = await take_moment(hub)
    assert now.overview is not None
    window = hub.history.window(now, window_ms / 1000)
    findings = diagnose(window, now.overview, _server(hub))
    return {
        "status": verdict(findings),
        "at": rfc3339(now.at),
        "windowMs": round(window.seconds * 1000),
        "figures": window.figures(),
        "findings": [finding_report(finding) for finding in findings],
        "publicUrl": hub.config.server.public_url,
        "heartbeatIntervalMs": round(hub.config.websocket.heartbeat_interval_s * 1000),
    }


def _server(hub: Hub) -> Server:
    config = hub.config
    rings = [run.ring for run in hub.runs.values()]
    held = sum(ring.head + 1 - ring.first for ring in rings)
    return Server(
        heartbeat_interval_s=config.websocket.heartbeat_interval_s,
        outbox_max_bytes=config.websocket.outbox_max_bytes,
        connection_limit=config.limits.connections,
        public_url=config.server.public_url,
        storage_error=hub.committer.storage_error,
        wal_bytes=hub.store.disk_usage().wal_bytes,
        draining=hub.draining,
        event_bytes=sum(ring.size for ring in rings) / held if held else 0.0,
    )


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)
