"""The alert rules: each fires on its condition and is silent just below, by promtool's own judgement."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from collabd import figures
from tests.operations.programs import program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "packaging" / "prometheus-alerts.yml"
TEXT = RULES.read_text()
OPERATIONS = ROOT / "docs" / "operations.md"
NAMES = re.findall(r"alert: (\w+)", TEXT)
MINUTES = 40

WS = "orchestrator_websocket"
LATENCY = f"{WS}_message_latency"
Series = dict[str, str]


def steady(name: str, per_minute: float, labels: str = "") -> Series:
    """A counter that grows evenly."""
    return {f"{name}{{{labels}}}": f"0+{per_minute}x{MINUTES}"}


def level(name: str, value: float, labels: str = "") -> Series:
    """A gauge that stays."""
    return {f"{name}{{{labels}}}": f"{value}+0x{MINUTES}"}


def measured(name: str, quick: int, slow: int, bound: float) -> Series:
    """A histogram: so many measurements a minute at or below a bound, and so many in the bucket above it."""
    return {
        f'{name}_bucket{{le="{bound}"}}': f"0+{quick}x{MINUTES}",
        f'{name}_bucket{{le="{bound * 10}"}}': f"0+{quick + slow}x{MINUTES}",
        f'{name}_bucket{{le="+Inf"}}': f"0+{quick + slow}x{MINUTES}",
    }


def fallbacks(share: float) -> Series:
    """So much of a hundred sessions a minute begin with polling."""
    return {
        **steady(f"{WS}_fallback_http_total", 100 * share),
        **steady(f"{WS}_connections_total", 100 * (1 - share), 'transport="websocket"'),
        **steady(f"{WS}_connections_total", 100 * share, 'transport="polling"'),
    }


def deliveries(failed: float) -> Series:
    """So much of a million deliveries a minute fails."""
    return {
        **steady(f"{WS}_message_failures_total", 1e6 * failed),
        **steady(f"{WS}_messages_out_total", 1e6 * (1 - failed)),
    }


# What makes each alert fire, and what lies just below.
CASES: dict[str, tuple[Series, Series]] = {
    "CollabdReconnectionsHigh": (steady(f"{WS}_reconnections_total", 10.1), steady(f"{WS}_reconnections_total", 9.9)),
    "CollabdLatencyHigh": (measured(LATENCY, 949, 51, 0.5), measured(LATENCY, 951, 49, 0.5)),
    "CollabdLatencyCritical": (measured(LATENCY, 949, 51, 1.0), measured(LATENCY, 951, 49, 1.0)),
    "CollabdFallbackFrequent": (fallbacks(0.011), fallbacks(0.009)),
    "CollabdFailuresHigh": (deliveries(0.0011), deliveries(0.0009)),
    "CollabdDeliveryPoor": (deliveries(0.051), deliveries(0.049)),
    "CollabdDeliveryCritical": (deliveries(0.201), deliveries(0.199)),
    "CollabdClientQueuesLong": (level(f"{WS}_queued_client_messages", 51), level(f"{WS}_queued_client_messages", 50)),
    "CollabdCommitsSlow": (
        measured("orchestrator_commit_latency_seconds", 989, 11, 0.25),
        measured("orchestrator_commit_latency_seconds", 991, 9, 0.25),
    ),
    "CollabdEventLoopLate": (
        measured("orchestrator_event_loop_lag_seconds", 989, 11, 0.1),
        measured("orchestrator_event_loop_lag_seconds", 991, 9, 0.1),
    ),
    "CollabdStorageRefused": (level("orchestrator_storage_available", 0), level("orchestrator_storage_available", 1)),
    "CollabdWalLong": (level("orchestrator_wal_bytes", 67108865), level("orchestrator_wal_bytes", 67108864)),
    "CollabdNoScrape": (level("up", 0, 'job="collabd"'), level("up", 1, 'job="collabd"')),
}


def unit_test(series: Series, alert: str, *, fires: bool, minutes: int) -> dict[str, Any]:
    """One of promtool's tests: whether an alert is firing at a minute, asked of the series that Prometheus writes."""
    query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    return {
        "interval": "1m",
        "name": f"{alert} {'fires' if fires else 'is silent'}",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": query, "eval_time": f"{minutes}m", "exp_samples": [{"labels": "{}", "value": 1}] if fires else []}
        ],
    }


