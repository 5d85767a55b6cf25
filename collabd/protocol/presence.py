"""Who is in a run: users with their sessions, the grace time of those who dropped, and everyone's cursor.

Law of this file: pure; `now` is an argument in seconds of any steady clock. Rules: docs/protocol.md, USER_JOIN and
USER_LEAVE, "Liveness". Several sessions of one user count as one user, and a reload is neither a leave nor a join.
"""

from __future__ import annotations

from math import inf
from typing import Final

LEFT: Final = "left"
TIMEOUT: Final = "timeout"
KICKED: Final = "kicked"


class Presence:
    """The users present in one run. `grace` is how long (seconds) a dropped user stays present."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._sessions: dict[str, int] = {}
        # Leases end in the order in which they began, since all last equally long.
        self._leases: dict[str, float] = {}
        self._cursors: dict[str, bytes] = {}

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._sessions

    def __len__(self) -> int:
        return len(self._sessions)

    def users(self) -> list[str]:
        """The present users, sorted."""
        return sorted(self._sessions)

    def sessions_of(self, user_id: str) -> int:
        """How many sessions of a user are present."""
        return self._sessions.get(user_id, 0)

    def cursors(self) -> dict[str, bytes]:
        """Each present user's last CURSOR_MOVE data (JSON text)."""
        return self._cursors

    def enter(self, user_id: str) -> bool:
        """A session of the user came. True when the others should be told (USER_JOIN)."""
        self._leases.pop(user_id, None)
        known = user_id in self._sessions
        self._sessions[user_id] = self._sessions.get(user_id, 0) + 1
        return not known

    def drop(self, user_id: str, now: float) -> None:
        """A session of the user was lost; after the last one the user stays present for the grace time."""
        self._sessions[user_id] -= 1
        if self._sessions[user_id] == 0:
            self._leases[user_id] = now + self._grace

    def leave(self, user_id: str) -> bool:
        """A session of the user left on purpose. True when it was the last, so that the user is gone at once."""
        self._sessions[user_id] -= 1
        if self._sessions[user_id] > 0:
            return False
        self._forget(user_id)
        return True

    def expire(self, now: float) -> list[str]:
        """Users whose grace time is over; they are gone with this call."""
        gone = [user_id for user_id, deadline in self._leases.items() if deadline <= now]
        for user_id in gone:
            self._forget(user_id)
        return gone

    def next_expiry(self) -> float:
        """When the next grace time ends, or infinity."""
        return next(iter(self._leases.values()), inf)

    def move_cursor(self, user_id: str, data: bytes) -> None:
        """Remember where a present user looks; a user who is gone has no cursor."""
        if user_id in self._sessions:
            self._cursors[user_id] = data

    def _forget(self, user_id: str) -> None:
        del self._sessions[user_id]
        self._leases.pop(user_id, None)
        self._cursors.pop(user_id, None)
