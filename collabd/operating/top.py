"""`collabd top`: runs and sessions in the terminal, the ones in trouble first.

Law of this file: from answers of the admin routes to one table; rich draws it. Names of users are text of strangers:
they are shown as text and never as markup.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collabd.operating.server import Server

WINDOW_S: Final = 60.0
MOST_RUNS: Final = 5
WIDE: Final = 134
"""Columns of a terminal in which everything has its place; in less, what matters least is left out."""

_COLOURS: Final = {"HEALTHY": "green", "NOTICE": "cyan", "DEGRADED": "yellow", "UNHEALTHY": "bold red"}
_TRANSPORTS: Final = {"websocket": "ws", "polling": "poll"}
_MOST_FINDINGS: Final = 3
_LEAST_HEIGHT: Final = 10
"""Lines for the head, one run and one session."""

Report = dict[str, Any]


def look(server: Server) -> Report:
    """One look at the server: `diagnosis`, `runs` and `sessions`, the worst first. Raises CollabdError."""
    sessions = sorted(server.sessions(), key=trouble, reverse=True)
    return {"url": server.url, "diagnosis": server.diagnosis(WINDOW_S), "runs": _runs(sessions), "sessions": sessions}


def trouble(session: Report) -> tuple[float, ...]:
    """How bad a session fares: by quality, then by what waits for it, then by its latency."""
    return (-session["connectionQuality"], session["queuedBytes"], session["p95LatencyMs"] or 0.0)


def _runs(sessions: list[Report]) -> list[Report]:
    """The runs of these sessions, the one with the worst session first."""
    runs: dict[str, list[Report]] = {}
    for session in sessions:
        runs.setdefault(session["runId"], []).append(session)
    return [_run(run_id, members) for run_id, members in runs.items()]


def _run(run_id: str, members: list[Report]) -> Report:
    """A run's figures; `members` are sorted by trouble, so the worst is the first."""
    return {
        "runId": run_id,
        "sessions": len(members),
        "users": len({session["userId"] for session in members}),
        "polling": sum(session["transport"] == "polling" for session in members),
        "worstStatus": members[0]["healthStatus"],
        "averageQuality": round(sum(session["connectionQuality"] for session in members) / len(members), 1),
        "worstP95LatencyMs": max((session["p95LatencyMs"] or 0.0 for session in members), default=0.0) or None,
        "queuedBytes": sum(session["queuedBytes"] for session in members),
        "messageFailures": sum(session["messageFailures"] for session in members),
    }


