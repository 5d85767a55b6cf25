"""Keeping one sender's order across retryable refusals (docs/protocol.md, "What is promised", 3).

Law of this file: one small state per connection, no clock. The rule: after a retryable ERROR to a persisted-type
message with a clientMessageId, the later such messages get the same answer until that id comes again or the session
reconnects. A client that resends from the refused id on keeps its order without waiting for each answer.
"""

from __future__ import annotations

from collabd.errors import ProtocolError


class SenderOrder:
    """Remembers the refused message that the sender has to repeat first, and the answer it got."""

    __slots__ = ("_answer", "_waiting_for")

    def __init__(self) -> None:
        self._waiting_for: str | None = None
        self._answer: ProtocolError | None = None

    def check(self, client_message_id: str | None) -> None:
        """Let a persisted-type message pass, or raise the answer that an earlier one got (ProtocolError)."""
        if self._waiting_for is None or client_message_id is None:
            return
        if client_message_id == self._waiting_for:
            self._waiting_for = self._answer = None
            return
        assert self._answer is not None
        raise ProtocolError(
            self._answer.code,
            self._answer.message,
            client_message_id=client_message_id,
            retry_after_ms=self._answer.retry_after_ms,
        )

    def refused(self, client_message_id: str | None, answer: ProtocolError) -> None:
        """Note that a persisted-type message was refused; only the first retryable refusal starts the waiting."""
        if self._waiting_for is None and client_message_id is not None and answer.retryable:
            self._waiting_for = client_message_id
            self._answer = answer
