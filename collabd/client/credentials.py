"""The token in use, and where the next one comes from.

Law of this file: docs/client-behaviour.md R50 to R52; it sends nothing by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from collabd.client.errors import TokenUnavailable
from collabd.client.tokens import expiry_of, renewal_due_in

#: A token, or a function that supplies one each time it is asked.
TokenSource = str | Callable[[], str | Awaitable[str]]


class Credentials:
    """Holds the token; `server_now` tells the server's wall clock in seconds since 1970."""

    def __init__(self, source: TokenSource | None, server_now: Callable[[], float], now: Callable[[], float]) -> None:
        self._source = source
        self._server_now = server_now
        self._now = now
        self._asked_after_refusal = False
        self.token: str | None = source if isinstance(source, str) else None
        self.renew_at: float | None = None

    async def current(self) -> str | None:
        """The token to use now, asked for if there is none or it ends soon. Raises TokenUnavailable."""
        due = self.renew_at is not None and self._now() >= self.renew_at
        if callable(self._source) and (self.token is None or due):
            await self.renew()
        return self.token

    async def renew(self) -> str | None:
        """Ask the function for a new token; None where there is no function. Raises TokenUnavailable."""
        if not callable(self._source):
            return None
        try:
            supplied = self._source()
            self.token = await supplied if inspect.isawaitable(supplied) else supplied
        except Exception as error:
            raise TokenUnavailable(error) from error
        self._note_expiry(expiry_of(self.token))
        return self.token

    def accepted(self, expires_at: float | None = None) -> None:
        """The server took the token; `expires_at` (seconds since 1970) where it said until when."""
        self._asked_after_refusal = False
        if expires_at is not None:
            self._note_expiry(expires_at)

    def refused(self, token: str | None) -> bool:
        """The server refused that token. True: come back, a newer one can be had. False: give up."""
        if token != self.token:
            return True  # it was replaced already
        if not callable(self._source) or self._asked_after_refusal:
            return False
        self._asked_after_refusal = True
        self.token = None
        return True

    def _note_expiry(self, expiry: float | None) -> None:
        if expiry is None:
            self.renew_at = None
        else:
            self.renew_at = self._now() + renewal_due_in(expiry, self._server_now())
