"""One run: its log's tail in memory, who is in it, and the order in which everything happens.

Law of this file: the run owns numbering's result and telling it. Its methods never wait, so that each is one instant
for everybody; what waits (flushing, grace times, backlogs) are tasks in the nursery that its hub opens.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from collabd.errors import ProtocolError
from collabd.hub.attendance import Attendance
from collabd.hub.committer import Order, Submission, run_was_closed
from collabd.hub.connection import Connection
from collabd.hub.encoding import stored_frame, stored_payload
from collabd.hub.fanout import FanOut
from collabd.hub.older import OlderEvents
from collabd.hub.ring import Ring
from collabd.protocol import close_codes
from collabd.protocol.codec import control_payload, event_payload, frame_payload, json_array, text_frame
from collabd.protocol.seam import JoinPlan, Position, plan_join
from collabd.store.interface import NewEvent, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collabd.hub.health import SessionHealth
    from collabd.hub.hub import Hub
    from collabd.hub.link import Link
    from collabd.hub.session import Session
    from collabd.protocol.messages import ClientMessage
    from collabd.store.interface import RunHead, StoredEvent


_REFRESHES: Final = 50


class Loaded(NamedTuple):
    """What a run needs to know of its log before anyone can join: read from the store in one go."""

    head: RunHead
    newest: list[StoredEvent]
    critical_flags: bytes
    state: list[StoredEvent]


class Run:
    """A room of sessions around one log. Made by the hub on first use, closed by it when idle."""

    def __init__(self, hub: Hub, loaded: Loaded, nursery: trio.Nursery) -> None:
        config = hub.config
        self.hub = hub
        self._nursery = nursery
        self.run_id = loaded.head.run_id
        self.created_at = loaded.head.created_at
        self.last_event_at = loaded.head.last_event_at
        self.ring = Ring(
            config.storage.ring_bytes_per_run,
            oldest=loaded.head.oldest,
            head=loaded.head.head,
            critical_flags=loaded.critical_flags,
        )
        self.ring.fill(
            (stored_frame(event), event.is_critical, hub.state_place(event.event_type, event.data))
            for event in loaded.newest
        )
        hub.ring_budget.settle(self.ring)
        self.older = OlderEvents(hub.store, self.run_id, hub.older_chunks)
        self.fanout = FanOut(self.ring, self.older, nursery, hub.counters, config.websocket.outbox_max_bytes, hub.tick)
        self.attendance = Attendance(self, config.presence.grace_s)
        self.changed = trio.Event()
        self.last_used = trio.current_time()
        self.is_closed = False
        """Set by the hub: this memory of the run is no more, another one may have taken its place."""
        self._visitors = 0
        self._kept: dict[tuple[str, str], bytes] = {}
        self._kept_json = b"[]"
        self._kept_is_stale = False
        self._kept_is_loading = trio.Lock()
        self._set_kept(loaded.state)

    def start_tasks(self) -> None:
        """Start what the run does by itself, in the nursery that its hub opened for it."""
        self._nursery.start_soon(self.fanout.run)
        self._nursery.start_soon(self.attendance.run)

    # The log's tail

    def submit(self, user_id: str, message: ClientMessage, order: Order, answer: Callable[..., None]) -> None:
        """Put a persisted-type message into the inbox; `answer` is called once it is committed or refused.

        Raises ProtocolError where the run is closed, or an earlier message of this sender has to come again first.
        """
        if self.is_closed:
            error = run_was_closed()
            error.client_message_id = message.client_message_id
            raise error
        event = NewEvent(
            run_id=self.run_id,
            user_id=user_id,
            event_type=message.kind.name,
            data=message.data,
            timestamp=self.hub.now_ms(),
            is_critical=message.kind.critical,
            client_message_id=message.client_message_id,
            state_key=message.state_key,
        )
        self.hub.committer.submit(self, Submission(event, order, answer))

    def committed(
        self, inbox: list[Submission], outcomes: list[Outcome], *, oldest: int | None, state_changed: bool
    ) -> None:
        """Tell everyone what a commit numbered, in order, and answer the senders."""
        for submission, outcome in zip(inbox, outcomes, strict=True):
            if not outcome.duplicate and not outcome.reused:
                self._tell_persisted(submission.event, outcome.sequence_number)
            submission.answer(outcome)
        if oldest is not None:
            self._trim(oldest, state_changed)
        self.hub.ring_budget.settle(self.ring)
        self.wake_polls()

    def _tell_persisted(self, event: NewEvent, sequence_number: int) -> None:
        payload = event_payload(
            event.event_type,
            self.hub.user_json(event.user_id),
            event.timestamp,
            event.data,
            critical=event.is_critical,
            sequence_number=sequence_number,
            client_message_id=event.client_message_id,
        )
        frame = text_frame(payload)
        state = None if event.state_key is None else (event.event_type, event.state_key)
        number = self.ring.append(frame, event.is_critical, state)
        assert number == sequence_number, f"run {self.run_id}: the log is at {sequence_number}, memory at {number}"
        self.last_event_at = event.timestamp
        self.fanout.tell(frame)

    def tell_transient(
        self, user_id: str, user_json: bytes, event_type: str, data: bytes, client_message_id: str | None = None
    ) -> None:
        """Tell everyone an event that is not kept."""
        payload = event_payload(event_type, user_json, self.hub.now_ms(), data, client_message_id=client_message_id)
        self.fanout.tell_transient(user_id, event_type, text_frame(payload))

    def _trim(self, oldest: int, state_changed: bool) -> None:
        trimmed = self.ring.trim(oldest)
        self.older.forget(oldest)
        if trimmed is None or self._kept_is_loading.locked():
            self._kept_is_stale = self._kept_is_stale or state_changed
        for entry in trimmed or ():
            assert entry.state is not None
            self._keep(entry.state, frame_payload(entry.frame))

    def _keep(self, place: tuple[str, str], payload: bytes) -> None:
        self._kept.pop(place, None)  # so that the newest comes last
        self._kept[place] = payload
        self._kept_json = b""

    def _set_kept(self, state: list[StoredEvent]) -> None:
        self._kept.clear()
        self._kept_json = b"[]"
        for event in state:
            place = self.hub.state_place(event.event_type, event.data)
            self._keep(place or (event.event_type, str(event.sequence_number)), stored_payload(event))

    @property
    def kept_state_is_fresh(self) -> bool:
        """Whether run_state is all of it; otherwise refresh_kept_state has to come first."""
        return not self._kept_is_stale

    async def refresh_kept_state(self) -> None:
        """Read the kept state again where events were trimmed that memory no longer held.

        Raises ProtocolError (storage_unavailable) when the run is trimmed faster than it can be read.
        """
        for _ in range(_REFRESHES):
            async with self._kept_is_loading:
                if not self._kept_is_stale:
                    return
                await self._reload_kept_state()
        raise ProtocolError("storage_unavailable", "the run changes too fast to be joined just now")

    async def _reload_kept_state(self) -> None:
        self._kept_is_stale = False
        state = await self.hub.store.run_state(self.run_id)
        if not self._kept_is_stale:  # nothing was trimmed meanwhile
            self._set_kept(state)

    def run_state(self) -> bytes:
        """The kept newest event of each (type, state key) that was trimmed, oldest first, as a JSON array."""
        if not self._kept_json:
            self._kept_json = json_array(self._kept.values())
        return self._kept_json

    def wake_polls(self) -> None:
        """Wake polls that wait for a persisted event or a change of presence."""
        if self.hub.waiting_polls:
            self.changed.set()
            self.changed = trio.Event()

    # Joining and leaving

    def plan(self, asked: Position | None) -> JoinPlan:
        """What a client that asks for this position would be sent."""
        return plan_join(asked, epoch=self.hub.store.epoch, head=self.ring.head, oldest=self.ring.oldest)

    def attach(self, session: Session, link: Link, asked: Position | None, preface: bytes) -> Connection:
        """Let a session in over WebSocket: presence, WELCOME and everything after the seam, at one instant.

        `preface` is written before WELCOME (the HTTP answer to the upgrade).
        """
        connection = Connection(session, link, trio.current_time())
        previous = session.connection
        self.attendance.connected(session, connection)
        if previous is not None:
            previous.close(close_codes.REPLACED, "replaced by a newer connection of this session")
        plan = self.plan(asked)
        head = self.ring.head
        connection.position = plan.after
        connection.critical_until = head if plan.critical_only else 0
        replay = self.ring.critical_after(plan.after) if plan.critical_only else head - plan.after
        connection.private.append(preface + self._welcome(session, plan, replay))
        self._note_join(session.health, plan, replay)
        session.health.connection = connection
        self.fanout.add(connection)
        self.hub.heartbeat.add(connection)
        return connection

    def _note_join(self, health: SessionHealth, plan: JoinPlan, replay: int) -> None:
        now = self.hub.now_ms()
        if plan.recovered:
            health.note(now, "resumed", plan.after)
        elif plan.reset_reason is not None:
            health.note(now, "reset", plan.reset_reason)
        if replay:
            health.note(now, "replayed", replay)

    def _welcome(self, session: Session, plan: JoinPlan, replay: int) -> bytes:
        presence = self.attendance.presence
        data = {
            "sessionId": session.session_id,
            "runId": self.run_id,
            "userId": session.user_id,
            "epoch": self.hub.store.epoch,
            "sequenceNumber": self.ring.head,
            "oldestSequence": self.ring.oldest,
            "recovered": plan.recovered,
            "replayCount": replay,
            "runState": self.hub.raw(b"[]" if plan.recovered else self.run_state()),
            "activeUsers": presence.users(),
            "activeUserCount": len(presence),
            "cursorPositions": {user: self.hub.raw(data) for user, data in presence.cursors().items()},
            "serverTime": self.hub.now_ms(),
            "heartbeatIntervalMs": round(self.hub.config.websocket.heartbeat_interval_s * 1000),
            "maxMessageBytes": self.hub.config.websocket.max_message_bytes,
        }
        if plan.reset_reason is not None:
            data["resetReason"] = plan.reset_reason
        return text_frame(control_payload("WELCOME", data))

    def detach(self, connection: Connection, code: int | None, reason: str) -> None:
        """A connection is gone: `code` is the client's close code, or that of the server where it closed it."""
        self.fanout.remove(connection)
        connection.lose_socket()
        self.hub.credentials.forget(connection)
        health = connection.session.health
        health.note(self.hub.now_ms(), "closed", code, reason)
        if connection.session.connection is connection:
            health.close_code = code
            health.close_reason = reason
        self.attendance.disconnected(connection, code)

    def fail(self) -> None:
        """Give up this run's memory after a fault of ours; its clients come back and it is loaded from the log."""
        self.hub.fail_run(self)

    def is_idle(self) -> bool:
        """Whether nobody is in the run and nothing waits to be told."""
        return not (self.attendance.is_occupied or self._visitors or self.hub.committer.has(self))

    @contextmanager
    def visited(self) -> Iterator[None]:
        """Keep the run in memory for a request that nobody's presence speaks for, as long as the block lasts."""
        self._visitors += 1
        try:
            yield
        finally:
            self._visitors -= 1
            self.last_used = trio.current_time()
