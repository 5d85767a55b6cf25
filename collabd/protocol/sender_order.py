"""Keeping one sender's order across retryable refusals (docs/protocol.md, "What is promised", 3).

Law of this file: one small state per connection, no clock. The rule: after a retryable ERROR to a persisted-type
message with a clientMessageId, the later such messages get the same answer until that id comes again or the session
reconnects. A client that resends from the refused id on keeps its order without waiting for each answer.

A message is looked at twice, when it comes and when its commit begins, since an earlier one may have been refused in
between; a number given at its coming tells which of two messages was earlier.
"""

from __future__ import annotations

from math import inf

from collabd.errors import ProtocolError


class SenderOrder:
    """Remembers the refused message that the sender has to repeat first, and the answer it got.

    Messages numbered from `since` up to (not including) `until` get that answer; `until` is infinite while the refused
    message has not come again.
    """

    __slots__ = ("_answer", "_count", "_since", "_until", "_waiting_for")

    def __init__(self) -> None:
        self._count = 0
        self._waiting_for: str | None = None
        self._since: float = inf
        self._until: float = inf
        self._answer: ProtocolError | None = None

    def admit(self, client_message_id: str | None) -> int:
        """Number a message that came, or raise the answer that an earlier one got (ProtocolError)."""
        self._count += 1
        self.confirm(client_message_id, self._count)
        return self._count

    def confirm(self, client_message_id: str | None, number: int) -> None:
        """Let a numbered message pass, or raise the answer that an earlier one got meanwhile (ProtocolError)."""
        if self._answer is None or client_message_id is None or not self._since <= number < self._until:
            return
        if client_message_id == self._waiting_for:
            # Those in between, which may still wait to be looked at, were sent before it: they stay refused.
            self._waiting_for = None
            self._until = number
            return
        raise ProtocolError(
            self._answer.code,
            self._answer.message,
            client_message_id=client_message_id,
            retry_after_ms=self._answer.retry_after_ms,
        )

    def refused(self, client_message_id: str | None, answer: ProtocolError, number: int | None = None) -> None:
        """Note that a message was refused: numbered, or before it got a number. The earliest one is waited for."""
        if client_message_id is None or not answer.retryable:
            return
        if number is None:
            self._count += 1
            number = self._count
        if self._waiting_for is None or number < self._since:
            self._waiting_for = client_message_id
            self._since = number
            self._until = inf
            self._answer = answer
