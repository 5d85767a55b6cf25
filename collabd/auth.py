"""Who a client is and what it may do. Law of this file: a leaf; it sees tokens, never connections.

In open mode clients name themselves (docs/protocol.md, "Words"): only for loopback, or where the operator says so.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

ALL_RUNS: Final = frozenset({"*"})


class Identity(NamedTuple):
    """What a token says: `user_id` None where the client names itself; `expires_at` in milliseconds since 1970."""

    user_id: str | None
    role: str = "editor"
    runs: frozenset[str] = ALL_RUNS
    expires_at: int | None = None

    @property
    def is_viewer(self) -> bool:
        """Whether the identity may only look, and move its cursor."""
        return self.role == "viewer"

    def may_enter(self, run_id: str) -> bool:
        """Whether the identity has a right to this run."""
        return "*" in self.runs or run_id in self.runs


class Authenticator(Protocol):
    """Turns a token into an identity."""

    def authenticate(self, token: str | None) -> Identity:
        """Who this is. Raises ProtocolError (unauthorized)."""


class OpenDoor:
    """Open mode: no tokens are asked for, and none is looked at."""

    def authenticate(self, token: str | None) -> Identity:
        """Anyone, under the name that the request gives."""
        return Identity(user_id=None)
