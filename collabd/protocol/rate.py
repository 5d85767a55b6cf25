"""Token buckets with time as an argument. Law of this file: no clock."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class TokenBucket:
    """Allows `rate` per second on average and `burst` at once; a rate of 0 allows everything."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._tokens = self._burst
        self._updated = now

    def take(self, now: float, amount: float = 1.0) -> float:
        """Take so many tokens and answer 0.0, or take none and answer the seconds until there are as many.

        More than the burst are taken as soon as the bucket is full.
        """
        if not self._rate:
            return 0.0
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        needed = min(amount, self._burst)
        if self._tokens >= needed:
            self._tokens -= amount
            return 0.0
        return (needed - self._tokens) / self._rate


class Allowance(NamedTuple):
    """One limit of a sender: its name, its bucket, and whether bytes are counted or messages."""

    limit: str
    bucket: TokenBucket
    counts_bytes: bool = False


class Excess(NamedTuple):
    """Which limit was hit, and in how many seconds there is room again."""

    limit: str
    seconds: float


class Rates:
    """All that limits one sender."""

    __slots__ = ("_allowances",)

    def __init__(self, allowances: Iterable[Allowance]) -> None:
        self._allowances = tuple(allowances)

    def take(self, size: int, now: float) -> Excess | None:
        """Count a message of `size` bytes, or tell which limit forbids it."""
        for limit, bucket, counts_bytes in self._allowances:
            seconds = bucket.take(now, size if counts_bytes else 1.0)
            if seconds:
                return Excess(limit, seconds)
        return None


class Remembered(Generic[Key, Value]):
    """A value for each key, made when first asked for; beyond `most` the least recently asked for is forgotten."""

    def __init__(self, make: Callable[[float], Value], most: int) -> None:
        self._make = make
        self._most = most
        self._values: dict[Key, Value] = {}

    def of(self, key: Key, now: float) -> Value:
        """The value of a key; a new one is made for the time `now`."""
        value = self._values.pop(key, None)
        if value is None:
            value = self._make(now)
        self._values[key] = value
        if len(self._values) > self._most:
            del self._values[next(iter(self._values))]
        return value
