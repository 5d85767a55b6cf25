"""Who is in the run and where their cursors are.

Law of this file: docs/client-behaviour.md R74, R83, R84. Pure; every answer is a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collabd.client.messages import Event, Snapshot


class People:
    """Active users and cursor positions, kept by what the server says."""

    def __init__(self) -> None:
        self._users: set[str] = set()
        self._cursors: dict[str, Any] = {}

    @property
    def active_users(self) -> tuple[str, ...]:
        """User ids, sorted."""
        return tuple(sorted(self._users))

    @property
    def cursor_positions(self) -> dict[str, Any]:
        """User id to the data of the user's last CURSOR_MOVE."""
        return dict(self._cursors)

    def replace(self, snapshot: Snapshot) -> None:
        """Take the whole picture of a WELCOME or a poll answer."""
        self._users = set(snapshot.active_users)
        self._cursors = dict(snapshot.cursors)

    def note(self, event: Event) -> bool:
        """Take what a transient event says; whether it was about people at all."""
        if event.event_type == "CURSOR_MOVE" and event.user_id is not None:
            self._cursors[event.user_id] = event.data
            return True
        if event.event_type not in ("USER_JOIN", "USER_LEAVE"):
            return False
        data: Mapping[str, Any] = event.data if isinstance(event.data, dict) else {}
        user_id = str(data.get("userId", event.user_id))
        if event.event_type == "USER_JOIN":
            self._users.add(user_id)
        else:
            self._users.discard(user_id)
            self._cursors.pop(user_id, None)
        if isinstance(data.get("activeUsers"), list):
            self._users = {str(user) for user in data["activeUsers"]}
        return True
