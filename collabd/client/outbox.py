"""The queue of messages that are not final yet, and what each answer does to it.

Law of this file: docs/client-behaviour.md R12 to R22, and nothing else. Pure: times are seconds of whatever monotonic
clock the caller uses, `random` a number in [0, 1) that the caller draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from collabd.client.errors import QueueFull
from collabd.client.messages import Ack, Refusal
from collabd.client.settings import (
    BACKOFF_BASE_S,
    BACKOFF_CAP_S,
    HTTP_BATCH_BYTES,
    HTTP_BATCH_MESSAGES,
    SEND_WINDOW,
    Limits,
    Settings,
)

State = Literal["queued", "sent", "committed", "rejected"]

#: Retryable refusals that say nothing about the message itself (R18).
NOT_COUNTED: Final = frozenset(
    ["rate_limited", "storage_unavailable", "draining", "too_many_connections", "not_attempted", "unauthorized"]
)


@dataclass(eq=False)
class Outgoing:
    """One message on its way. `text` is the whole client message, sent byte for byte the same each time."""

    client_message_id: str
    event_type: str
    text: str
    attempts: int = 0
    durable: bool = True
    state: State = "queued"
    ack: Ack | None = None
    rejection: Refusal | None = None
    on_wire: int = 0
    sent_at: float = 0.0
    listener: Callable[[], None] | None = field(default=None, repr=False)
    size: int = field(init=False)  # bytes of UTF-8 on the wire

    def __post_init__(self) -> None:
        self.size = len(self.text.encode())

    def become(self, state: State) -> None:
        """Change the state and tell whoever listens."""
        if state != self.state:
            self.state = state
            if self.listener is not None:
                self.listener()


class Outcome(Enum):
    """What a refusal came to."""

    IGNORED = "ignored"
    WAITING = "waiting"
    REJECTED = "rejected"
    GIVEN_UP = "given up"  # rejected at the retry limit: over WebSocket the block must be lifted (R18)


class Outbox:
    """Messages that are not final, oldest first."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        self._messages: dict[str, Outgoing] = {}
        self._bytes = 0
        self._blocked = False
        self._refusals = 0
        self._resume_at = 0.0
        self._pace_s = 0.0
        self._last_sent_at = 0.0
        self._batch_limit = HTTP_BATCH_MESSAGES
        self.committed = 0
        self.rejected = 0

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Outgoing]:
        return iter(self._messages.values())

    def get(self, client_message_id: str) -> Outgoing | None:
        """The message of that id while it is not final."""
        return self._messages.get(client_message_id)

    def check_room(self, size: int) -> None:
        """Raise QueueFull unless one more message of `size` bytes may wait (R11)."""
        full = len(self._messages) >= self._settings.max_queued_messages
        if full or self._bytes + size > self._settings.max_queued_bytes:
            raise QueueFull(len(self._messages), self._bytes)

    def add(self, message: Outgoing) -> None:
        """Take a message at the end of the queue."""
        self._messages[message.client_message_id] = message
        self._bytes += message.size

    # What may be sent, and when

    def next_to_send(self, now: float) -> Outgoing | None:
        """The one message that may go out over WebSocket at this moment, if any (R13, R14, R17, R19)."""
        if now < self._earliest():
            return None
        window = 1 if self._blocked else SEND_WINDOW
        for in_flight, message in enumerate(self._messages.values()):
            if message.state == "queued":
                return message if message.durable and in_flight < window else None
        return None

    def next_batch(self, now: float) -> list[Outgoing]:
        """What the next POST may carry (R76); empty while waiting."""
        batch: list[Outgoing] = []
        size = 0
        if now >= self._resume_at:
            for message in self._messages.values():
                size += message.size
                if not message.durable or len(batch) == self._batch_limit or (batch and size > HTTP_BATCH_BYTES):
                    break
                batch.append(message)
        return batch

    def _earliest(self) -> float:
        return max(self._resume_at, self._last_sent_at + self._pace_s)

    def wake_at(self, now: float) -> float | None:
        """When waiting will have been long enough; None if no time is waited for."""
        earliest = self._earliest()
        return earliest if self._messages and earliest > now else None

    def unanswered_since(self) -> float | None:
        """When the oldest unanswered message was sent (R20)."""
        return min((message.sent_at for message in self._messages.values() if message.state == "sent"), default=None)

    def pause(self, until: float) -> None:
        """Send nothing before `until`: a time the server told."""
        self._resume_at = max(self._resume_at, until)

    # What happens to messages

    def mark_sent(self, message: Outgoing, now: float) -> None:
        """The message went out."""
        message.on_wire += 1
        message.sent_at = now
        self._last_sent_at = now
        message.become("sent")

    def connection_lost(self) -> None:
        """Nothing is in flight any more (R14); a time the server told still holds."""
        self._blocked = False
        for message in self._messages.values():
            message.on_wire = 0
            message.become("queued")

    def on_ack(self, ack: Ack) -> Outgoing | None:
        """Commit the message (R15); None if it was final already."""
        message = self._messages.get(ack.client_message_id)
        if message is None:
            return None
        self._blocked = False
        self._refusals = 0
        self.committed += 1
        message.ack = ack
        self._settle(message, "committed")
        return message

    def on_refusal(self, refusal: Refusal, now: float, random: float) -> tuple[Outcome, Outgoing | None]:
        """Act on an ERROR with an id (R16 to R19)."""
        message = self._messages.get(refusal.client_message_id or "")
        if message is None:
            return Outcome.IGNORED, None
        message.on_wire = max(0, message.on_wire - 1)
        if not refusal.retryable and refusal.code != "unauthorized":
            self.reject(message, refusal)
            return Outcome.REJECTED, message
        if message.on_wire > 0 or message.state != "sent":
            return Outcome.IGNORED, None  # an older sending, or refused because of an earlier one
        return self._block(message, refusal, now, random), message

    def _block(self, message: Outgoing, refusal: Refusal, now: float, random: float) -> Outcome:
        self._wait(refusal, now, random)
        self._requeue_from(message)
        if refusal.code not in NOT_COUNTED:
            message.attempts += 1
            if message.attempts >= self._limits.message_retry_limit:
                self.reject(message, refusal)
                return Outcome.GIVEN_UP
        self._blocked = True
        return Outcome.WAITING

    def _wait(self, refusal: Refusal, now: float, random: float) -> None:
        self._refusals += 1
        told_ms = refusal.retry_after_ms
        if told_ms is None:
            self.pause(now + backoff_delay(self._refusals, BACKOFF_CAP_S, random))
        else:
            self.pause(now + told_ms / 1000)
        if refusal.code == "rate_limited":
            self._pace_s = min(1.0, max(0.02, (told_ms or 20) / 1000, 2 * self._pace_s))

    def _requeue_from(self, blocked: Outgoing) -> None:
        found = False
        for message in self._messages.values():
            found = found or message is blocked
            if found:
                message.become("queued")

    def reject(self, message: Outgoing, refusal: Refusal) -> None:
        """Make the message final as rejected."""
        self.rejected += 1
        message.rejection = refusal
        self._settle(message, "rejected")

    def _settle(self, message: Outgoing, state: State) -> None:
        del self._messages[message.client_message_id]
        self._bytes -= message.size
        if not self._messages:
            self._blocked = False
            self._pace_s = 0.0
        message.become(state)

    # Whole batches over HTTP

    def batch_answered(self) -> None:
        """A POST was answered message by message: what it left unanswered is queued, full batches may go again."""
        self._batch_limit = HTTP_BATCH_MESSAGES
        self.connection_lost()

    def batch_failed(self, now: float, random: float) -> None:
        """A POST got no answer to its messages (R77)."""
        self.connection_lost()
        self._refusals += 1
        self.pause(now + backoff_delay(self._refusals, BACKOFF_CAP_S, random))

    def batch_refused(self, batch: list[Outgoing], refusal: Refusal) -> Outgoing | None:
        """A POST was refused as a whole: smaller next time, or its only message is rejected and returned (R78)."""
        self.connection_lost()
        if len(batch) == 1:
            self.reject(batch[0], refusal)
            return batch[0]
        self._batch_limit = len(batch) // 2 if refusal.code == "message_too_big" else 1
        return None

    # Sizes

    def too_big(self, limit: int) -> list[Outgoing]:
        """Messages above the limit that a WELCOME told (R21)."""
        return [message for message in self._messages.values() if message.size > limit]

    def suspect(self, close_code: int) -> Outgoing | None:
        """The message in flight that a close with 1009, 1003 or 1007 was about (R21)."""
        in_flight = [message for message in self._messages.values() if message.state == "sent"]
        if not in_flight:
            return None
        return max(in_flight, key=lambda message: message.size) if close_code == 1009 else in_flight[0]


def backoff_delay(step: int, cap_s: float, random: float) -> float:
    """Seconds to wait before the `step`-th try (from 1): exponential with full jitter (R19, R24)."""
    return random * min(cap_s, BACKOFF_BASE_S * 2.0 ** (min(max(step, 1), 30) - 1))
