"""The store contract without a disk or a thread: for tests, where worker threads and a virtual clock do not mix.

Law of this file: the same promises as SqliteStore but durability, in the plainest way that keeps them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

import trio

from collabd.auth import Revocation
from collabd.store.interface import AppendResult, DiskUsage, EventPage, NewEvent, RunHead, Span, StoredEvent
from collabd.store.plan import FreshEvent, Head, KnownMessage, plan_commit, trimmed_to
from collabd.store.rows import message_key


def _virtual_clock_ms() -> int:
    return int(trio.current_time() * 1000)


@dataclass
class _Run:
    created_at: int
    newest: int = 0
    log: dict[int, NewEvent] = field(default_factory=dict)
    state: dict[tuple[str, str], StoredEvent] = field(default_factory=dict)

    @property
    def head(self) -> Head:
        return Head(self.newest, next(iter(self.log), 1))

    def trim(self, oldest: int) -> bool:
        """Drop what is older, keep what of it is state; whether there was any."""
        changed = False
        for number in range(self.head.oldest, oldest):
            event = self.log.pop(number)
            if event.state_key is not None:
                self.state[event.event_type, event.state_key] = _stored(number, event)
                changed = True
        return changed


class _Key(NamedTuple):
    run_id: str
    known: KnownMessage
    made_at: int


class MemoryStore:
    """A store that forgets everything with the process.

    `refuse_with` is raised by every append while it is set: what a full or failing disk looks like.
    """

    def __init__(
        self,
        *,
        retention: int = 1000,
        dedupe_window_s: float = 86400,
        clock_ms: Callable[[], int] = _virtual_clock_ms,
    ) -> None:
        self.refuse_with: Exception | None = None
        self._epoch = secrets.token_hex(8)
        self._retention = max(1, retention)
        self._window_ms = int(dedupe_window_s * 1000)
        self._clock_ms = clock_ms
        self._runs: dict[str, _Run] = {}
        self._keys: dict[bytes, _Key] = {}
        self._revocations: dict[tuple[str, str], Revocation] = {}

    @property
    def epoch(self) -> str:
        """Store.epoch."""
        return self._epoch

    def disk_usage(self) -> DiskUsage:
        """Store.disk_usage."""
        return DiskUsage(0, 0, 0)

    async def span(self) -> Span:
        """Store.span."""
        await trio.lowlevel.checkpoint()
        times = [event.timestamp for run in self._runs.values() for event in run.log.values()]
        return Span(min(times, default=None), max(times, default=None))

    async def append(self, events: Sequence[NewEvent]) -> AppendResult:
        """Store.append."""
        await trio.lowlevel.checkpoint()
        if self.refuse_with is not None:
            raise self.refuse_with
        now_ms = self._clock_ms()
        heads = {event.run_id: self._head(event.run_id) for event in events}
        known = {key: self._keys[key].known for key in map(message_key, events) if key in self._keys}
        plan = plan_commit(events, heads, known)
        for fresh in plan.fresh:
            self._keep(fresh, now_ms)
        changed = {
            run for run, newest in plan.newest.items()
            if self._runs[run].trim(trimmed_to(newest, heads[run].oldest, self._retention))
        }  # fmt: skip
        self._forget_keys(now_ms)
        return AppendResult(plan.outcomes, {run: self._head(run).oldest for run in plan.newest}, frozenset(changed))

    async def head(self, run_id: str) -> RunHead | None:
        """Store.head."""
        await trio.lowlevel.checkpoint()
        run = self._runs.get(run_id)
        return None if run is None else _run_head(run_id, run)

    async def read(
        self,
        run_id: str,
        *,
        first: int,
        last: int | None = None,
        limit: int | None = None,
        max_bytes: int | None = None,
        critical_only: bool = False,
        event_type: str | None = None,
        count: bool = False,
    ) -> EventPage:
        """Store.read."""
        await trio.lowlevel.checkpoint()
        matching = [
            event for event in self._log(run_id)
            if event.sequence_number >= first
            and (last is None or event.sequence_number <= last)
            and (event.is_critical or not critical_only)
            and event_type in (None, event.event_type)
        ]  # fmt: skip
        wanted = matching[:limit]
        page = _fitting(wanted, max_bytes) or wanted[:1]
        total = len(matching) if count else 0
        return EventPage(page, total, self._head(run_id).oldest, len(page) == len(matching))

    async def read_newest(self, run_id: str, *, max_bytes: int) -> list[StoredEvent]:
        """Store.read_newest."""
        await trio.lowlevel.checkpoint()
        return _fitting(self._log(run_id)[::-1], max_bytes)[::-1]

    async def critical_flags(self, run_id: str) -> bytes:
        """Store.critical_flags."""
        await trio.lowlevel.checkpoint()
        return bytes(event.is_critical for event in self._log(run_id))

    async def run_state(self, run_id: str) -> list[StoredEvent]:
        """Store.run_state."""
        await trio.lowlevel.checkpoint()
        kept = self._runs[run_id].state.values() if run_id in self._runs else ()
        return sorted(kept, key=lambda event: event.sequence_number)

    async def runs(self, *, limit: int) -> list[RunHead]:
        """Store.runs."""
        await trio.lowlevel.checkpoint()
        heads = [_run_head(run_id, run) for run_id, run in self._runs.items()][::-1]
        return sorted(heads, key=lambda head: head.last_event_at or head.created_at, reverse=True)[:limit]

    async def run_count(self) -> int:
        """Store.run_count."""
        await trio.lowlevel.checkpoint()
        return len(self._runs)

    async def probe(self) -> None:
        """Store.probe."""
        await trio.lowlevel.checkpoint()

    async def revoke(self, revocation: Revocation) -> None:
        """Store.revoke."""
        await trio.lowlevel.checkpoint()
        if self.refuse_with is not None:
            raise self.refuse_with
        place = (revocation.kind, revocation.name)
        self._revocations[place] = max(revocation, self._revocations.get(place, revocation))

    async def revocations(self) -> list[Revocation]:
        """Store.revocations."""
        await trio.lowlevel.checkpoint()
        return list(self._revocations.values())

    def _head(self, run_id: str) -> Head:
        return self._runs[run_id].head if run_id in self._runs else Head(0, 1)

    def _log(self, run_id: str) -> list[StoredEvent]:
        if run_id not in self._runs:
            return []
        return [_stored(number, event) for number, event in self._runs[run_id].log.items()]

    def _keep(self, fresh: FreshEvent, now_ms: int) -> None:
        run = self._runs.setdefault(fresh.event.run_id, _Run(now_ms))
        run.log[fresh.sequence_number] = fresh.event
        run.newest = fresh.sequence_number
        if fresh.key is not None:
            known = KnownMessage(fresh.sequence_number, fresh.content_hash)
            self._keys[fresh.key] = _Key(fresh.event.run_id, known, now_ms)

    def _forget_keys(self, now_ms: int) -> None:
        expired = now_ms - self._window_ms
        for digest, key in list(takewhile(lambda item: item[1].made_at < expired, self._keys.items())):
            if key.known.sequence_number not in self._runs[key.run_id].log:
                del self._keys[digest]


def _run_head(run_id: str, run: _Run) -> RunHead:
    newest = run.log.get(run.newest)
    return RunHead(run_id, run.created_at, *run.head, None if newest is None else newest.timestamp)


def _stored(number: int, event: NewEvent) -> StoredEvent:
    return StoredEvent(
        number, event.user_id, event.event_type, event.data, event.timestamp, event.is_critical,
        event.client_message_id,
    )  # fmt: skip


def _fitting(events: list[StoredEvent], max_bytes: int | None) -> list[StoredEvent]:
    """As many from the front as have at most max_bytes of data together."""
    if max_bytes is None:
        return events
    room = max_bytes
    for index, event in enumerate(events):
        room -= len(event.data)
        if room < 0:
            return events[:index]
    return events
