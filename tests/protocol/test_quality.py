"""The quality score, by the tables of docs/protocol.md."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.protocol.quality import delivery_rate, health_status, latency_score, quality_score, reconnection_score


@pytest.mark.parametrize(
    ("latency", "score"),
    [
        (None, 100), (0, 100), (50, 100), (50.1, 90), (100, 90), (100.1, 75), (200, 75), (200.1, 50),
        (500, 50), (500.1, 25), (1000, 25), (1000.1, 10), (1e9, 10),
    ],
)  # fmt: skip
def test_latency_scores(latency: float | None, score: int) -> None:
    """A border belongs to the better side; unmeasured is perfect."""
    assert latency_score(latency) == score


@pytest.mark.parametrize(
    ("count", "score"), [(0, 100), (1, 80), (2, 60), (3, 40), (5, 40), (6, 20), (10, 20), (11, 5), (1000, 5)]
)
def test_reconnection_scores(count: int, score: int) -> None:
    """One return costs 20 points."""
    assert reconnection_score(count) == score


@pytest.mark.parametrize(("sent", "failures", "rate"), [(0, 0, 1.0), (10, 0, 1.0), (9, 1, 0.9), (0, 5, 0.0)])
def test_delivery_rate(sent: int, failures: int, rate: float) -> None:
    """With nothing to deliver nothing failed."""
    assert delivery_rate(sent, failures) == rate


@pytest.mark.parametrize(
    ("latency", "reconnections", "rate", "score", "status"),
    [
        (20, 0, 1.0, 100, "HEALTHY"),
        (None, 0, 1.0, 100, "HEALTHY"),
        (500, 0, 1.0, 80, "HEALTHY"),
        (500, 1, 1.0, 74, "DEGRADED"),
        (2000, 11, 1.0, 35.5, "UNHEALTHY"),
        (2000, 11, 0.0, 5.5, "UNHEALTHY"),
    ],
)
def test_the_score_weighs_latency_reconnections_and_delivery(
    latency: float | None, reconnections: int, rate: float, score: float, status: str
) -> None:
    """0.4, 0.3 and 0.3."""
    assert quality_score(latency, reconnections, rate) == pytest.approx(score)
    assert health_status(quality_score(latency, reconnections, rate)) == status


@pytest.mark.parametrize(
    ("score", "status"), [(100, "HEALTHY"), (80, "HEALTHY"), (79.9, "DEGRADED"), (50, "DEGRADED"), (49.9, "UNHEALTHY")]
)
def test_health_begins_at_80_and_50(score: float, status: str) -> None:
    """The borders belong to the better side."""
    assert health_status(score) == status


@given(st.none() | st.floats(0, 1e6), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_any_score_is_between_0_and_100(latency: float | None, reconnections: int, sent: int, failures: int) -> None:
    """And more failures never raise it."""
    score = quality_score(latency, reconnections, delivery_rate(sent, failures))
    worse = quality_score(latency, reconnections + 1, delivery_rate(sent, failures + 1))
    assert 0 <= worse <= score <= 100.0000001
