"""All live sessions at a glance: sums and averages, taken without holding up anybody.

Law of this file: one walk over the sessions, with a turn for other tasks after every few hundred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from collabd.protocol.quality import DEGRADED, HEALTHY, UNHEALTHY, delivery_rate, health_status, quality_score

if TYPE_CHECKING:
    from collabd.hub.health import SessionHealth
    from collabd.hub.hub import Hub

STATUSES: Final = (HEALTHY, DEGRADED, UNHEALTHY)
WEBSOCKET: Final = "websocket"
POLLING: Final = "polling"
TRANSPORTS: Final = (WEBSOCKET, POLLING)
"""How a session may be connected, in the names of figures and labels."""

SLOW_MS: Final = 500
"""A session whose average round trip is above this (milliseconds) is called slow."""

_SLICE: Final = 200


class Overview(NamedTuple):
    """The sessions that are connected or polling, together. With none, quality is 100 and delivery 1."""

    transports: dict[str, int]
    statuses: dict[str, int]
    runs: int
    quality: float
    delivery_rate: float
    slow_sessions: int
    queued_messages: int
    outbox_bytes: int
    backlogged_sessions: int

    @property
    def sessions(self) -> int:
        """How many there are."""
        return sum(self.statuses.values())


class _Sums:
    def __init__(self) -> None:
        self.transports = dict.fromkeys(TRANSPORTS, 0)
        self.statuses = dict.fromkeys(STATUSES, 0)
        self.runs: set[str] = set()
        self.quality = 0.0
        self.sent = self.failed = self.slow = self.queued_messages = self.outbox_bytes = self.backlogged = 0

    def add(self, record: SessionHealth) -> None:
        sent, queued = record.sent(), record.queued()
        average = record.latency.average() if record.latency else None
        quality = quality_score(average, record.reconnections, delivery_rate(sent, record.messages_failed))
        self.transports[record.transport] += 1
        self.statuses[health_status(quality)] += 1
        self.runs.add(record.run_id)
        self.quality += quality
        self.sent += sent
        self.failed += record.messages_failed
        self.slow += average is not None and average > SLOW_MS
        self.queued_messages += record.client_queue
        self.outbox_bytes += queued
        self.backlogged += queued > 0

    def overview(self) -> Overview:
        sessions = sum(self.statuses.values())
        return Overview(
            transports=self.transports,
            statuses=self.statuses,
            runs=len(self.runs),
            quality=self.quality / sessions if sessions else 100.0,
            delivery_rate=delivery_rate(self.sent, self.failed),
            slow_sessions=self.slow,
            queued_messages=self.queued_messages,
            outbox_bytes=self.outbox_bytes,
            backlogged_sessions=self.backlogged,
        )


async def take_overview(hub: Hub) -> Overview:
    """Look at every live session once."""
    sums = _Sums()
    records = hub.health.live()
    for start in range(0, len(records), _SLICE):
        if start:
            await trio.lowlevel.checkpoint()
        for record in records[start : start + _SLICE]:
            sums.add(record)
    return sums.overview()
