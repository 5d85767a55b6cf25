"""The quality score of a connection (docs/protocol.md, "Admin"). Law of this file: tables and arithmetic, pure."""

from __future__ import annotations

from typing import Final

_LATENCY: Final = ((50, 100), (100, 90), (200, 75), (500, 50), (1000, 25))
_RECONNECTIONS: Final = ((0, 100), (1, 80), (2, 60), (5, 40), (10, 20))

HEALTHY: Final = "HEALTHY"
DEGRADED: Final = "DEGRADED"
UNHEALTHY: Final = "UNHEALTHY"


def latency_score(latency_ms: float | None) -> int:
    """10 to 100 for an average round trip in milliseconds; 100 while none was measured."""
    if latency_ms is None:
        return 100
    return next((score for limit, score in _LATENCY if latency_ms <= limit), 10)


def reconnection_score(count: int) -> int:
    """5 to 100 for the number of times that the session came back."""
    return next((score for limit, score in _RECONNECTIONS if count <= limit), 5)


def delivery_rate(sent: int, failures: int) -> float:
    """Events that reached the session, of those that should have: 0.0 to 1.0, and 1.0 with none."""
    return sent / (sent + failures) if sent + failures else 1.0


def quality_score(latency_ms: float | None, reconnections: int, rate: float) -> float:
    """0 to 100: 0.4 x latency + 0.3 x reconnections + 0.3 x delivery."""
    return 0.4 * latency_score(latency_ms) + 0.3 * reconnection_score(reconnections) + 0.3 * rate * 100


def health_status(score: float) -> str:
    """HEALTHY from 80, DEGRADED from 50, else UNHEALTHY."""
    return HEALTHY if score >= 80 else DEGRADED if score >= 50 else UNHEALTHY
