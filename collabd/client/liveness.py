"""Whether the other end of a WebSocket lives, and what is due because time passed.

Law of this file: docs/client-behaviour.md R2, R20, R25, R33, R35, R82. Pure: times are seconds of the caller's
monotonic clock; it neither waits nor writes, so nothing that does can keep it from seeing that the peer is dead.
"""

from __future__ import annotations

import math
from typing import Final

from collabd.client.settings import HEALTH_INTERVAL_S, STABLE_AFTER_S, WAKE_TIMEOUT_S

_LOOK_EVERY_S: Final = 1.0
_DRAIN_WAIT_S: Final = 5.0


class Liveness:
    """One connection since its WELCOME. `wall_ahead`: wall clock minus monotonic clock, in seconds."""

    def __init__(self, interval_s: float, *, now: float, wall_ahead: float) -> None:
        self._interval_s = interval_s
        self._welcomed_at = now
        self._wall_ahead = wall_ahead
        self._pings: dict[int, float] = {}
        self._wake_deadline = math.inf
        self._drain_deadline = math.inf
        self.heard_at = now
        self.next_ping_at = now + interval_s
        self.health_at = math.inf
        self.drained_until: float | None = None

    # What comes in

    def heard(self, now: float) -> None:
        """A message came, whichever."""
        self.heard_at = now
        self._wake_deadline = math.inf

    def pong(self, sent_at: int) -> float | None:
        """The answer to the ping of that `sentAt` came: latency in milliseconds; None if it is no such answer."""
        pinged_at = self._pings.pop(sent_at, None)
        if pinged_at is None:
            return None
        if self.health_at == math.inf:
            self.health_at = self.heard_at
        return (self.heard_at - pinged_at) * 1000

    def drain(self, retry_after_s: float) -> None:
        """The server will close soon (R33)."""
        self.drained_until = self.heard_at + retry_after_s
        self._drain_deadline = self.heard_at + _DRAIN_WAIT_S

    # What goes out

    def ping_now(self) -> None:
        """A ping is due: the replay is whole."""
        self.next_ping_at = self.heard_at

    def pinged(self, sent_at: int, now: float) -> None:
        """A ping goes out."""
        self._pings = {sent_at: now}
        self.next_ping_at = now + self._interval_s

    def reported(self, now: float) -> None:
        """Health goes out."""
        self.health_at = now + HEALTH_INTERVAL_S

    # What time tells

    def look(self, now: float, wall_ahead: float) -> bool:
        """Compare the clocks; True: the machine slept, and a ping is due (R2)."""
        drift, self._wall_ahead = wall_ahead - self._wall_ahead, wall_ahead
        if drift <= self._interval_s:
            return False
        self.next_ping_at = now
        self._wake_deadline = now + WAKE_TIMEOUT_S
        return True

    def is_stable(self, now: float) -> bool:
        """It lived long enough to be called a success (R25)."""
        return now >= self._welcomed_at + STABLE_AFTER_S

    def why_dead(self, now: float, unanswered_since: float | None) -> str | None:
        """Why the connection has to be dropped, or None. `unanswered_since`: of the oldest message (R20)."""
        patience_s = 2 * self._interval_s
        if now >= self.heard_at + patience_s:
            return f"nothing was heard for {patience_s:g} s"
        if now >= self._wake_deadline:
            return "nothing was heard after a sleep"
        if unanswered_since is not None and now >= unanswered_since + patience_s:
            return f"a message was not answered for {patience_s:g} s"
        return None

    def drain_left_s(self, now: float) -> float | None:
        """How much of DRAIN's time is left; None without one."""
        return None if self.drained_until is None else max(0.0, self.drained_until - now)

    def waited_for_close(self, now: float) -> bool:
        """A server that drains has not closed in time."""
        return now >= self._drain_deadline

    def look_again_in_s(self) -> float:
        """When to look the next time."""
        return min(_LOOK_EVERY_S, self._interval_s / 4)
