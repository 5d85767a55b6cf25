"""The doctor's rules: each condition is named at its threshold and not below, with a reason and a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from collabd import figures
from collabd.hub.diagnosis import Finding, Server, diagnose, verdict
from collabd.hub.history import Moment, Window, moment
from collabd.hub.overview import Overview
from collabd.metrics import Counters

CALM = Overview(
    transports={"websocket": 10, "polling": 0},
    statuses={"HEALTHY": 10, "DEGRADED": 0, "UNHEALTHY": 0},
    runs=1,
    quality=100.0,
    delivery_rate=1.0,
    slow_sessions=0,
    queued_messages=0,
    outbox_bytes=0,
    backlogged_sessions=0,
)
SERVER = Server(10, 1 << 20, 10_000, "", None, 0, False, 100.0)


def found(
    *, seconds: float = 60, overview: dict[str, Any] | None = None, server: dict[str, Any] | None = None, **counts: Any
) -> dict[str, Finding]:
    """Findings by topic, for a minute in which this was counted: lists are measurements, dicts are by label."""
    counters = Counters()
    before = moment(counters, None, at=0, steady=0)
    for name, value in counts.items():
        counter = getattr(counters, name)
        if isinstance(value, list):
            for measured in value:
                counter.observe(measured)
        elif isinstance(value, dict):
            counter.update(value)
        else:
            setattr(counters, name, value)
    after: Moment = moment(counters, None, at=60_000, steady=seconds)
    view = CALM._replace(**(overview or {}))
    findings = diagnose(Window(before, after), view, SERVER._replace(**(server or {})))
    return {finding.topic: finding for finding in findings}


def test_a_calm_server_is_healthy() -> None:
    """Ordinary figures find nothing."""
    findings = found(
        connections={"websocket": 200, "polling": 2},
        fallbacks=2,
        reconnections=10,
        messages_out=100_000,
        message_failures=100,
        latency=[0.02] * 50,
        commit_latency=[0.004] * 50,
        loop_lag=[0.001] * 600,
    )
    assert findings == {}
    assert verdict([]) == "HEALTHY"


@pytest.mark.parametrize(
    ("topic", "severity", "at_threshold", "above"),
    [
        ("reconnections-high", "DEGRADED", {"reconnections": 10}, {"reconnections": 11}),
        ("latency-high", "DEGRADED", {"latency": [0.4] * 100}, {"latency": [0.4] * 90 + [0.6] * 10}),
        ("latency-high", "UNHEALTHY", {}, {"latency": [0.4] * 90 + [1.5] * 10}),
        (
            "fallback-frequent",
            "DEGRADED",
            {"fallbacks": 5, "connections": {"websocket": 495, "polling": 5}},
            {"fallbacks": 6, "connections": {"websocket": 494, "polling": 6}},
        ),
        (
            "failures-high",
            "DEGRADED",
            {"message_failures": 1, "messages_out": 999},
            {"message_failures": 2, "messages_out": 998},
        ),
        (
            "delivery-poor",
            "DEGRADED",
            {"message_failures": 50, "messages_out": 950},
            {"message_failures": 51, "messages_out": 949},
        ),
        (
            "delivery-poor",
            "UNHEALTHY",
            {},
            {"message_failures": 201, "messages_out": 799},
        ),
        (
            "client-queues-long",
            "DEGRADED",
            {"overview": {"queued_messages": 50}},
            {"overview": {"queued_messages": 51}},
        ),
        ("commits-slow", "DEGRADED", {"commit_latency": [0.25] * 10}, {"commit_latency": [0.3] * 10}),
        ("event-loop-late", "DEGRADED", {"loop_lag": [0.1] * 10}, {"loop_lag": [0.2] * 10}),
        ("quality-low", "DEGRADED", {"overview": {"quality": 80.0}}, {"overview": {"quality": 79.9}}),
        ("quality-low", "UNHEALTHY", {}, {"overview": {"quality": 49.0}}),
        (
            "nearly-full",
            "DEGRADED",
            {"server": {"connection_limit": 12}},
            {"server": {"connection_limit": 11}},
        ),
        (
            "storage-refused",
            "UNHEALTHY",
            {},
            {"server": {"storage_error": "disk full"}},
        ),
        (
            "wal-long",
            "DEGRADED",
            {"server": {"wal_bytes": 64 << 20}},
            {"server": {"wal_bytes": (64 << 20) + 1}},
        ),
    ],
)
def test_each_condition_is_found_above_its_threshold_only(
    topic: str, severity: str, at_threshold: dict[str, Any], above: dict[str, Any]
) -> None:
    """At the threshold all is well; above it there is a finding with figures and something to try."""
    assert topic not in found(**at_threshold)
    finding = found(**above)[topic]
    assert finding.severity == severity
    assert finding.what.endswith(".")
    assert finding.why
    assert finding.try_


def test_reconnections_are_explained_by_how_connections_ended() -> None:
    """What ended most comes first, and the heartbeat is set against a proxy's idle timeout."""
    finding = found(reconnections=40, disconnections={"abnormal": 30, "4008": 7, "1000": 3})["reconnections-high"]
    assert "abnormal (30), 4008 (7), 1000 (3)" in finding.why
    assert "idle timeout" in finding.try_[0]
    assert "10 s here" in finding.try_[0]
    assert "delivery-poor" in finding.try_[1]


