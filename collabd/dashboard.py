"""The Grafana dashboard as code, so that it cannot drift from what a server exposes.

Law of this file: what is shown and how; names come from collabd.figures. packaging/grafana-websocket-dashboard.json is
what `python -m collabd.dashboard` and `collabd dashboard` print.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from collabd.figures import (
    BY_NAME,
    COMMIT_S,
    DELIVERY_RATE,
    DELIVERY_RATE_CRITICAL,
    FAILURE_SHARE,
    FALLBACK_SHARE,
    LATENCY_CRITICAL_S,
    LATENCY_S,
    LOOP_LAG_S,
    QUEUED_CLIENT_MESSAGES,
    RECONNECTIONS_PER_MINUTE,
)

_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WS: Final = "orchestrator_websocket"
_COLUMNS: Final = 24


class Query(NamedTuple):
    """One PromQL expression and how its series are called."""

    expression: str
    legend: str = ""


class Panel(NamedTuple):
    """One panel: a number (`stat`) or a course over time. `limits` are (value, colour) steps above green."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    limits: tuple[tuple[float, str], ...] = ()
    stat: bool = False
    stacked: bool = False
    base: str = "green"


def figure(name: str) -> str:
    """The name itself, which must be one of collabd.figures (a histogram's series by its suffix)."""
    family = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
    if name not in BY_NAME and family not in BY_NAME:
        raise KeyError(f"no such figure: {name}")
    return name


def total(name: str, by: str = "") -> str:
    """A gauge over all scraped servers."""
    return f"sum{f' by ({by})' if by else ''} ({figure(name)})"


def rate(name: str, by: str = "") -> str:
    """A counter per second over all scraped servers."""
    return f"sum{f' by ({by})' if by else ''} (rate({figure(name)}[$__rate_interval]))"


def of_process(expression: str) -> str:
    """Figures that every program has: only those of collabd, however its scrape job is called."""
    return f"sum ({expression} and on (job, instance) {figure('orchestrator_build_info')})"


def percentile(fraction: float, name: str) -> str:
    """A percentile of a histogram over all scraped servers."""
    return f"histogram_quantile({fraction}, {rate(name + '_bucket', 'le')})"


def _percentiles(name: str, *fractions: float) -> tuple[Query, ...]:
    return tuple(Query(percentile(fraction, name), f"p{fraction * 100:g}") for fraction in fractions)


_OUT: Final = rate(f"{_WS}_messages_out_total")
_FAILED: Final = rate(f"{_WS}_message_failures_total")
_FALLBACK: Final = f"{rate(f'{_WS}_fallback_http_total')} / {rate(f'{_WS}_connections_total')}"

