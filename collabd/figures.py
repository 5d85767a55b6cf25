"""Every figure that Prometheus can scrape: name, kind, unit, labels and what it means; and how much is too much.

Law of this file: a leaf, and the only place where these names and thresholds stand; the exposition, the diagnosis,
docs/operations.md, the dashboard and the alert rules are held to it by tests. `python -m collabd.figures` prints the
table for the docs.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

RECONNECTIONS_PER_MINUTE: Final = 10
LATENCY_S: Final = 0.5
"""Of the 95th percentile."""
LATENCY_CRITICAL_S: Final = 1.0
FALLBACK_SHARE: Final = 0.01
"""Of the sessions that begin."""
FALLBACKS_TELLING: Final = 5
"""Fewer sessions that poll may be somebody with curl."""
FAILURE_SHARE: Final = 0.001
"""Of the deliveries due."""
DELIVERY_RATE: Final = 0.95
DELIVERY_RATE_CRITICAL: Final = 0.80
QUEUED_CLIENT_MESSAGES: Final = 50
COMMIT_S: Final = 0.25
"""Of the 99th percentile."""
LOOP_LAG_S: Final = 0.1
"""Of the 99th percentile."""

WAL_BYTES: Final = 64 * 1024 * 1024
"""Of the write-ahead log, which is begun anew from 4 MiB on unless somebody reads the database without an end."""

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"


class Figure(NamedTuple):
    """One figure. `labels` have values from fixed sets only; a counter's name ends in _total."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()


_WS = "orchestrator_websocket"

FIGURES: Final = (
    Figure(
        f"{_WS}_connections_total", COUNTER, "sessions", "Sessions that connected or began to poll.", ("transport",)
    ),
    Figure(
        f"{_WS}_disconnections_total", COUNTER, "connections", "Connections that ended, by close code.", ("close_code",)
    ),
    Figure(f"{_WS}_reconnections_total", COUNTER, "sessions", "Sessions that came back."),
    Figure(
        f"{_WS}_messages_in_total",
        COUNTER,
        "events",
        "Events accepted from clients; event types that are not configured count as other.",
        ("event_type",),
    ),
    Figure(f"{_WS}_messages_out_total", COUNTER, "events", "Events sent to sessions, counted for each of them."),
    Figure(
        f"{_WS}_message_failures_total",
        COUNTER,
        "events",
        "Events that should have reached a session and did not: a failed write, an overflow, a close.",
    ),
    Figure(
        f"{_WS}_messages_refused_total", COUNTER, "messages", "Client messages refused, by error code.", ("error_code",)
    ),
    Figure(
        f"{_WS}_fallback_http_total", COUNTER, "sessions", "Sessions that began with, or switched to, HTTP polling."
    ),
    Figure(
        f"{_WS}_message_latency",
        HISTOGRAM,
        "seconds",
        "Round trips of the server's WebSocket pings, or as polling clients report them, in seconds.",
    ),
    Figure(
        "orchestrator_limited_total",
        COUNTER,
        "refusals",
        "Connections, requests and messages held back by a limit, by its setting.",
        ("limit",),
    ),
    Figure(f"{_WS}_active_connections", GAUGE, "sessions", "Sessions connected or polling now.", ("transport",)),
    Figure(f"{_WS}_active_runs", GAUGE, "runs", "Runs with at least one session now."),
    Figure(f"{_WS}_connection_quality", GAUGE, "score", "Average quality of the sessions there now, 0 to 100."),
    Figure(
        f"{_WS}_delivery_rate",
        GAUGE,
        "ratio",
        "Events that reached the sessions there now, of those that should have, 0 to 1.",
    ),
    Figure(f"{_WS}_health_status", GAUGE, "sessions", "Sessions there now, by health status.", ("status",)),
    Figure(
        f"{_WS}_queued_client_messages",
        GAUGE,
        "messages",
        "Messages waiting in clients, as the sessions there now say.",
    ),
    Figure(f"{_WS}_outbox_bytes", GAUGE, "bytes", "Bytes waiting for slow sockets."),
    Figure("orchestrator_log_head", GAUGE, "number", "The highest sequence number among the runs in memory."),
    Figure(
        "orchestrator_commit_latency_seconds", HISTOGRAM, "seconds", "Time that a commit of the log took, in seconds."
    ),
    Figure("orchestrator_group_commit_events", HISTOGRAM, "events", "Events kept by one commit."),
    Figure(
        "orchestrator_storage_available", GAUGE, "0 or 1", "1 while the disk takes writes, 0 while it refuses them."
    ),
    Figure("orchestrator_database_bytes", GAUGE, "bytes", "Size of the database and its write-ahead log on disk."),
    Figure("orchestrator_wal_bytes", GAUGE, "bytes", "Size of the write-ahead log on disk."),
    Figure("orchestrator_disk_free_bytes", GAUGE, "bytes", "Room left on the disk of the database."),
    Figure(
        "orchestrator_oldest_event_timestamp_seconds",
        GAUGE,
        "seconds",
        "When the oldest retained event came, since 1970; NaN without any.",
    ),
    Figure(
        "orchestrator_newest_event_timestamp_seconds",
        GAUGE,
        "seconds",
        "When the newest retained event came, since 1970; NaN without any.",
    ),
    Figure(
        "orchestrator_event_loop_lag_seconds",
        HISTOGRAM,
        "seconds",
        "How late timers of the event loop are, in seconds.",
    ),
    Figure("orchestrator_build_info", GAUGE, "1", "Always 1; the label says which version runs.", ("version",)),
    Figure("process_cpu_seconds_total", COUNTER, "seconds", "CPU time used by the process."),
    Figure("process_resident_memory_bytes", GAUGE, "bytes", "Memory of the process."),
    Figure("process_virtual_memory_bytes", GAUGE, "bytes", "Address space of the process."),
    Figure("process_start_time_seconds", GAUGE, "seconds", "When the process began, since 1970."),
    Figure("process_open_fds", GAUGE, "descriptors", "Open file descriptors."),
    Figure("process_max_fds", GAUGE, "descriptors", "The limit of open file descriptors."),
)

BY_NAME: Final = {figure.name: figure for figure in FIGURES}


def markdown() -> str:
    """The table as it stands in docs/operations.md."""
    lines = ["| metric | kind | labels | unit | meaning |", "|---|---|---|---|---|"]
    for figure in FIGURES:
        labels = ", ".join(f"`{label}`" for label in figure.labels)
        lines.append(f"| `{figure.name}` | {figure.kind} | {labels} | {figure.unit} | {figure.meaning} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