def test_a_slow_heartbeat_is_a_notice_that_makes_nothing_worse() -> None:
    """It explains cuts before they come."""
    findings = found(server={"heartbeat_interval_s": 60.0})
    assert [finding.severity for finding in findings.values()] == ["NOTICE"]
    assert verdict(list(findings.values())) == "HEALTHY"


def test_latency_is_laid_where_it_comes_from() -> None:
    """The event loop, the disk, or the network, by the figures."""
    slow: dict[str, Any] = {"latency": [0.7] * 20}
    assert "event loop is late" in found(**slow, loop_lag=[0.3] * 9)["latency-high"].try_[0]
    assert "Commits take" in found(**slow, commit_latency=[0.6] * 9)["latency-high"].try_[0]
    few = found(**slow, overview={"slow_sessions": 1})["latency-high"].try_[0]
    many = found(**slow, overview={"slow_sessions": 9})["latency-high"].try_[0]
    assert "the network" in few
    assert "at those clients" in few
    assert "near the server" in many


def test_poor_delivery_names_sizes_slow_readers_and_the_database() -> None:
    """All causes that the figures show, and no other."""
    poor: dict[str, Any] = {"message_failures": 300, "messages_out": 700}
    finding = found(
        **poor,
        disconnections={"4008": 4, "abnormal": 2},
        commit_latency=[0.9],
        overview={"backlogged_sessions": 3, "outbox_bytes": 9000},
        server={"event_bytes": 40_000.0},
    )["delivery-poor"]
    text = " ".join(finding.try_)
    for cause in ("closed with 4008", "3 sessions have 9000 bytes", "40000 bytes", "commits-slow", "broke while"):
        assert cause in text
    assert "4008" not in " ".join(found(**poor)["delivery-poor"].try_)


def test_somebody_with_curl_is_no_sign_of_a_bad_network() -> None:
    """A handful of polls on a server with few sessions is how people try it out."""
    assert found(fallbacks=4, connections={"websocket": 1, "polling": 4}) == {}


def test_a_fallback_points_to_the_public_url() -> None:
    """Whether an upgrade works there at all is the first question."""
    finding = found(fallbacks=5, connections={"polling": 5}, server={"public_url": "https://runs.example/"})
    assert "--public-url https://runs.example/" in finding["fallback-frequent"].try_[0]


def test_the_worst_comes_first_and_decides() -> None:
    """An operator reads from the top."""
    findings = list(found(reconnections=100, server={"storage_error": "full", "heartbeat_interval_s": 90.0}).values())
    assert [finding.severity for finding in findings] == ["UNHEALTHY", "NOTICE"] or len(findings) == 3
    assert findings[0].topic == "storage-refused"
    assert verdict(findings) == "UNHEALTHY"


def test_thresholds_are_those_of_the_practice_list() -> None:
    """Changing one changes alerts and docs with it."""
    assert (figures.RECONNECTIONS_PER_MINUTE, figures.QUEUED_CLIENT_MESSAGES) == (10, 50)
    assert (figures.LATENCY_S, figures.LATENCY_CRITICAL_S) == (0.5, 1.0)
    assert (figures.FALLBACK_SHARE, figures.FAILURE_SHARE) == (0.01, 0.001)
    assert (figures.DELIVERY_RATE, figures.DELIVERY_RATE_CRITICAL) == (0.95, 0.80)
