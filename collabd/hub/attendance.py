"""Who attends a run: its sessions, connected or polling, and the presence of their users.

Law of this file: every coming and going passes here, so that presence and the counts of sessions cannot disagree.
USER_JOIN and USER_LEAVE are told to the others within the same tick (docs/protocol.md).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from collabd.hub.connection import Connection
from collabd.hub.health import SessionHealth
from collabd.hub.overview import POLLING, WEBSOCKET
from collabd.hub.session import Session
from collabd.metrics import POLLING_STOPPED
from collabd.protocol import close_codes
from collabd.protocol.codec import json_string
from collabd.protocol.presence import KICKED, LEFT, TIMEOUT, Presence

if TYPE_CHECKING:
    from collabd.hub.run import Run

MAX_LISTED_USERS: Final = 100
"""Above this many present users a USER_JOIN or USER_LEAVE carries only their count."""

REMEMBERED_SESSIONS: Final = 10_000
"""Sessions of a run that are gone but may come back; the oldest are forgotten beyond it."""


class Attendance:
    """The sessions of one run. `grace` is how long (seconds) a dropped user stays present."""

    def __init__(self, run: Run, grace: float) -> None:
        self._run = run
        self._grace = grace
        self.presence = Presence(grace)
        self._sessions: dict[str, Session] = {}
        self._gone: dict[str, None] = {}
        self._polling: dict[Session, None] = {}
        self._polls_of_users: dict[str, Session] = {}
        self.connection_count = 0
        self._timers_changed = trio.Event()
        self._wakes_at = -inf

    @property
    def is_occupied(self) -> bool:
        """Whether any user is present, be it only within the grace time."""
        return len(self.presence) > 0

    @property
    def polling_count(self) -> int:
        """Sessions that are polling."""
        return len(self._polling)

    @property
    def session_count(self) -> int:
        """Sessions that are connected or polling; one that is both counts twice."""
        return self.connection_count + self.polling_count

    def sessions(self) -> list[Session]:
        """Sessions that are connected or polling."""
        return [session for session in self._sessions.values() if session.is_present]

    def present(self, session_id: str) -> Session | None:
        """The connected or polling session with this id."""
        session = self._sessions.get(session_id)
        return session if session is not None and session.is_present else None

    def has_place(self, session_id: str | None, user_id: str | None) -> bool:
        """Whether this session is one of those here, so that its coming (again) is not one more.

        Without an id it is the one implicit session of a user who polls. A `user_id` that is not yet known matches.
        """
        if session_id is None:
            return user_id in self._polls_of_users
        session = self.present(session_id)
        return session is not None and user_id in (None, session.user_id)

    def session_for(self, session_id: str | None, user_id: str, transport: str) -> Session:
        """The session that a client comes back with, or a new one: an id is valid only for its (run, user)."""
        session = self._sessions.get(session_id) if session_id else None
        if session is None or session.user_id != user_id:
            session = self._new_session(user_id, transport)
        return session

    def polling_session_of(self, user_id: str) -> Session | None:
        """The one implicit session of a user who polls without a session id."""
        return self._polls_of_users.get(user_id)

    def _new_session(self, user_id: str, transport: str) -> Session:
        hub = self._run.hub
        session_id = hub.new_session_id()
        health = SessionHealth(session_id, user_id, self._run.run_id, hub.now_ms(), transport)
        session = self._sessions[session_id] = Session(self._run, session_id, user_id, health)
        return session

    # WebSocket

    def connected(self, session: Session, connection: Connection) -> None:
        """A session's WebSocket is up. An older one of the same session stops counting."""
        hub = self._run.hub
        self._gone.pop(session.session_id, None)
        if session.connection is None:
            self.connection_count += 1
            hub.connection_count += 1
            if not session.is_present:
                self._enter(session)
        session.connection = connection
        self._stop_polling(session)
        self._set_transport(session, WEBSOCKET)
        hub.health.came(session.health)
        hub.counters.connections[WEBSOCKET] += 1

    def disconnected(self, connection: Connection, code: int | None) -> None:
        """A WebSocket is gone; where a newer one took its session over, nobody leaves."""
        session = connection.session
        hub = self._run.hub
        session.health.messages_sent += connection.sent
        session.health.last_activity = hub.last_heard_ms(connection)
        hub.counters.disconnections[close_codes.close_class(code)] += 1
        if session.connection is not connection:
            return
        session.connection = session.health.connection = None
        self.connection_count -= 1
        hub.connection_left()
        if session.polls_until is None:
            self._went(session, LEFT if code == close_codes.NORMAL else None)
        else:
            self._set_transport(session, POLLING)

    def kick(self, session: Session, reason: str) -> None:
        """End a session at an operator's word; its user is gone at once when it was the last."""
        self._stop_polling(session)
        session.health.note(self._run.hub.now_ms(), "ended", reason)
        connection = session.connection
        if connection is not None:
            connection.close(close_codes.NOT_ALLOWED, reason)
            session.connection = session.health.connection = None
            session.health.messages_sent += connection.sent
            connection.sent = 0
            session.health.close_code = close_codes.NOT_ALLOWED
            session.health.close_reason = reason
            self.connection_count -= 1
            self._run.hub.connection_left()
        self._went(session, KICKED)
        self._sessions.pop(session.session_id, None)
        self._gone.pop(session.session_id, None)

    # Polling

    def polled(self, session: Session, seconds: float) -> None:
        """A session polled and is to come again in so many seconds: it is present until then, and for the grace."""
        hub = self._run.hub
        if session.polls_until is None:
            self._gone.pop(session.session_id, None)
            if not session.is_present:
                self._enter(session)
            self._note_polling(session)
            session.health.fallbacks += 1
            hub.counters.fallbacks += 1
            hub.counters.connections[POLLING] += 1
            hub.polling_count += 1
            self._polling[session] = None
            self._polls_of_users.setdefault(session.user_id, session)
        if session.connection is None:
            self._set_transport(session, POLLING)
        session.health.last_activity = hub.now_ms()
        hub.health.came(session.health)
        session.polls_until = trio.current_time() + seconds + self._grace
        self._wake_by(session.polls_until)

    def _note_polling(self, session: Session) -> None:
        health, now = session.health, self._run.hub.now_ms()
        if not health.timeline:
            health.note(now, "joined", POLLING)
        elif session.connection is None and health.transport == POLLING:
            health.note(now, "came_back", POLLING, 0)

    def _set_transport(self, session: Session, transport: str) -> None:
        health = session.health
        if health.transport != transport:
            health.note(self._run.hub.now_ms(), "transport_switched", health.transport, transport)
            health.transport = transport

    def _stop_polling(self, session: Session) -> None:
        if session.polls_until is None:
            return
        session.polls_until = None
        self._run.hub.polling_count -= 1
        del self._polling[session]
        if self._polls_of_users.get(session.user_id) is session:
            del self._polls_of_users[session.user_id]

    # Presence

    def _enter(self, session: Session) -> None:
        if self.presence.enter(session.user_id):
            self._announce("USER_JOIN", session.user_id, None)

    def _went(self, session: Session, reason: str | None) -> None:
        """A session is not present any more: at once with a reason, within the grace time without one."""
        hub = self._run.hub
        now = trio.current_time()
        hub.health.went(session.health, hub.now_ms())
        self._run.last_used = now
        if reason is None:
            self.presence.drop(session.user_id, now)
            self._wake_by(now + self._grace)
        elif self.presence.leave(session.user_id):
            self._announce("USER_LEAVE", session.user_id, reason)
        self._gone[session.session_id] = None
        while len(self._gone) > REMEMBERED_SESSIONS:
            oldest = next(iter(self._gone))
            del self._gone[oldest]
            del self._sessions[oldest]

    def _announce(self, event_type: str, user_id: str, reason: str | None) -> None:
        run = self._run
        run.wake_polls()
        if event_type == "USER_LEAVE" and run.hub.draining:
            return
        data: dict[str, object] = {"userId": user_id, "activeUserCount": len(self.presence)}
        if len(self.presence) <= MAX_LISTED_USERS:
            data["activeUsers"] = self.presence.users()
        if reason is not None:
            data["reason"] = reason
        run.tell_transient(user_id, json_string(user_id), event_type, msgspec.json.encode(data))

    # Timers

    async def run(self) -> None:
        """End grace times and the presence of those who stopped polling; runs until cancelled."""
        while True:
            self._timers_changed = trio.Event()
            self._wakes_at = self._next_timer()
            with trio.move_on_at(self._wakes_at):
                await self._timers_changed.wait()
            self.expire(trio.current_time())

    def _wake_by(self, when: float) -> None:
        """Look at the timers anew where this one is before all others; one that was put off is seen when it was due."""
        if when < self._wakes_at:
            self._timers_changed.set()

    def expire(self, now: float) -> None:
        """Do all that was due by `now` (steady seconds)."""
        for session in [session for session in self._polling if (session.polls_until or 0.0) <= now]:
            self._stop_polling(session)
            if session.connection is None:
                self._run.hub.counters.disconnections[POLLING_STOPPED] += 1
                session.health.note(self._run.hub.now_ms(), "polling_stopped")
                self._went(session, TIMEOUT)
        for user_id in self.presence.expire(now):
            self._run.last_used = now
            self._announce("USER_LEAVE", user_id, TIMEOUT)

    def _next_timer(self) -> float:
        polls = min((session.polls_until or inf for session in self._polling), default=inf)
        return min(polls, self.presence.next_expiry())
