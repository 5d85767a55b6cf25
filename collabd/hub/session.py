"""One client in one run: an identity that survives reconnects and changes of transport.

Law of this file: state only; the run decides what happens to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collabd.protocol.codec import json_string

if TYPE_CHECKING:
    from collabd.hub.connection import Connection
    from collabd.hub.health import SessionHealth
    from collabd.hub.run import Run


class Session:
    """A user's tab, agent or script in a run. `polls_until` is the end of a poll's presence (steady seconds)."""

    __slots__ = ("connection", "health", "polls_until", "run", "session_id", "user_id", "user_json")

    def __init__(self, run: Run, session_id: str, user_id: str, health: SessionHealth) -> None:
        self.run = run
        self.session_id = session_id
        self.user_id = user_id
        self.user_json = json_string(user_id)
        self.health = health
        self.connection: Connection | None = None
        self.polls_until: float | None = None

    @property
    def is_present(self) -> bool:
        """Whether the session is connected or polling, that is, counts as a session of its user."""
        return self.connection is not None or self.polls_until is not None
