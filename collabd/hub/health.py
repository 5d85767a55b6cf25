"""What is known of one session's health: counted by the hub, kept after the session is gone, explained by admin.

Law of this file: plain numbers in bounded memory; no Prometheus, no clock. Names follow docs/protocol.md, "Admin".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from collabd.protocol.latency import LatencyDigest
from collabd.protocol.quality import delivery_rate, health_status, quality_score

MAX_RECORDS = 20_000
"""How many sessions' figures are kept at most; beyond it those gone for longest are forgotten."""


class SessionHealth:
    """One session's figures. Times are in milliseconds since 1970."""

    __slots__ = (
        "client",
        "close_code",
        "close_reason",
        "connected_at",
        "disconnected_at",
        "fallbacks",
        "last_activity",
        "last_sequence",
        "latency",
        "live_counts",
        "messages_failed",
        "messages_received",
        "messages_sent",
        "reconnections",
        "run_id",
        "session_id",
        "transport",
        "user_id",
    )

    def __init__(self, session_id: str, user_id: str, run_id: str, connected_at: int, transport: str) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.run_id = run_id
        self.connected_at = connected_at
        self.disconnected_at: int | None = None
        self.transport = transport
        self.last_activity = connected_at
        self.last_sequence: int | None = None
        self.reconnections = 0
        self.fallbacks = 0
        self.messages_sent = 0
        self.messages_received = 0
        self.messages_failed = 0
        self.latency: LatencyDigest | None = None
        self.client: Any = None
        self.close_code: int | None = None
        self.close_reason = ""
        # Counts that live on the connection while it is up: (events sent since attached, bytes queued).
        self.live_counts: Callable[[], tuple[int, int]] | None = None

    def add_latency(self, milliseconds: float) -> None:
        """Take one measured round trip."""
        if self.latency is None:
            self.latency = LatencyDigest()
        self.latency.add(milliseconds)

    def sent(self) -> int:
        """Events sent to the session so far."""
        return self.messages_sent + (self.live_counts()[0] if self.live_counts else 0)

    def queued(self) -> int:
        """Bytes waiting for the session's socket."""
        return self.live_counts()[1] if self.live_counts else 0

    def quality(self) -> float:
        """The score of docs/protocol.md, 0 to 100."""
        average = self.latency.average() if self.latency else None
        return quality_score(average, self.reconnections, delivery_rate(self.sent(), self.messages_failed))

    def status(self) -> str:
        """HEALTHY, DEGRADED or UNHEALTHY."""
        return health_status(self.quality())


class HealthRecords:
    """The figures of all sessions, those that are gone included, bounded in number."""

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self._max = max_records
        self._live: dict[str, SessionHealth] = {}
        self._gone: OrderedDict[str, SessionHealth] = OrderedDict()

    def __iter__(self) -> Iterator[SessionHealth]:
        yield from self._live.values()
        yield from self._gone.values()

    def live(self) -> list[SessionHealth]:
        """Figures of the sessions that are connected or polling."""
        return list(self._live.values())

    def get(self, session_id: str) -> SessionHealth | None:
        """One session's figures, connected or gone."""
        return self._live.get(session_id) or self._gone.get(session_id)

    def came(self, record: SessionHealth) -> None:
        """A session connected, or came back."""
        self._gone.pop(record.session_id, None)
        record.disconnected_at = None
        self._live[record.session_id] = record

    def went(self, record: SessionHealth, now: int) -> None:
        """A session disconnected; its figures stay until cleaned up or pushed out."""
        if self._live.pop(record.session_id, None) is None:
            return
        record.disconnected_at = now
        self._gone[record.session_id] = record
        while len(self._gone) > self._max:
            self._gone.popitem(last=False)

    def forget_older_than(self, cutoff: int) -> int:
        """Forget sessions disconnected before `cutoff` (milliseconds since 1970); answers how many."""
        old = [
            key
            for key, record in self._gone.items()
            if record.disconnected_at is None or record.disconnected_at < cutoff
        ]
        for key in old:
            del self._gone[key]
        return len(old)
