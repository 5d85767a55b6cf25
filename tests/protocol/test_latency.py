"""Percentiles in bounded memory, each within 2.5 % of a measured value."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.protocol.latency import LatencyDigest

round_trips = st.floats(0.05, 60_000)
fractions = st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0])


def digest_of(values: list[float]) -> LatencyDigest:
    """A digest that took these values."""
    digest = LatencyDigest()
    for value in values:
        digest.add(value)
    return digest


@given(st.lists(round_trips, min_size=1, max_size=200), fractions)
def test_a_percentile_is_within_two_and_a_half_percent(values: list[float], fraction: float) -> None:
    """Of the value at that rank in the sorted list."""
    exact = sorted(values)[max(1, ceil(len(values) * fraction)) - 1]
    assert digest_of(values).percentile(fraction) == pytest.approx(exact, rel=0.025)


@given(st.lists(round_trips, min_size=1, max_size=50))
def test_average_and_maximum_are_exact(values: list[float]) -> None:
    """Only the percentiles are rounded, and none of them is above the maximum."""
    digest = digest_of(values)
    assert digest.average() == pytest.approx(sum(values) / len(values))
    assert digest.maximum == max(values)
    assert digest.count == len(values)
    assert (digest.percentile(1.0) or 0) <= digest.maximum


@given(st.lists(round_trips, min_size=2, max_size=50), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_percentile_is_no_lower(values: list[float], one: float, other: float) -> None:
    """p95 ≤ p99."""
    digest = digest_of(values)
    assert (digest.percentile(min(one, other)) or 0) <= (digest.percentile(max(one, other)) or 0)


def test_nothing_measured_is_nothing_reported() -> None:
    """None, not 0: an unmeasured session is not a fast one."""
    digest = LatencyDigest()
    assert (digest.average(), digest.percentile(0.5), digest.count) == (None, None, 0)


@pytest.mark.parametrize(("value", "reported"), [(0.0, 0.0), (0.001, 0.001), (1e9, 60_000), (60_000, 60_000)])
def test_values_beyond_the_scale_count_as_its_nearest_end(value: float, reported: float) -> None:
    """A clock that stood still or a machine that slept does not break the figures."""
    assert digest_of([value]).percentile(0.5) == pytest.approx(reported, rel=0.025)


def test_memory_is_bounded_however_many_values_come() -> None:
    """A few hundred buckets for the whole scale."""
    digest = digest_of([0.05 * 1.01**step for step in range(1500)])
    assert len(digest._counts) <= 290
