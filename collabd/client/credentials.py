"""The token in use, and where the next one comes from.

Law of this file: docs/client-behaviour.md R50 to R52; it sends nothing by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import trio

from collabd.client.errors import TokenUnavailable
from collabd.client.settings import RENEWAL_RETRY_S, REQUEST_TIMEOUT_S, SHORTEST_RENEWAL_S
from collabd.client.tokens import checked_token, expiry_of, renewal_due_in

#: A token, or a function that supplies one each time it is asked.
TokenSource = str | Callable[[], str | Awaitable[str]]


class Credentials:
    """Holds the token; `server_now` tells the server's wall clock in seconds since 1970.

    Raises TokenUnavailable for a token given as text that can be none.
    """

    def __init__(self, source: TokenSource | None, server_now: Callable[[], float], now: Callable[[], float]) -> None:
        self._source = source
        self._server_now = server_now
        self._now = now
        self._asked_after_refusal = False
        self._asking = trio.Lock()  # several tasks may want a token at once: one question is enough
        self.token: str | None = None
        self.renew_at: float | None = None
        if source is not None and not callable(source):
            try:
                self.token = checked_token(source)
            except (TypeError, ValueError) as error:
                raise TokenUnavailable(str(error)) from error

    async def current(self) -> str | None:
        """The token to use now, asked for if there is none or it ends soon. Raises TokenUnavailable.

        A known one is used on where the function fails: whether it is still good is for the server to say (R52).
        """
        if self._wants_one():
            async with self._asking:
                if self._wants_one():
                    await self._renew_if_possible()
        return self.token

    async def _renew_if_possible(self) -> None:
        try:
            await self.renew()
        except TokenUnavailable:
            if self.token is None:
                raise

    def _wants_one(self) -> bool:
        due = self.renew_at is not None and self._now() >= self.renew_at
        return callable(self._source) and (self.token is None or due)

    async def renew(self) -> str | None:
        """Ask the function for a new token; None where there is no function.

        Raises TokenUnavailable; the next renewal is then due after a pause.
        """
        if not callable(self._source):
            return None
        try:
            token = await self._ask(self._source)
        except TokenUnavailable:
            self.renew_at = self._now() + RENEWAL_RETRY_S
            raise
        self.token = token
        self._note_expiry(expiry_of(token))
        return token

    async def _ask(self, supply: Callable[[], str | Awaitable[str]]) -> str:
        try:
            with trio.move_on_after(REQUEST_TIMEOUT_S) as patience:
                supplied = supply()
                return checked_token(await supplied if inspect.isawaitable(supplied) else supplied)
        except Exception as error:
            raise TokenUnavailable(f"the token function failed with {error!r}") from error
        assert patience.cancelled_caught
        raise TokenUnavailable(f"the token function did not return within {REQUEST_TIMEOUT_S:g} s")

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
            # A token that has ended already, by some clock, must not be asked for again and again.
            due_in_s = max(SHORTEST_RENEWAL_S, renewal_due_in(expiry, self._server_now()))
            self.renew_at = self._now() + due_in_s
