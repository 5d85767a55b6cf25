"""Turns measured rounds into results.json, tables in Markdown and the figures of docs/performance.md and README.md.

Law: arithmetic and text only; measures nothing.
"""

import json
import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.paths import DOCUMENT, README, RESULTS_JSON, RESULTS_TABLE
from benchmarks.workloads import FAST, PER_CPU, WORKLOADS, Goal, Workload

IN_README = (
    "room of 100, 32 outstanding, 32 writers",
    "critical events, 64 writers in 8 runs, 32 outstanding each",
    "5,000 clients in 100 runs connect, and idle",
    "2,000 in one run cut, 100 events behind, all resume",
    "idle daemon; then 1,000 idle clients",
)
"""Titles of the workloads whose goals README.md shows, all of each."""

# workload → server → figure → one value a round
Results = dict[str, dict[str, dict[str, list[float]]]]


@dataclass(frozen=True)
class Verdict:
    """A goal held against what was measured. `value` is the median over rounds, `low` and `high` the spread."""

    workload: Workload
    goal: Goal
    value: float
    low: float
    high: float

    @property
    def is_met(self) -> bool:
        """Whether the median keeps the bound."""
        return self.value <= self.goal.limit if self.goal.at_most else self.value >= self.goal.limit


def machine() -> dict[str, Any]:
    """The machine's kind, without its name: processor, cores, memory in GiB, kernel, Python."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_GiB": round(memory, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def goal_values(goal: Goal, servers: dict[str, dict[str, list[float]]]) -> list[float]:
    """One value a round: the figure, or its ratio to the peer's of the same round."""
    mine = servers.get("collabd", {}).get(goal.figure, [])
    if goal.against is None:
        return mine
    theirs = servers.get(goal.against, {}).get(goal.figure, [])
    return [a / b for a, b in zip(mine, theirs, strict=False)]


def verdicts(results: Results) -> Iterable[Verdict]:
    """Every goal that the results can be held against."""
    for name, servers in results.items():
        for goal in WORKLOADS[name].goals:
            if values := goal_values(goal, servers):
                yield Verdict(WORKLOADS[name], goal, statistics.median(values), min(values), max(values))


def number(value: float) -> str:
    """A figure with about three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: list[float]) -> str:
    """Median, and the range over the rounds."""
    if not values:
        return "–"
    middle = number(statistics.median(values))
    return f"{middle} ({number(min(values))} – {number(max(values))})" if len(values) > 1 else middle


def goals_table(results: Results) -> str:
    """Goal by goal: what was reached."""
    lines = ["| workload | goal | measured: median (range) | reached |", "|---|---|---|---|"]
    for verdict in verdicts(results):
        text = f"{number(verdict.value)} ({number(verdict.low)} – {number(verdict.high)})"
        times = " ×" if verdict.goal.against else ""
        reached = "yes" if verdict.is_met else "**no**"
        lines.append(f"| {verdict.workload.title} | {verdict.goal.text} | {text}{times} | {reached} |")
    return "\n".join(lines)


def chosen(goals: str) -> str:
    """The rows of the table of goals that README.md shows, those that were missed among them."""
    beginnings = ("| workload", "|---", *(f"| {what} | " for what in IN_README))
    return "\n".join(line for line in goals.splitlines() if line.startswith(beginnings))


def figures_table(results: Results, names: Iterable[str]) -> str:
    """All figures of these workloads, a row for each workload and server."""
    lines = ["| workload | server | figures: median (range) |", "|---|---|---|"]
    for name in names:
        for server, figures in results[name].items():
            text = "; ".join(f"{figure} {spread(values)}" for figure, values in figures.items() if any(values))
            lines.append(f"| {WORKLOADS[name].title} | {server} | {text} |")
    return "\n".join(lines)


def growth_table(results: Results) -> str:
    """µs of server CPU for one delivery, by size of run, number of runs and size of message."""
    lines = ["| | collabd | uWebSockets |", "|---|---|---|"]
    for workload in WORKLOADS.values():
        if workload.family and workload.name in results:
            servers = results[workload.name]
            costs = [
                spread([1e6 / rate for rate in servers.get(server, {}).get(PER_CPU, [])]) for server in FAST
            ]  # fmt: skip
            lines.append(f"| {workload.title} | {' | '.join(costs)} |")
    return "\n".join(lines)


def conditions(about: dict[str, Any], missing: dict[str, str]) -> str:
    """Where and when it was measured, the machine's own floor, and what is missing."""
    here = about["machine"]
    sends = ", ".join(f"{int(size):,} bytes {number(cost)} µs" for size, cost in about["send_us_by_bytes"].items())
    parts = [
        f"{here['processor']}, {here['cores']} cores, {here['memory_GiB']} GiB, Linux {here['kernel']},"
        f" Python {here['python']}; {about['date']}, {about['rounds']} rounds of {about['seconds']:g} s, servers in"
        f" turns; load average before the run {about['load_average']:g}.",
        f"The floor: one `send` on loopback: {sends}; one fsync {number(about['fsync_ms'])} ms.",
    ]
    parts += [f"**MISSING: {what}**: {why}" for what, why in missing.items()]
    return "\n\n".join(parts)


def markdown(results: Results, about: dict[str, Any], missing: dict[str, str]) -> str:
    """The whole page of results."""
    parts = ["# Benchmark results", conditions(about, missing), "## Goals", goals_table(results)]
    parts += ["## Growth: µs of server CPU for one delivery", growth_table(results)]
    parts += ["## All figures", figures_table(results, results)]
    return "\n\n".join(parts) + "\n"


def fill(document: str, name: str, text: str) -> str:
    """The document with the part between `<!-- NAME -->` and `<!-- /NAME -->` replaced."""
    before, found, rest = document.partition(f"<!-- {name} -->")
    _, closed, after = rest.partition(f"<!-- /{name} -->")
    if not found or not closed:
        raise ValueError(f"no <!-- {name} --> … <!-- /{name} --> in the document")
    return f"{before}{found}\n\n{text}\n\n{closed}{after}"


def write(results: Results, about: dict[str, Any], missing: dict[str, str]) -> None:
    """Write results.json, then everything that is made from it."""
    document = {"about": about, "missing": missing, "workloads": results}
    RESULTS_JSON.write_text(json.dumps(rounded(document), indent=1, ensure_ascii=False) + "\n")
    render()


def render() -> None:
    """Make the table of results, and the tables inside docs/performance.md and README.md, anew from results.json."""
    document = json.loads(RESULTS_JSON.read_text())
    results, about, missing = document["workloads"], document["about"], document["missing"]
    RESULTS_TABLE.write_text(markdown(results, about, missing))
    text = DOCUMENT.read_text()
    text = fill(text, "conditions", conditions(about, missing))
    text = fill(text, "goals", goals_table(results))
    text = fill(text, "growth", growth_table(results))
    DOCUMENT.write_text(text)
    README.write_text(fill(README.read_text(), "performance", chosen(goals_table(results))))


def rounded(value: Any) -> Any:
    """The same document with floats cut to four digits that mean something."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value
