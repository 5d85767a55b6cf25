"""What collabd counts, as plain integers that cost the hot path one addition per tick and no lock.

Law of this file: a leaf; nothing in it knows who counts. The Prometheus exposition reads it at scrape time.
Labels come from fixed sets only (architecture, decision 9): no runId, userId or other text that a client chooses.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

OTHER: Final = "other"
POLLING_STOPPED: Final = "polling_stopped"
"""The close code class of a session that simply polled no more."""

LIMITS: Final = (
    "connections",
    "connections_per_address",
    "connections_per_run",
    "connections_per_user",
    "sockets_per_address",
    "messages_per_second",
    "messages_per_second_per_address",
    "bytes_per_second",
    "requests_per_second_per_address",
    "request_head_max_bytes",
    "handshake_timeout_s",
)
"""The limits that are counted when somebody is held back by them, by the names of their settings."""

LATENCY_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
GROUP_SIZE_BOUNDS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)


class Histogram:
    """How many measurements fell at or below each bound, and above the last; like a Prometheus histogram."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Take one measurement."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


def quantile(bounds: Sequence[float], counts: Sequence[int], fraction: float) -> float | None:
    """The value that this fraction (0 to 1) of the measurements does not exceed, None without measurements.

    Interpolated within a bucket, and never above the last bound, as PromQL's histogram_quantile does.
    """
    wanted = fraction * sum(counts)
    if not wanted:
        return None
    passed, low = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and passed + count >= wanted:
            return low + (bound - low) * (wanted - passed) / count
        passed += count
        low = bound
    return bounds[-1]


class Counters:
    """Totals since the process began. Histograms are in seconds, except the size of commits (events)."""

    def __init__(self) -> None:
        self.connections: Counter[str] = Counter()
        """Sessions begun, by transport (websocket, polling)."""
        self.disconnections: Counter[str] = Counter()
        """Connections ended, by close code class."""
        self.reconnections = 0
        self.fallbacks = 0
        self.messages_in: Counter[str] = Counter()
        """Client messages accepted, by event type if it is a configured one, else other."""
        self.messages_out = 0
        self.message_failures = 0
        self.refused: Counter[str] = Counter()
        """Client messages refused, by error code."""
        self.limited: Counter[str] = Counter()
        """Connections, requests and messages held back, by limit (LIMITS)."""
        self.latency = Histogram(LATENCY_BOUNDS_S)
        """Round trips: the server's own pings, and what polling clients report."""
        self.commit_latency = Histogram(LATENCY_BOUNDS_S)
        self.commit_events = Histogram(GROUP_SIZE_BOUNDS)
        self.loop_lag = Histogram(LATENCY_BOUNDS_S)
        """How late a timer of the event loop came."""
