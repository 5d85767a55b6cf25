"""Whose token each live connection stands on, and the end of connections whose token is no longer good.

Law of this file: one task for all connections. A look every half second costs 10,000 connections less than one
millisecond, and needs no timer per connection that renewals, closes and clock changes would all have to move.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from collabd.auth import Identity, Revocation
from collabd.errors import CollabdError, ProtocolError
from collabd.protocol import close_codes

if TYPE_CHECKING:
    from collabd.hub.connection import Connection
    from collabd.hub.hub import Hub

logger = logging.getLogger("collabd.hub")

LOOK_INTERVAL_S: Final = 0.5
"""How often expired tokens are looked for: a connection outlives its token by no more."""


class Credentials:
    """The identities of the hub's connections, where they can end; in open mode there are none."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._identities: dict[Connection, Identity] = {}

    def stand_on(self, connection: Connection, identity: Identity) -> None:
        """A connection came with this identity, or renewed it."""
        connection.is_viewer = identity.is_viewer
        if identity.expires_at is not None:
            self._identities[connection] = identity

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._identities.pop(connection, None)

    async def run(self) -> None:
        """End connections as their tokens expire; runs until cancelled."""
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            self.end_expired()

    def end_expired(self) -> None:
        """End every connection whose token has expired by now."""
        now = self._hub.now_ms()
        for connection in [each for each, identity in self._identities.items() if (identity.expires_at or 0) <= now]:
            self._end(connection)

    async def revoke(self, revocation: Revocation) -> None:
        """Refuse these tokens everywhere from this instant on, then keep the revocation.

        Raises ProtocolError: invalid_parameter in open mode; storage_unavailable where it is in force, but would be
        forgotten by a restart.
        """
        hub = self._hub
        hub.authenticator.revoke(revocation)
        logger.info("tokens revoked by %s %r", revocation.kind, revocation.name)
        for connection in [each for each, identity in self._identities.items() if not self._is_good(identity)]:
            self._end(connection)
        for run in hub.runs.values():
            run.wake_polls()  # each looks at its token again before it answers
        try:
            await hub.store.revoke(revocation)
        except CollabdError as error:
            hub.log_fault("a revocation is in force, but could not be kept", error)
            raise ProtocolError(
                "storage_unavailable", "the revocation is in force, but a restart would forget it; send it again"
            ) from error

    def _is_good(self, identity: Identity) -> bool:
        try:
            self._hub.authenticator.recheck(identity)
        except ProtocolError:
            return False
        return True

    def _end(self, connection: Connection) -> None:
        self.forget(connection)
        connection.close(close_codes.TOKEN_BAD, "token expired or revoked")
