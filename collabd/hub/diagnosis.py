"""What is wrong, why we think so, and what to try: the troubleshooting list of docs/operations.md, made runnable.

Law of this file: pure; figures in, findings out. Each threshold (collabd.figures) is also an alert in
packaging/prometheus-alerts.yml, each topic a section of docs/operations.md; tests hold the three together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from collabd.figures import (
    COMMIT_S,
    DELIVERY_RATE,
    DELIVERY_RATE_CRITICAL,
    FAILURE_SHARE,
    FALLBACK_SHARE,
    FALLBACKS_TELLING,
    LATENCY_CRITICAL_S,
    LATENCY_S,
    LOOP_LAG_S,
    QUEUED_CLIENT_MESSAGES,
    RECONNECTIONS_PER_MINUTE,
    WAL_BYTES,
)
from collabd.hub.history import Window, milliseconds
from collabd.protocol.quality import DEGRADED, HEALTHY, UNHEALTHY

if TYPE_CHECKING:
    from collabd.hub.overview import Overview

NOTICE: Final = "NOTICE"
"""Something to know that makes nothing worse yet."""

SEVERITIES: Final = (HEALTHY, NOTICE, DEGRADED, UNHEALTHY)

PROXY_IDLE_S: Final = 60
"""How long common reverse proxies let a silent connection live (nginx `proxy_read_timeout`, AWS load balancers)."""

_LARGE_EVENT_BYTES: Final = 16 * 1024
_NEARLY: Final = 0.9


class Server(NamedTuple):
    """What else a diagnosis needs to know of the server. `event_bytes` is the mean size of recent persisted events."""

    heartbeat_interval_s: float
    outbox_max_bytes: int
    connection_limit: int
    public_url: str
    storage_error: str | None
    wal_bytes: int
    draining: bool
    event_bytes: float


class Finding(NamedTuple):
    """One thing that is not as it should be. `topic` is a section of docs/operations.md."""

    severity: str
    topic: str
    what: str
    why: str
    try_: tuple[str, ...]


def diagnose(window: Window, overview: Overview, server: Server) -> list[Finding]:
    """Everything found in a stretch of time that ends now, the worst first."""
    checks = (
        _storage(server),
        _log_length(server),
        _draining(server),
        _reconnections(window, server),
        _delivery(window, overview, server),
        _latency(window, overview),
        _fallback(window, server),
        _client_queues(overview),
        _commits(window),
        _event_loop(window),
        _quality(overview),
        _room(overview, server),
        _heartbeat(server),
    )
    found = [finding for check in checks for finding in check]
    return sorted(found, key=lambda finding: -SEVERITIES.index(finding.severity))


def verdict(findings: list[Finding]) -> str:
    """HEALTHY, DEGRADED or UNHEALTHY: as bad as the worst finding; a notice makes nothing worse."""
    worst = max((SEVERITIES.index(finding.severity) for finding in findings), default=0)
    return HEALTHY if SEVERITIES[worst] == NOTICE else SEVERITIES[worst]


def finding_report(finding: Finding) -> dict[str, Any]:
    """A finding as the admin routes tell it."""
    return {
        "severity": finding.severity,
        "topic": finding.topic,
        "what": finding.what,
        "why": finding.why,
        "try": list(finding.try_),
    }


def _storage(server: Server) -> Iterator[Finding]:
    if server.storage_error is not None:
        yield Finding(
            UNHEALTHY,
            "storage-refused",
            "The disk refuses writes: persisted events are refused for now, and clients keep them queued.",
            f"The last commit failed: {server.storage_error}.",
            ("Make room on the disk of storage.data_dir, or unlock the database; nothing else is needed.",),
        )


def _log_length(server: Server) -> Iterator[Finding]:
    if server.wal_bytes > WAL_BYTES:
        yield Finding(
            DEGRADED,
            "wal-long",
            f"The write-ahead log has grown to {server.wal_bytes >> 20} MiB, more than {WAL_BYTES >> 20} MiB.",
            "It can only be begun anew when nobody reads the database in one long transaction.",
            ("Close what has the database open besides collabd (fuser -v shows it); it shrinks by itself then.",),
        )


def _draining(server: Server) -> Iterator[Finding]:
    if server.draining:
        yield Finding(
            DEGRADED,
            "no-scrape",
            "The server is stopping.",
            "It refuses new sessions (503).",
            ("Wait for the restart.",),
        )


_CLOSES: Final = {
    "abnormal": "connections were cut without a close: look at what lies between, a proxy's idle timeout first "
    "(it must be longer than websocket.heartbeat_interval_s, {interval:g} s here), then the clients' networks.",
    "4000": "clients fell silent for two heartbeats: laptops that sleep, mobile networks, or pages too busy to answer.",
    "4008": "clients read too slowly and were closed to resume: see delivery-poor.",
    "1001": "pages were left or reloaded; that is what people do, unless something reloads them.",
    "1012": "the server was restarted.",
    "4401": "tokens expired: clients should renew them before (AUTH).",
    "4429": "clients broke the rate limit: see limits.messages_per_second.",
    "4500": "the server failed: its log says why.",
}


def _reconnections(window: Window, server: Server) -> Iterator[Finding]:
    # Of a stretch shorter than a minute nobody can say how many there are in one.
    rate = window.reconnections * 60 / max(60.0, window.seconds)
    if rate <= RECONNECTIONS_PER_MINUTE:
        return
    ended = sorted(window.closed.items(), key=lambda item: -item[1])
    causes = [(name, count) for name, count in ended if name in _CLOSES]
    yield Finding(
        DEGRADED,
        "reconnections-high",
        f"Sessions come back {rate:.1f} times a minute, more than {RECONNECTIONS_PER_MINUTE}.",
        f"{window.reconnections} came back in {_span(window)}; connections ended with: "
        + (", ".join(f"{name} ({count})" for name, count in ended) or "nothing recorded")
        + ".",
        tuple(
            f"{name} ({count}): {_CLOSES[name].format(interval=server.heartbeat_interval_s)}" for name, count in causes
        )
        or ("Look at a session's timeline: it says how each connection ended.",),
    )


def _delivery(window: Window, overview: Overview, server: Server) -> Iterator[Finding]:
    share = window.failure_share()
    if share is None or share <= FAILURE_SHARE:
        return
    is_poor = 1 - share < DELIVERY_RATE
    tries = []
    if window.closed.get("4008"):
        tries.append(
            f"Slow readers: {window.closed['4008']} connections were closed with 4008, since more than "
            f"websocket.outbox_max_bytes ({server.outbox_max_bytes}) waited for them. They resume; raise it if they "
            "are meant to be slow."
        )
    if overview.backlogged_sessions:
        tries.append(
            f"{overview.backlogged_sessions} sessions have {overview.outbox_bytes} bytes queued now: `collabd top` "
            "shows whose."
        )
    if server.event_bytes > _LARGE_EVENT_BYTES:
        tries.append(f"Message sizes: recent events have {server.event_bytes:.0f} bytes; send references, not content.")
    if (milliseconds(window.commit_latency, 0.99) or 0) > COMMIT_S * 1000:
        tries.append("Database latency: see commits-slow.")
    if window.closed.get("abnormal"):
        tries.append(f"{window.closed['abnormal']} connections broke while events were on their way: see the network.")
    yield Finding(
        UNHEALTHY if 1 - share < DELIVERY_RATE_CRITICAL else DEGRADED,
        "delivery-poor" if is_poor else "failures-high",
        f"{(1 - share) * 100:.2f} % of events reached their sessions at once; the rest comes when they resume.",
        f"{window.failures} of {window.messages_out + window.failures} deliveries failed in {_span(window)}.",
        tuple(tries) or ("Look at the timelines of sessions with failures: `collabd top` shows them first.",),
    )


def _latency(window: Window, overview: Overview) -> Iterator[Finding]:
    p95 = milliseconds(window.latency, 0.95)
    if p95 is None or p95 <= LATENCY_S * 1000:
        return
    lag, commit = milliseconds(window.loop_lag, 0.99), milliseconds(window.commit_latency, 0.99)
    tries = []
    if (lag or 0) > LOOP_LAG_S * 1000:
        tries.append(f"The event loop is late by {lag:.0f} ms (p99), which every client feels: see event-loop-late.")
    if (commit or 0) > COMMIT_S * 1000:
        tries.append(f"Commits take {commit:.0f} ms (p99): see commits-slow.")
    if not tries:
        many = overview.slow_sessions * 2 > overview.sessions
        place = "near the server, or all clients are far away" if many else "at those clients"
        tries.append(
            f"The server itself is quick (event loop {lag or 0:.0f} ms, commits {commit or 0:.0f} ms at p99), so it is "
            f"the network: {overview.slow_sessions} of {overview.sessions} sessions are slow, look {place}."
        )
    yield Finding(
        UNHEALTHY if p95 > LATENCY_CRITICAL_S * 1000 else DEGRADED,
        "latency-high",
        f"Round trips take {p95:.0f} ms at p95, more than {LATENCY_S * 1000:.0f} ms.",
        f"{sum(window.latency)} round trips in {_span(window)}, p50 {milliseconds(window.latency, 0.5):.0f} ms, "
        f"p99 {milliseconds(window.latency, 0.99):.0f} ms.",
        tuple(tries),
    )


def _fallback(window: Window, server: Server) -> Iterator[Finding]:
    share = window.fallback_share()
    if share is None or share <= FALLBACK_SHARE or window.fallbacks < FALLBACKS_TELLING:
        return
    yield Finding(
        DEGRADED,
        "fallback-frequent",
        f"{share * 100:.1f} % of sessions that began poll over HTTP instead of using a WebSocket.",
        f"{window.fallbacks} of {window.connections} in {_span(window)}.",
        (
            f"See whether an upgrade through {server.public_url or 'the public URL'} works at all: "
            f"collabd doctor --public-url {server.public_url or 'https://…'}",
            "A proxy must pass Upgrade and Connection on (nginx: proxy_http_version 1.1, proxy_set_header Upgrade "
            "$http_upgrade, proxy_set_header Connection upgrade).",
            "If only some clients fall back, their own network forbids WebSocket; TLS (wss) passes most of these.",
        ),
    )


def _client_queues(overview: Overview) -> Iterator[Finding]:
    if overview.queued_messages > QUEUED_CLIENT_MESSAGES:
        yield Finding(
            DEGRADED,
            "client-queues-long",
            f"{overview.queued_messages} messages wait in clients, more than {QUEUED_CLIENT_MESSAGES}.",
            f"Reported by {overview.sessions} sessions (CLIENT_HEALTH).",
            (
                "Refused messages stay queued: see whether storage refuses writes, or the rate limit is too low.",
                "After an outage queues empty by themselves within a minute.",
            ),
        )


def _commits(window: Window) -> Iterator[Finding]:
    p99 = milliseconds(window.commit_latency, 0.99)
    if p99 is not None and p99 > COMMIT_S * 1000:
        yield Finding(
            DEGRADED,
            "commits-slow",
            f"Commits take {p99:.0f} ms at p99, more than {COMMIT_S * 1000:.0f} ms.",
            f"{sum(window.commit_latency)} commits in {_span(window)}.",
            (
                "See what else writes to the disk of storage.data_dir (iostat -x 1); network disks are slow to sync.",
                'storage.synchronous = "normal" commits without a sync; a power cut may then lose the last seconds.',
            ),
        )


def _event_loop(window: Window) -> Iterator[Finding]:
    p99 = milliseconds(window.loop_lag, 0.99)
    if p99 is not None and p99 > LOOP_LAG_S * 1000:
        yield Finding(
            DEGRADED,
            "event-loop-late",
            f"The event loop is late by {p99:.0f} ms at p99, more than {LOOP_LAG_S * 1000:.0f} ms.",
            f"{window.per_second(window.messages_in):.0f} messages a second come in, "
            f"{window.per_second(window.messages_out):.0f} deliveries a second go out.",
            (
                "See whether the process has a core to itself (top, steal time, cgroup limits) and is not swapping.",
                "Split the runs over two daemons: one process uses one core.",
            ),
        )


def _quality(overview: Overview) -> Iterator[Finding]:
    unhealthy = overview.statuses[UNHEALTHY]
    if overview.sessions and (overview.quality < 80 or unhealthy * 10 > overview.sessions):
        yield Finding(
            UNHEALTHY if overview.quality < 50 else DEGRADED,
            "quality-low",
            f"The average connection quality is {overview.quality:.0f} of 100.",
            ", ".join(f"{count} {name}" for name, count in overview.statuses.items()) + f" of {overview.sessions}.",
            ("Look at the worst sessions first: `collabd top` sorts them so, and each has a timeline.",),
        )


def _room(overview: Overview, server: Server) -> Iterator[Finding]:
    if server.connection_limit and overview.sessions >= _NEARLY * server.connection_limit:
        yield Finding(
            DEGRADED,
            "nearly-full",
            f"{overview.sessions} of limits.connections ({server.connection_limit}) are taken.",
            "Above the limit new sessions are refused with 429.",
            ("Raise limits.connections, and the process's limit of open files with it.",),
        )


def _heartbeat(server: Server) -> Iterator[Finding]:
    if server.heartbeat_interval_s >= PROXY_IDLE_S:
        yield Finding(
            NOTICE,
            "reconnections-high",
            f"The heartbeat comes every {server.heartbeat_interval_s:g} s only.",
            f"Many proxies cut connections that were silent for {PROXY_IDLE_S} s.",
            ("Set websocket.heartbeat_interval_s well below the shortest idle timeout on the way; 10 is the default.",),
        )


def _span(window: Window) -> str:
    seconds = round(window.seconds)
    return f"the last {seconds} s" if seconds < 120 else f"the last {seconds // 60} min"
