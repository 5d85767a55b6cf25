"""`collabd top`: trouble first, strangers' names as text, and room for what there is room for."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from collabd.cli import cli
from collabd.operating.top import Report, draw, look
from tests.operations.test_doctor import FINDING, diagnosis
from tests.support.daemon import joined, receive, running_daemon

RUNS = [f"{number}f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d" for number in range(9)]


def session(user: str = "ann", quality: float = 100, queued: int = 0, p95: float | None = 5.0, run: int = 0) -> Report:
    """One session's figures as the admin route gives them."""
    status = "HEALTHY" if quality >= 80 else "DEGRADED" if quality >= 50 else "UNHEALTHY"
    return {
        "sessionId": f"{len(user):03}Cyn2LQbXhJDmHRZ4rUKd_x",
        "userId": user,
        "runId": RUNS[run],
        "connectedAt": "2026-01-01T00:00:00.000Z",
        "reconnectionCount": 1,
        "messageFailures": 2,
        "p50LatencyMs": p95,
        "p95LatencyMs": p95,
        "connectionQuality": quality,
        "healthStatus": status,
        "queuedBytes": queued,
        "transport": "websocket",
    }


class Told:
    """A server that tells what a test wants."""

    url = "http://127.0.0.1:8080"

    def __init__(self, *sessions: Report, findings: tuple[dict[str, Any], ...] = ()) -> None:
        self._sessions = list(sessions)
        self._diagnosis = diagnosis("UNHEALTHY" if findings else "HEALTHY", *findings)

    def sessions(self) -> list[Report]:
        """Server.sessions."""
        return self._sessions

    def diagnosis(self, window_s: float) -> Report:
        """Server.diagnosis."""
        return self._diagnosis


def drawn(told: Told, width: int = 200, height: int | None = None, problem: str | None = None) -> str:
    """The screen as text."""
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=False)
    console.print(draw(look(told), width, height, problem))  # type: ignore[arg-type]
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_those_in_trouble_come_first() -> None:
    """By quality, then by what waits, then by latency; and so do their runs."""
    told = Told(
        session("fine", 100, p95=None, run=0),
        session("slow", 100, p95=900, run=1),
        session("backlogged", 100, queued=5, run=2),
        session("worst", 30, run=3),
    )
    report = look(told)  # type: ignore[arg-type]
    assert [found["userId"] for found in report["sessions"]] == ["worst", "backlogged", "slow", "fine"]
    assert [run["runId"] for run in report["runs"]] == [RUNS[3], RUNS[2], RUNS[1], RUNS[0]]
    assert report["runs"][0]["worstStatus"] == "UNHEALTHY"
    text = drawn(told)
    places = [text.index(user) for user in ("worst  ", "backlogged", "slow", "fine")]
    assert places == sorted(places)


def test_a_run_adds_up_its_sessions() -> None:
    """Counts, the average and the worst."""
    sessions = [session("ann", 100, 10, 5.0), session("ann", 90, 20, None), session("bob", 50, 0, 700.0)]
    (run,) = look(Told(*sessions))["runs"]  # type: ignore[arg-type]
    assert (run["sessions"], run["users"], run["polling"], run["queuedBytes"], run["messageFailures"]) == (
        3,
        2,
        0,
        30,
        6,
    )
    assert (run["averageQuality"], run["worstP95LatencyMs"], run["worstStatus"]) == (80, 700, "DEGRADED")


@pytest.mark.parametrize(
    "name", ["[bold red]x[/]", "[/]", "[link=http://x]y", "日本語の名前", "\u202egnp.exe", "🙂" * 60]
)
def test_a_name_is_shown_as_text(name: str) -> None:
    """Markup of a stranger does nothing, and nothing turns the line around."""
    text = drawn(Told(session(name)))
    if name.isprintable() and len(name) < 20:
        assert name in text
    assert "\u202e" not in text


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=255), st.floats(0, 100), st.integers(0, 10**9)), max_size=15),
    st.integers(80, 220),
    st.integers(10, 60),
    st.booleans(),
)
def test_it_fits_the_terminal(
    people: list[tuple[str, float, int]], width: int, height: int, with_findings: bool
) -> None:
    """No line is longer, and there are no more lines than there is room for, whoever is there."""
    sessions = [session(name, quality, queued, run=queued % 9) for name, quality, queued in people]
    text = drawn(Told(*sessions, findings=(FINDING,) * 3 if with_findings else ()), width, height)
    lines = text.split("\n")[:-1]
    assert len(lines) <= height
    assert max(cell_len(line) for line in lines) <= width


def test_eighty_columns_show_what_matters_most() -> None:
    """Whole, not cut to letters."""
    text = drawn(Told(session("ann", 72, 123_456, 640.0)), width=80)
    for word in ("quality", "worst p95", "queued", "failed", "degraded", "640 ms", "123 kB"):
        assert word in text
    assert "…" not in text


def test_findings_and_old_figures_are_said_at_the_top() -> None:
    """What is wrong comes before who suffers."""
    text = drawn(Told(session(), findings=(FINDING,)), problem="it does not answer (the figures below are old)")
    assert "storage-refused The disk refuses writes." in text
    assert text.startswith("NO ANSWER")
    assert text.index("figures below are old") < text.index("1 run")


def test_nobody_there_is_said_in_words() -> None:
    """Not as an empty table."""
    assert "Nobody is there now." in drawn(Told())


@pytest.mark.e2e
async def test_top_shows_a_real_server_once_where_there_is_no_terminal(tmp_path: Path) -> None:
    """And as JSON for scripts."""
    with running_daemon(tmp_path / "data") as daemon:
        async with joined(daemon, RUNS[3], "ann") as socket:
            await receive(socket)
            runner = CliRunner()
            shown = runner.invoke(cli, ["top", "--url", daemon.url])
            assert shown.exit_code == 0, shown.output
            assert f"HEALTHY {daemon.url}" in shown.output
            assert RUNS[3] in shown.output
            report = json.loads(runner.invoke(cli, ["top", "--url", daemon.url, "--json"]).output)
    assert set(report) == {"url", "diagnosis", "runs", "sessions"}
    assert (report["sessions"][0]["userId"], report["runs"][0]["runId"]) == ("ann", RUNS[3])
