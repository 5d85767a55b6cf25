"""The hub's figures in the names that operators know (docs/protocol.md, "Admin"). Law of this file: it only reads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from collabd.protocol.quality import DEGRADED, HEALTHY, UNHEALTHY, delivery_rate, health_status

if TYPE_CHECKING:
    from collabd.hub.health import SessionHealth
    from collabd.hub.hub import Hub


def rfc3339(milliseconds: int | None) -> str | None:
    """A time in milliseconds since 1970 as an RFC 3339 string in UTC."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def connections_report(hub: Hub) -> dict[str, Any]:
    """How many connections there are, and in which runs."""
    by_run = {run.run_id: run.attendance.connection_count for run in hub.runs.values()}
    return {"totalRuns": len(hub.runs), "totalConnections": hub.connection_count, "connectionsByRun": by_run}


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


def health_report(hub: Hub) -> dict[str, Any]:
    """The health of all sessions that are there now."""
    scores = [record.quality() for record in hub.health.live()]
    counts = dict.fromkeys((HEALTHY, DEGRADED, UNHEALTHY), 0)
    for score in scores:
        counts[health_status(score)] += 1
    average = sum(scores) / len(scores) if scores else 100.0
    return {
        "totalConnections": len(scores),
        "healthyConnections": counts[HEALTHY],
        "degradedConnections": counts[DEGRADED],
        "unhealthyConnections": counts[UNHEALTHY],
        "averageQualityScore": round(average, 1),
        "overallHealth": health_status(average),
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)
