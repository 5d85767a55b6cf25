"""How fast one session, one publisher and one address may be.

Law of this file: the buckets and who has which; whoever is held back is told `rate_limited` and when to come again
(docs/protocol.md), and it is counted under the name of the setting. Loopback peers have no address of their own to
be limited by: behind a proxy on the same machine they would be everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from collabd.errors import ProtocolError
from collabd.protocol.addresses import counted_as, is_loopback_address
from collabd.protocol.rate import Allowance, Excess, Rates, Remembered, TokenBucket

if TYPE_CHECKING:
    from collabd.config import Limits
    from collabd.metrics import Counters

_REMEMBERED: Final = 10_000


class RateLimits:
    """The rate limits of one hub."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self._counters = counters
        self.change(limits)

    def change(self, limits: Limits) -> None:
        """Hold everybody to these limits from now on, with full buckets; sessions have to be given theirs anew."""
        self._limits = limits
        self._publishers: Remembered[tuple[str, str], list[Allowance]] = Remembered(self._of_one_sender, _REMEMBERED)
        self._messages: Remembered[str, TokenBucket] = Remembered(
            lambda now: TokenBucket(limits.messages_per_second_per_address, limits.message_burst_per_address, now),
            _REMEMBERED,
        )
        self._requests: Remembered[str, TokenBucket] = Remembered(
            lambda now: TokenBucket(limits.requests_per_second_per_address, limits.request_burst_per_address, now),
            _REMEMBERED,
        )

    def of_session(self, address: str) -> Rates | None:
        """The limits of a new WebSocket session; None where there is none, so that it costs nothing."""
        now = trio.current_time()
        return self._joined(self._of_one_sender(now), address, now)

    def of_publisher(self, run_id: str, user_id: str, address: str) -> Rates | None:
        """The limits of a user who publishes over HTTP: those of a session, whatever connections are used."""
        now = trio.current_time()
        return self._joined(self._publishers.of((run_id, user_id), now), address, now)

    def _of_one_sender(self, now: float) -> list[Allowance]:
        limits = self._limits
        allowances = []
        if limits.messages_per_second:
            bucket = TokenBucket(limits.messages_per_second, limits.message_burst, now)
            allowances.append(Allowance("messages_per_second", bucket))
        if limits.bytes_per_second:
            bucket = TokenBucket(limits.bytes_per_second, limits.byte_burst, now)
            allowances.append(Allowance("bytes_per_second", bucket, counts_bytes=True))
        return allowances

    def _joined(self, allowances: list[Allowance], address: str, now: float) -> Rates | None:
        if self._limits.messages_per_second_per_address and not is_loopback_address(address):
            shared = self._messages.of(counted_as(address), now)
            allowances = [*allowances, Allowance("messages_per_second_per_address", shared)]
        return Rates(allowances) if allowances else None

    def take_message(self, rates: Rates | None, size: int, client_message_id: str | None) -> None:
        """Let a message of `size` bytes pass. Raises ProtocolError (rate_limited)."""
        excess = None if rates is None else rates.take(size, trio.current_time())
        if excess is not None:
            self._refuse(excess, "too many messages; slow down", client_message_id)

    def take_request(self, address: str) -> None:
        """Let an HTTP request or an upgrade pass. Raises ProtocolError (rate_limited)."""
        if not self._limits.requests_per_second_per_address or is_loopback_address(address):
            return
        now = trio.current_time()
        seconds = self._requests.of(counted_as(address), now).take(now)
        if seconds:
            self._refuse(Excess("requests_per_second_per_address", seconds), "too many requests; slow down", None)

    def _refuse(self, excess: Excess, message: str, client_message_id: str | None) -> None:
        self._counters.limited[excess.limit] += 1
        milliseconds = max(1, round(excess.seconds * 1000))
        raise ProtocolError("rate_limited", message, client_message_id=client_message_id, retry_after_ms=milliseconds)
