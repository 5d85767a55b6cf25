"""A token bucket: so many per second on average, so many at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.protocol.rate import TokenBucket

steps = st.lists(st.floats(0, 3), max_size=40)


@given(st.integers(1, 50), st.integers(1, 10), steps)
def test_never_more_than_burst_and_rate_allow(rate: int, burst: int, pauses: list[float]) -> None:
    """In any stretch of time, whatever the pattern of asking."""
    bucket = TokenBucket(rate, burst, 100.0)
    now, taken = 100.0, []
    for pause in pauses:
        now += pause
        if not bucket.take(now):
            taken.append(now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - start) * rate + 1e-6


@given(st.integers(1, 50), st.integers(1, 10), steps)
def test_who_waits_as_told_is_let_through(rate: int, burst: int, pauses: list[float]) -> None:
    """The answer is when to come again, and no sooner helps."""
    bucket = TokenBucket(rate, burst, 0.0)
    now = 0.0
    for pause in pauses:
        now += pause
        seconds = bucket.take(now)
        if seconds:
            assert 0 < seconds <= 1 / rate
            assert bucket.take(now + seconds / 2) > 0
            now += seconds + 1e-6
            assert bucket.take(now) == 0


def test_refusals_cost_nothing() -> None:
    """Asking again and again does not push the moment away."""
    bucket = TokenBucket(1, 1, 0.0)
    assert bucket.take(0.0) == 0
    for hundredth in range(1, 100):
        assert bucket.take(hundredth / 100) == pytest.approx(1 - hundredth / 100)
    assert bucket.take(1.0) == 0


def test_a_long_silence_is_worth_one_burst() -> None:
    """Not more, however long."""
    bucket = TokenBucket(10, 3, 0.0)
    assert [bool(bucket.take(1e6)) for _ in range(4)] == [False, False, False, True]


def test_a_rate_of_zero_allows_everything() -> None:
    """It is how the limit is switched off."""
    bucket = TokenBucket(0, 1, 0.0)
    assert not any(bucket.take(0.0) for _ in range(1000))


def test_a_burst_of_zero_still_lets_one_through() -> None:
    """Else nothing could ever be sent."""
    bucket = TokenBucket(1, 0, 0.0)
    assert [bool(bucket.take(0.0)), bool(bucket.take(0.0)), bool(bucket.take(1.0))] == [False, True, False]
