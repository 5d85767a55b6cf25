"""Events of a run for those who ask by number: from memory where the ring has them, from the log otherwise.

Law of this file: it only reads; answers are JSON envelopes (bytes), never above about max_bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from collabd.hub.encoding import stored_payload
from collabd.protocol.codec import frame_payload

if TYPE_CHECKING:
    from collabd.hub.run import Run
    from collabd.protocol.requests import ReplayRequest

ANSWER_BYTES: Final = 1024 * 1024
"""Where the body of an answer stops."""


class Part(NamedTuple):
    """Events in order as JSON, the number reached by them, and how many matched in all."""

    payloads: list[bytes]
    reached: int
    total: int


async def read_after(run: Run, after: int, limit: int) -> Part | None:
    """Persisted events after a number. None when the log was trimmed past it while reading.

    Raises DamagedEvent and StorageUnavailable.
    """
    ring = run.ring
    head = ring.head
    if ring.covers(after):
        frames, reached = ring.take(after, head, ANSWER_BYTES, limit=limit)
        return Part([frame_payload(frame) for frame in frames], reached, head - after)
    page = await run.hub.store.read(run.run_id, first=after + 1, last=head, limit=limit, max_bytes=ANSWER_BYTES)
    if page.oldest > after + 1:
        return None
    reached = page.events[-1].sequence_number if page.events else head
    return Part([stored_payload(event) for event in page.events], reached, head - after)


async def replay(run: Run, request: ReplayRequest) -> Part:
    """Retained events from a number on that match a replay's query. Raises DamagedEvent and StorageUnavailable."""
    ring = run.ring
    head = ring.head
    after = max(request.first, ring.oldest) - 1
    if after >= head:
        return Part([], head, 0)
    if request.event_type is None and ring.covers(after):
        critical_until = head if request.critical_only else 0
        frames, reached = ring.take(after, head, ANSWER_BYTES, critical_until=critical_until, limit=request.limit)
        total = ring.critical_after(after) if request.critical_only else head - after
        return Part([frame_payload(frame) for frame in frames], reached, total)
    page = await run.hub.store.read(
        run.run_id,
        first=after + 1,
        last=head,
        limit=request.limit,
        max_bytes=ANSWER_BYTES,
        critical_only=request.critical_only,
        event_type=request.event_type,
        count=True,
    )
    reached = head if page.complete else page.events[-1].sequence_number
    return Part([stored_payload(event) for event in page.events], reached, page.total)