def judged(tests: list[dict[str, Any]], directory: Path) -> subprocess.CompletedProcess[str]:
    """What promtool says of some tests."""
    file = directory / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    return subprocess.run([program("promtool"), "test", "rules", str(file)], capture_output=True, text=True)


def test_promtool_accepts_the_rules() -> None:
    """Syntax and expressions."""
    checked = subprocess.run([program("promtool"), "check", "rules", str(RULES)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(NAMES)} rules found" in checked.stdout


def test_every_alert_has_its_case() -> None:
    """A new alert comes with what makes it fire."""
    assert list(CASES) == NAMES


def test_each_alert_fires_on_its_condition_and_is_silent_just_below(tmp_path: Path) -> None:
    """After half an hour of either."""
    tests = [
        unit_test(series, alert, fires=fires, minutes=30)
        for alert, (above, below) in CASES.items()
        for series, fires in ((above, True), (below, False))
    ]
    result = judged(tests, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    """The test above is worth what promtool notices."""
    above, _ = CASES["CollabdReconnectionsHigh"]
    assert judged([unit_test(above, "CollabdReconnectionsHigh", fires=False, minutes=30)], tmp_path).returncode != 0


def test_no_alert_fires_at_once(tmp_path: Path) -> None:
    """A condition has to last a minute or more: a deploy is no incident."""
    tests = [unit_test(above, alert, fires=False, minutes=0) for alert, (above, _) in CASES.items()]
    assert judged(tests, tmp_path).returncode == 0


def test_a_server_that_vanished_from_the_scrapes_is_noticed(tmp_path: Path) -> None:
    """No `up` at all is as bad as `up` at 0."""
    other = level("up", 1, 'job="another"')
    assert judged([unit_test(other, "CollabdNoScrape", fires=True, minutes=10)], tmp_path).returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_says_what_to_do_and_where_to_read_on(name: str) -> None:
    """Summary, description, severity, and a section of docs/operations.md that exists."""
    rule = TEXT.split(f"alert: {name}\n", 1)[1].split("- alert:", 1)[0]
    for part in ("summary:", "description:", "for:"):
        assert part in rule
    assert re.search(r"severity: (warning|critical) ", rule)
    link = re.search(r"runbook_url: docs/operations\.md#([a-z-]+)$", rule.rstrip(), re.MULTILINE)
    assert link is not None
    assert f"### {link[1]}\n" in OPERATIONS.read_text()


def test_alerts_name_only_figures_that_exist() -> None:
    """A renamed figure would silence its alert for ever."""
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"orchestrator_\w+", TEXT)}
    assert named <= set(figures.BY_NAME)


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("CollabdReconnectionsHigh", figures.RECONNECTIONS_PER_MINUTE),
        ("CollabdLatencyHigh", figures.LATENCY_S),
        ("CollabdLatencyCritical", figures.LATENCY_CRITICAL_S),
        ("CollabdFallbackFrequent", figures.FALLBACK_SHARE),
        ("CollabdFailuresHigh", figures.FAILURE_SHARE),
        ("CollabdDeliveryPoor", figures.DELIVERY_RATE),
        ("CollabdDeliveryCritical", figures.DELIVERY_RATE_CRITICAL),
        ("CollabdClientQueuesLong", figures.QUEUED_CLIENT_MESSAGES),
        ("CollabdCommitsSlow", figures.COMMIT_S),
        ("CollabdEventLoopLate", figures.LOOP_LAG_S),
        ("CollabdWalLong", figures.WAL_BYTES),
    ],
)
def test_alerts_and_doctor_have_the_same_thresholds(name: str, threshold: float) -> None:
    """Two opinions of what is too much would be one too many."""
    rule = TEXT.split(f"alert: {name}\n", 1)[1].split("for:", 1)[0]
    assert float(re.findall(r"[<>] ([\d.]+)$", rule.rstrip(), re.MULTILINE)[-1]) == threshold
