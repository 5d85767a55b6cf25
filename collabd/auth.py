"""Who a client is and what it may do. Law of this file: a leaf; it sees tokens, never connections.

In open mode clients name themselves (docs/protocol.md, "Words"): only for loopback, or where the operator says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from collabd.errors import ProtocolError

if TYPE_CHECKING:
    from collabd.config import Auth

ALL_RUNS: Final = frozenset({"*"})


class Identity(NamedTuple):
    """What a token says: `user_id` None where the client names itself; times in milliseconds since 1970."""

    user_id: str | None
    role: str = "editor"
    runs: frozenset[str] = ALL_RUNS
    expires_at: int | None = None
    issued_at: int | None = None
    token_id: str | None = None

    @property
    def is_viewer(self) -> bool:
        """Whether the identity may only look, and move its cursor."""
        return self.role == "viewer"

    def may_enter(self, run_id: str) -> bool:
        """Whether the identity has a right to this run."""
        return "*" in self.runs or run_id in self.runs


class Revocation(NamedTuple):
    """Tokens that are refused from now on though their signature is good.

    By `sub`: all of the user `name` that were issued until `at` (milliseconds since 1970), so that a token issued
    later is good again. By `jti`: the one with this id, for ever.
    """

    kind: Literal["sub", "jti"]
    name: str
    at: int


class Authenticator(Protocol):
    """Turns a token into an identity."""

    def authenticate(self, token: str | None) -> Identity:
        """Who this is. Raises ProtocolError (unauthorized)."""

    def recheck(self, identity: Identity) -> None:
        """Whether an identity that was given out is still good. Raises ProtocolError (unauthorized)."""

    def revoke(self, revocation: Revocation) -> None:
        """Refuse these tokens from now on."""

    def replace_keys(self, auth: Auth, keys: Iterable[Any]) -> None:
        """Check tokens by other keys and claims from now on; identities that were given out stay good."""


class OpenDoor:
    """Open mode: no tokens are asked for, and none is looked at."""

    def authenticate(self, token: str | None) -> Identity:
        """Anyone, under the name that the request gives."""
        return Identity(user_id=None)

    def recheck(self, identity: Identity) -> None:
        """Nothing can have changed."""

    def revoke(self, revocation: Revocation) -> None:
        """There is nothing to revoke. Raises ProtocolError, lest somebody believes that there was."""
        raise ProtocolError("invalid_parameter", 'in auth.mode "open" there are no tokens to revoke')

    def replace_keys(self, auth: Auth, keys: Iterable[Any]) -> None:
        """There are none."""


def unauthorized() -> ProtocolError:
    """The one answer to a token that is missing, misspelt, forged, expired or revoked: it must not say which."""
    return ProtocolError("unauthorized", "this needs a valid token: Authorization: Bearer …")
