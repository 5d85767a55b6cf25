"""The last half hour: what was counted, at a few moments, so that a rate or a percentile of any stretch can be told.

Law of this file: numbers and arithmetic, no clock and no tasks. A stretch of time (Window) is the difference of two
moments; collabd.hub.watch takes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

from collabd.hub.overview import Overview
from collabd.metrics import LATENCY_BOUNDS_S, Counters, quantile

INTERVAL_S: Final = 10
KEPT_MOMENTS: Final = 181
"""Half an hour of moments, both ends included."""

Counts = tuple[int, ...]


class Moment(NamedTuple):
    """What was counted until `at` (milliseconds since 1970; `steady` in seconds of the steady clock)."""

    at: int
    steady: float
    connections: int
    reconnections: int
    fallbacks: int
    closed: dict[str, int]
    messages_in: int
    messages_out: int
    failures: int
    latency: Counts
    commit_latency: Counts
    loop_lag: Counts
    overview: Overview | None


def moment(counters: Counters, overview: Overview | None, *, at: int, steady: float) -> Moment:
    """The counters as they stand."""
    return Moment(
        at=at,
        steady=steady,
        connections=counters.connections.total(),
        reconnections=counters.reconnections,
        fallbacks=counters.fallbacks,
        closed=dict(counters.disconnections),
        messages_in=counters.messages_in.total(),
        messages_out=counters.messages_out,
        failures=counters.message_failures,
        latency=tuple(counters.latency.counts),
        commit_latency=tuple(counters.commit_latency.counts),
        loop_lag=tuple(counters.loop_lag.counts),
        overview=overview,
    )


class Window:
    """What happened between two moments. Shares are 0.0 to 1.0, None where there was nothing to share."""

    def __init__(self, before: Moment, after: Moment) -> None:
        self.at = after.at
        self.seconds = max(0.001, after.steady - before.steady)
        self.overview = after.overview
        self.connections = after.connections - before.connections
        self.reconnections = after.reconnections - before.reconnections
        self.fallbacks = after.fallbacks - before.fallbacks
        self.messages_in = after.messages_in - before.messages_in
        self.messages_out = after.messages_out - before.messages_out
        self.failures = after.failures - before.failures
        closed = {name: count - before.closed.get(name, 0) for name, count in after.closed.items()}
        self.closed = {name: count for name, count in closed.items() if count}
        self.latency = _difference(after.latency, before.latency)
        self.commit_latency = _difference(after.commit_latency, before.commit_latency)
        self.loop_lag = _difference(after.loop_lag, before.loop_lag)

    def per_minute(self, count: int) -> float:
        """A count of this window as a rate."""
        return count * 60 / self.seconds

    def per_second(self, count: int) -> float:
        """A count of this window as a rate."""
        return count / self.seconds

    def fallback_share(self) -> float | None:
        """Fallbacks of all sessions that began."""
        return self.fallbacks / self.connections if self.connections else None

    def failure_share(self) -> float | None:
        """Failed deliveries of all that were due."""
        due = self.messages_out + self.failures
        return self.failures / due if due else None

    def figures(self) -> dict[str, Any]:
        """All of it by the names that the admin routes use. Null where nothing was measured."""
        overview, failure_share = self.overview, self.failure_share()
        return {
            "activeConnections": overview and overview.sessions,
            "pollingSessions": overview and overview.transports["polling"],
            "activeRuns": overview and overview.runs,
            "averageQualityScore": overview and round(overview.quality, 1),
            "backloggedSessions": overview and overview.backlogged_sessions,
            "outboxBytes": overview and overview.outbox_bytes,
            "queuedClientMessages": overview and overview.queued_messages,
            "connectionsPerMinute": round(self.per_minute(self.connections), 2),
            "disconnectionsPerMinute": round(self.per_minute(sum(self.closed.values())), 2),
            "reconnectionsPerMinute": round(self.per_minute(self.reconnections), 2),
            "fallbackShare": _rounded(self.fallback_share()),
            "messagesInPerSecond": round(self.per_second(self.messages_in), 2),
            "messagesOutPerSecond": round(self.per_second(self.messages_out), 2),
            "messageFailures": self.failures,
            "messageDeliveryRate": None if failure_share is None else _rounded(1 - failure_share),
            "p50LatencyMs": milliseconds(self.latency, 0.50),
            "p95LatencyMs": milliseconds(self.latency, 0.95),
            "p99LatencyMs": milliseconds(self.latency, 0.99),
            "p99CommitMs": milliseconds(self.commit_latency, 0.99),
            "p99EventLoopLagMs": milliseconds(self.loop_lag, 0.99),
        }


class History:
    """The newest moments, bounded in number. `start` is the moment when counting began."""

    def __init__(self, start: Moment) -> None:
        self._moments: deque[Moment] = deque([start], maxlen=KEPT_MOMENTS)

    def add(self, taken: Moment) -> None:
        """Keep a moment, later than those before."""
        self._moments.append(taken)

    def window(self, now: Moment, seconds: float) -> Window:
        """The last so many seconds until `now`, or a little more; less where counting began later."""
        before = self._moments[0]
        for kept in self._moments:
            if kept.steady > now.steady - seconds:
                break
            before = kept
        return Window(before, now)

    def windows(self) -> Iterator[Window]:
        """What happened between each two moments, the oldest first."""
        for before, after in pairwise(self._moments):
            yield Window(before, after)


def milliseconds(counts: Counts, fraction: float) -> float | None:
    """A percentile of measurements in seconds, as milliseconds."""
    seconds = quantile(LATENCY_BOUNDS_S, counts, fraction)
    return None if seconds is None else round(seconds * 1000, 2)


def _difference(after: Counts, before: Counts) -> Counts:
    return tuple(new - old for new, old in zip(after, before, strict=True))


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 5)