def draw(report: Report, width: int = WIDE, height: int | None = None, problem: str | None = None) -> RenderableType:
    """The look as something that rich prints, fitted to so many columns and lines (None: any number of lines).

    `problem` says why the look is an old one.
    """
    findings = report["diagnosis"]["findings"][:_MOST_FINDINGS]
    runs, sessions = report["runs"], report["sessions"]
    room = len(sessions)
    if height is not None:
        findings = findings[: max(0, height - _LEAST_HEIGHT)]
        left = height - len(findings) - _LEAST_HEIGHT + 2
        runs = runs[: max(1, min(MOST_RUNS, left // 3))]
        room = max(1, left - len(runs))
    parts: list[RenderableType] = [*_head(report, problem), *map(_finding, findings)]
    if sessions:
        is_wide = width >= WIDE
        parts += ["", _runs_table(runs, len(report["runs"]), is_wide)]
        parts += ["", _sessions_table(sessions[:room], len(sessions), is_wide)]
    else:
        parts += ["", Text("Nobody is there now.", style="dim")]
    return Group(*parts)


def _head(report: Report, problem: str | None) -> list[Text]:
    status, figures = report["diagnosis"]["status"], report["diagnosis"]["figures"]
    shown = (f"{status} ", _COLOURS[status]) if problem is None else ("NO ANSWER ", _COLOURS["UNHEALTHY"])
    first = Text.assemble(shown, (report["url"], "bold"))
    first.append(f"  {figures['activeConnections']} sessions in {figures['activeRuns']} runs")
    second = Text(
        f"quality {figures['averageQualityScore']:g}  p95 {_ms(figures['p95LatencyMs'])}"
        f"  in {figures['messagesInPerSecond']:.3g}/s  out {figures['messagesOutPerSecond']:.3g}/s"
        f"  back {figures['reconnectionsPerMinute']:.3g}/min  commits {_ms(figures['p99CommitMs'])}"
    )
    lines = [first, second]
    if problem is not None:
        lines[1] = Text(problem, style="bold red")
    return [_one_line(line) for line in lines]


def _finding(finding: Report) -> Text:
    return _one_line(Text.assemble((f"{finding['topic']} ", _COLOURS[finding["severity"]]), finding["what"]))


def _one_line(line: Text) -> Text:
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line


class _Column(NamedTuple):
    """A column: its name, and what it shows of a run or session."""

    name: str
    show: Callable[[Report], str | Text]
    wide_only: bool = False
    is_number: bool = True


def _table(title: str, columns: tuple[_Column, ...], rows: list[Report], is_wide: bool) -> Table:
    padding = (0, 2, 0, 0) if is_wide else (0, 1, 0, 0)
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=padding, header_style="dim")
    columns = tuple(column for column in columns if is_wide or not column.wide_only)
    for column in columns:
        table.add_column(column.name, justify="right" if column.is_number else "left", no_wrap=True)
    for row in rows:
        # As Text, since rich would read a plain string as markup.
        table.add_row(*(shown if isinstance(shown := column.show(row), Text) else Text(shown) for column in columns))
    return table


def _runs_table(runs: list[Report], total: int, is_wide: bool) -> Table:
    columns = (
        _Column("run", lambda run: run["runId"] if is_wide else run["runId"][:8], is_number=False),
        _Column("worst", lambda run: _status(run["worstStatus"]), is_number=False),
        _Column("sessions", lambda run: str(run["sessions"])),
        _Column("users", lambda run: str(run["users"])),
        _Column("polling", lambda run: str(run["polling"])),
        _Column("quality", lambda run: f"{run['averageQuality']:g}"),
        _Column("worst p95", lambda run: _ms(run["worstP95LatencyMs"])),
        _Column("queued", lambda run: _bytes(run["queuedBytes"])),
        _Column("failed", lambda run: str(run["messageFailures"])),
    )
    return _table(_count(len(runs), total, "run"), columns, runs, is_wide)


def _sessions_table(sessions: list[Report], total: int, is_wide: bool) -> Table:
    now = datetime.now(UTC)
    longest = 24 if is_wide else 16
    columns = (
        _Column("user", lambda session: _name(session["userId"], longest), is_number=False),
        _Column("run", lambda session: session["runId"][:8], is_number=False),
        _Column("session", lambda session: session["sessionId"], wide_only=True, is_number=False),
        _Column("by", lambda session: _TRANSPORTS.get(session["transport"], "?"), is_number=False),
        _Column("status", lambda session: _status(session["healthStatus"]), is_number=False),
        _Column("quality", lambda session: f"{session['connectionQuality']:g}"),
        _Column("p50", lambda session: _ms(session["p50LatencyMs"]), wide_only=True),
        _Column("p95", lambda session: _ms(session["p95LatencyMs"])),
        _Column("queued", lambda session: _bytes(session["queuedBytes"])),
        _Column("back", lambda session: str(session["reconnectionCount"])),
        _Column("failed", lambda session: str(session["messageFailures"])),
        _Column("age", lambda session: _age((now - datetime.fromisoformat(session["connectedAt"])).total_seconds())),
    )
    return _table(_count(len(sessions), total, "session"), columns, sessions, is_wide)


def _count(shown: int, total: int, what: str) -> str:
    return f"{total} {what}{'' if total == 1 else 's'}" + (f", the worst {shown}" if shown < total else "")


def _status(status: str) -> Text:
    return Text(status.lower(), style=_COLOURS[status])


def _name(user_id: str, longest: int) -> Text:
    """A user's name without characters that would move things about (bidirectional controls and the like)."""
    name = Text("".join(character if character.isprintable() else "�" for character in user_id))
    name.truncate(longest, overflow="ellipsis")
    return name


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def _bytes(size: int) -> str:
    return f"{size} B" if size < 1000 else f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


def _age(seconds: float) -> str:
    seconds = max(0, int(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"
