"""Latency percentiles in bounded memory. Law of this file: pure arithmetic.

A histogram with logarithmic buckets, as in HdrHistogram and DDSketch: with a ratio of 1.05 between bucket edges any
percentile is within 2.5 % of a measured value, however many values there were. Only the stretch from the lowest to the
highest bucket in use is kept, four bytes each: at most 290 from 0.05 ms to 60 s, some 60 for an ordinary connection.
"""

from __future__ import annotations

from array import array
from math import ceil, exp, log
from typing import Final

_RATIO: Final = log(1.05)
_LOWEST: Final = 0.05
_HIGHEST: Final = 60_000.0


class LatencyDigest:
    """Counts, average, maximum and percentiles of round trips in milliseconds."""

    __slots__ = ("_counts", "_lowest", "count", "maximum", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.maximum = 0.0
        self._lowest = 0
        self._counts = array("I")

    def add(self, milliseconds: float) -> None:
        """Take one measurement; values outside 0.05 ms to 60 s count as the nearest end."""
        self.count += 1
        self.total += milliseconds
        self.maximum = max(self.maximum, milliseconds)
        bucket = round(log(min(max(milliseconds, _LOWEST), _HIGHEST) / _LOWEST) / _RATIO)
        self._counts[self._place_of(bucket)] += 1

    def _place_of(self, bucket: int) -> int:
        """Where a bucket is counted; room for it is made where there is none yet."""
        counts = self._counts
        if not counts:
            self._lowest = bucket
        place = bucket - self._lowest
        if place < 0:
            counts[:0] = _zeros(-place)
            self._lowest, place = bucket, 0
        elif place >= len(counts):
            counts.extend(_zeros(place + 1 - len(counts)))
        return place

    def average(self) -> float | None:
        """The arithmetic mean in milliseconds, None without measurements."""
        return self.total / self.count if self.count else None

    def percentile(self, fraction: float) -> float | None:
        """The value (milliseconds) that this fraction (0 to 1) of the measurements does not exceed."""
        wanted = max(1, ceil(self.count * fraction))
        passed = 0
        for bucket, count in enumerate(self._counts, start=self._lowest):
            passed += count
            if passed >= wanted:
                return min(_LOWEST * exp(bucket * _RATIO), self.maximum)
        return None


def _zeros(count: int) -> array[int]:
    return array("I", bytes(count * array("I").itemsize))
