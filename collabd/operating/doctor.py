"""`collabd doctor`: what the server finds wrong with itself, and what only somebody outside can see.

Law of this file: from answers to one report (a plain dict, as --json prints it) and from the report to words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from collabd.operating.server import ServerUnreachable
from collabd.operating.upgrade import Attempt, try_upgrade

if TYPE_CHECKING:
    from collabd.operating.server import Server

HEALTHY: Final = "HEALTHY"
DEGRADED: Final = "DEGRADED"
UNHEALTHY: Final = "UNHEALTHY"
EXIT_STATUS: Final = {HEALTHY: 0, DEGRADED: 3, UNHEALTHY: 4}
"""1 and 2 keep their meaning: it could not be examined; wrong usage or configuration."""

_WIDTH: Final = 100


def examine(server: Server, public_url: str | None, window_s: float) -> dict[str, Any]:
    """Everything found. A server that does not answer is a finding; other errors are raised (CollabdError)."""
    try:
        report = server.diagnosis(window_s)
    except ServerUnreachable as error:
        return _unreachable(server.url, str(error))
    attempt = try_upgrade(public_url or report.get("publicUrl") or server.url)
    report["url"] = server.url
    report["upgrade"] = {"url": attempt.url, "works": attempt.works, "why": attempt.why}
    if not attempt.works:
        report["findings"].append(_no_upgrade(attempt))
        if report["status"] == HEALTHY:
            report["status"] = DEGRADED
    return report


def in_words(report: dict[str, Any]) -> str:
    """The report for people."""
    return "\n".join(_lines(report))


def _unreachable(url: str, why: str) -> dict[str, Any]:
    finding = {
        "severity": UNHEALTHY,
        "topic": "no-scrape",
        "what": "The server does not answer.",
        "why": why,
        "try": [
            "See whether it runs (systemctl status collabd) and what its log says (journalctl -u collabd).",
            "See whether the URL is right: --url, or server.bind in the configuration.",
        ],
    }
    return {"status": UNHEALTHY, "url": url, "figures": {}, "findings": [finding], "upgrade": None}


def _no_upgrade(attempt: Attempt) -> dict[str, Any]:
    return {
        "severity": DEGRADED,
        "topic": "fallback-frequent",
        "what": f"A WebSocket cannot be opened through {attempt.url}: every client there polls over HTTP instead.",
        "why": attempt.why,
        "try": list(attempt.try_),
    }


def _lines(report: dict[str, Any]) -> Iterator[str]:
    findings = report["findings"]
    yield f"{report['status']}: {report['url']}"
    if report["figures"]:
        yield from _wrapped(figures_in_words(report), "  ", "  ")
    if report["upgrade"] and report["upgrade"]["works"]:
        yield from _wrapped(f"WebSocket through {report['upgrade']['url']}: {report['upgrade']['why']}", "  ", "  ")
    for finding in findings:
        yield ""
        yield from _wrapped(finding["what"], f"{finding['severity']:<9} ", " " * 10)
        yield from _wrapped(finding["why"], "    why   ", " " * 10)
        for remedy in finding["try"]:
            yield from _wrapped(remedy, "    try   ", " " * 10)
        yield f"    more  docs/operations.md#{finding['topic']}"
    if not findings:
        yield "  Nothing to complain about."


def figures_in_words(report: dict[str, Any]) -> str:
    """The figures in one sentence each."""
    figures = report["figures"]
    p95 = figures["p95LatencyMs"]
    delivery = figures["messageDeliveryRate"]
    return (
        f"In the last {round(report['windowMs'] / 1000)} s: {figures['activeConnections']} sessions "
        f"({figures['pollingSessions']} polling) in {figures['activeRuns']} runs, quality "
        f"{figures['averageQualityScore']:g} of 100; latency p95 {'unmeasured' if p95 is None else f'{p95:g} ms'}, "
        f"{figures['messagesInPerSecond']:g} events/s in, {figures['messagesOutPerSecond']:g} out, "
        f"{'nothing due' if delivery is None else f'{delivery * 100:g} % delivered'}; "
        f"{figures['reconnectionsPerMinute']:g} reconnections a minute; commits p99 {_ms(figures['p99CommitMs'])}, "
        f"event loop late by {_ms(figures['p99EventLoopLagMs'])} at p99."
    )


def _ms(value: float | None) -> str:
    return "unmeasured" if value is None else f"{value:g} ms"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
