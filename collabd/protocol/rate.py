"""A token bucket with time as an argument. Law of this file: no clock."""

from __future__ import annotations


class TokenBucket:
    """Allows `rate` per second on average and `burst` at once; a rate of 0 allows everything."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._tokens = self._burst
        self._updated = now

    def take(self, now: float) -> float:
        """Take one token and answer 0.0, or take none and answer the seconds until there is one."""
        if not self._rate:
            return 0.0
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate
