"""Latency percentiles in bounded memory. Law of this file: pure arithmetic.

A histogram with logarithmic buckets, as in HdrHistogram and DDSketch: with a ratio of 1.05 between bucket edges any
percentile is within 2.5 % of a measured value, however many values there were. Buckets are kept sparsely, since a
session's round trips fall into a few of them: at most 290 from 0.05 ms to 60 s.
"""

from __future__ import annotations

from math import ceil, exp, log
from typing import Final

_RATIO: Final = log(1.05)
_LOWEST: Final = 0.05
_HIGHEST: Final = 60_000.0


class LatencyDigest:
    """Counts, average, maximum and percentiles of round trips in milliseconds."""

    __slots__ = ("_buckets", "count", "maximum", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.maximum = 0.0
        self._buckets: dict[int, int] = {}

    def add(self, milliseconds: float) -> None:
        """Take one measurement; values outside 0.05 ms to 60 s count as the nearest end."""
        self.count += 1
        self.total += milliseconds
        self.maximum = max(self.maximum, milliseconds)
        bucket = round(log(min(max(milliseconds, _LOWEST), _HIGHEST) / _LOWEST) / _RATIO)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def average(self) -> float | None:
        """The arithmetic mean in milliseconds, None without measurements."""
        return self.total / self.count if self.count else None

    def percentile(self, fraction: float) -> float | None:
        """The value (milliseconds) that this fraction (0 to 1) of the measurements does not exceed."""
        wanted = max(1, ceil(self.count * fraction))
        passed = 0
        for bucket in sorted(self._buckets):
            passed += self._buckets[bucket]
            if passed >= wanted:
                return min(_LOWEST * exp(bucket * _RATIO), self.maximum)
        return None