PANELS: Final = (
    Panel("Sessions", "Connected or polling now.", "short", (Query(total(f"{_WS}_active_connections")),), stat=True),
    Panel("Runs", "With at least one session now.", "short", (Query(total(f"{_WS}_active_runs")),), stat=True),
    Panel(
        "Quality",
        "Average quality of the sessions there now: 0.4 × latency + 0.3 × reconnections + 0.3 × delivery.",
        "none",
        (Query(f"avg ({figure(f'{_WS}_connection_quality')})"),),
        limits=((50, "orange"), (80, "green")),
        stat=True,
        base="red",
    ),
    Panel(
        "Delivery",
        "Events that reached the sessions there now, of those that should have.",
        "percentunit",
        (Query(f"avg ({figure(f'{_WS}_delivery_rate')})"),),
        limits=((DELIVERY_RATE_CRITICAL, "orange"), (DELIVERY_RATE, "green")),
        stat=True,
        base="red",
    ),
    Panel(
        "Waiting in clients",
        "Messages that clients say they have queued.",
        "short",
        (Query(total(f"{_WS}_queued_client_messages")),),
        limits=((QUEUED_CLIENT_MESSAGES, "orange"),),
        stat=True,
    ),
    Panel(
        "Storage",
        "1 while the disk takes writes.",
        "none",
        (Query(f"min ({figure('orchestrator_storage_available')})"),),
        limits=((1, "green"),),
        stat=True,
        base="red",
    ),
    Panel(
        "Active connections",
        "Sessions by transport.",
        "short",
        (Query(total(f"{_WS}_active_connections", "transport"), "{{transport}}"),),
        stacked=True,
    ),
    Panel(
        "Connections and disconnections",
        "Sessions that begin and connections that end, per second.",
        "ops",
        (
            Query(rate(f"{_WS}_connections_total"), "connections"),
            Query(rate(f"{_WS}_disconnections_total"), "disconnections"),
        ),
    ),
    Panel(
        "How connections end",
        "By close code, per second: 4000 heartbeat, 4008 too slow, abnormal cut without a close.",
        "ops",
        (Query(rate(f"{_WS}_disconnections_total", "close_code"), "{{close_code}}"),),
        stacked=True,
    ),
    Panel(
        "Reconnections",
        "Sessions that come back, per minute.",
        "short",
        (Query(f"{rate(f'{_WS}_reconnections_total')} * 60", "per minute"),),
        limits=((RECONNECTIONS_PER_MINUTE, "orange"),),
    ),
    Panel(
        "Throughput",
        "Events accepted from clients, and events sent to sessions (one each), per second.",
        "cps",
        (Query(rate(f"{_WS}_messages_in_total"), "in"), Query(_OUT, "out")),
    ),
    Panel(
        "Throughput in, by event type",
        "Events accepted from clients, per second; types that are not configured are other.",
        "cps",
        (Query(rate(f"{_WS}_messages_in_total", "event_type"), "{{event_type}}"),),
        stacked=True,
    ),
    Panel(
        "Latency",
        "Round trips between server and clients.",
        "s",
        _percentiles(f"{_WS}_message_latency", 0.5, 0.9, 0.95, 0.99),
        limits=((LATENCY_S, "orange"), (LATENCY_CRITICAL_S, "red")),
    ),
    Panel(
        "Fallback rate",
        "Sessions that begin with, or switch to, HTTP polling, of all that begin.",
        "percentunit",
        (Query(_FALLBACK, "fallback"),),
        limits=((FALLBACK_SHARE, "orange"),),
    ),
    Panel(
        "Failure rate",
        "Deliveries that failed, of those due. Nothing persisted is lost: clients resume.",
        "percentunit",
        (Query(f"{_FAILED} / ({_OUT} + {_FAILED})", "failures"),),
        limits=((FAILURE_SHARE, "orange"), (1 - DELIVERY_RATE, "red")),
    ),
    Panel(
        "Refused messages",
        "Client messages refused, by error code, per second.",
        "ops",
        (Query(rate(f"{_WS}_messages_refused_total", "error_code"), "{{error_code}}"),),
        stacked=True,
    ),
    Panel(
        "Held back by limits",
        "Connections, requests and messages over a limit, by its setting, per second.",
        "ops",
        (Query(rate("orchestrator_limited_total", "limit"), "{{limit}}"),),
        stacked=True,
    ),
    Panel(
        "Connection quality",
        "Average score of the sessions there now, 0 to 100; healthy from 80, degraded from 50.",
        "none",
        (Query(f"avg ({figure(f'{_WS}_connection_quality')})", "quality"),),
        limits=((50, "orange"), (80, "green")),
        base="red",
    ),
    Panel(
        "Health",
        "Sessions by health status.",
        "short",
        (Query(total(f"{_WS}_health_status", "status"), "{{status}}"),),
        stacked=True,
    ),
    Panel(
        "Commit latency",
        "Time that a commit of the log takes; every ACK of a persisted event waits for one.",
        "s",
        _percentiles("orchestrator_commit_latency_seconds", 0.5, 0.99),
        limits=((COMMIT_S, "orange"),),
    ),
    Panel(
        "Group commit",
        "Events kept by one commit, on average.",
        "short",
        (
            Query(
                f"{rate('orchestrator_group_commit_events_sum')} / {rate('orchestrator_group_commit_events_count')}",
                "events",
            ),
        ),
    ),
    Panel(
        "Event loop lag",
        "How late timers are: what every client feels.",
        "s",
        _percentiles("orchestrator_event_loop_lag_seconds", 0.5, 0.99),
        limits=((LOOP_LAG_S, "orange"),),
    ),
    Panel(
        "Waiting bytes",
        "Bytes queued for slow sockets.",
        "bytes",
        (Query(total(f"{_WS}_outbox_bytes"), "outboxes"),),
    ),
    Panel(
        "Log",
        "The highest sequence number of a run in memory.",
        "short",
        (Query(f"max ({figure('orchestrator_log_head')})", "head"),),
    ),
    Panel(
        "Database",
        "Size on disk, write-ahead log included; and the log alone, which is begun anew from 4 MiB on.",
        "bytes",
        (
            Query(total("orchestrator_database_bytes"), "database"),
            Query(total("orchestrator_wal_bytes"), "write-ahead log"),
        ),
    ),
    Panel(
        "Disk",
        "Room left on the disk of the database.",
        "bytes",
        (Query(f"min ({figure('orchestrator_disk_free_bytes')})", "free"),),
    ),
    Panel(
        "Age of the log",
        "How old the oldest and the newest retained event are.",
        "s",
        (
            Query(f"time() - min ({figure('orchestrator_oldest_event_timestamp_seconds')})", "oldest"),
            Query(f"time() - max ({figure('orchestrator_newest_event_timestamp_seconds')})", "newest"),
        ),
    ),
    Panel(
        "CPU",
        "Cores used by the process; one event loop uses one.",
        "none",
        (Query(of_process(f"rate({figure('process_cpu_seconds_total')}[$__rate_interval])"), "cores"),),
    ),
    Panel(
        "Memory",
        "Resident memory of the process.",
        "bytes",
        (Query(of_process(figure("process_resident_memory_bytes")), "resident"),),
    ),
    Panel(
        "File descriptors",
        "Open ones of the process, and the limit: one for each connection.",
        "short",
        (
            Query(of_process(figure("process_open_fds")), "open"),
            Query(of_process(figure("process_max_fds")), "limit"),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    return {
        "title": "collabd",
        "uid": "collabd-websocket",
        "description": "Connection health of collabd. Made by `collabd dashboard`.",
        "tags": ["collabd"],
        "schemaVersion": 39,
        "editable": True,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "panels": _placed(),
    }


def _placed() -> list[dict[str, Any]]:
    """Panels from left to right, from top to bottom: numbers six in a row, courses two."""
    placed = []
    x = y = height = 0
    for number, panel in enumerate(PANELS, start=1):
        width, tall = (4, 4) if panel.stat else (12, 8)
        if x + width > _COLUMNS or tall != (height or tall):
            x, y = 0, y + height
        height = tall
        placed.append(_panel(panel, number, {"x": x, "y": y, "w": width, "h": tall}))
        x += width
    return placed


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps = [{"color": panel.base, "value": None}, *({"color": color, "value": value} for value, color in panel.limits)]
    field: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    options: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    if not panel.stat:
        field |= {"min": 0, "custom": _course(panel)}
        options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    return {
        "id": number,
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": field, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": _DATASOURCE, "expr": expression, "legendFormat": legend}
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _course(panel: Panel) -> dict[str, Any]:
    return {
        "fillOpacity": 30 if panel.stacked else 10,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if panel.limits else "off"},
    }


def dashboard_json() -> str:
    """The dashboard as text, ending in a newline."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(dashboard_json(), end="")
