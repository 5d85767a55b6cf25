"""The console: who is connected, how well, since when, and the means to step in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.daemon import Daemon, running_daemon
from tests.web.accessibility import violations
from tests.web.browsers import Person, soon
from tests.web.conftest import People
from tests.web.faults import Phoenix

pytestmark = pytest.mark.e2e


def console(people: People, url: str) -> Person:
    """Somebody at the console."""
    operator = people("operator", url=url)
    operator.page.goto(f"{url}/admin")
    return operator


def sessions(page: Page) -> Locator:
    """Rows of the table of sessions."""
    return page.locator("data-table[aria-label=Sessions] tr[data-row]")


def first_column(page: Page) -> list[str]:
    """Whose sessions are drawn, in order."""
    return sessions(page).locator(".open").all_text_contents()


def test_a_session_is_seen_explained_and_ended(people: People, daemon: Daemon, run_id: str) -> None:
    """Its figures stand in the table, its timeline in words; ended, its user is told why and may come back."""
    ann, bob = people("ann").enters(run_id), people("bob").enters(run_id)
    operator = console(people, daemon.url)
    page = operator.page
    row = sessions(page).filter(has_text="bob")
    expect(row).to_contain_text(run_id[:8])
    expect(row).to_contain_text("WebSocket")
    expect(page.locator(".verdict .word")).to_have_text(re.compile("Healthy|Degraded|Unhealthy"))  # of a busy machine
    row.locator(".open").click()
    expect(page.locator(".drawer .history")).to_contain_text("Joined over websocket")
    page.get_by_label("Reason, shown to the user").fill("maintenance <b>")
    page.get_by_role("button", name="End session").click()
    expect(page.locator(".toast")).to_have_text("The session of bob was ended.")
    expect(row).to_have_count(0)

    expect(bob.page.locator(".notice")).to_contain_text("removed from this run by an operator")
    expect(bob.page.get_by_role("button", name="Prune PM")).to_be_disabled()
    expect(ann.page.locator("run-feed .row", has_text="bob was removed by an operator")).to_be_visible()
    page.get_by_label("Also those who left").check()
    row.locator(".open").click()
    expect(page.locator(".drawer .history")).to_contain_text("Ended by an operator: maintenance <b>")
    page.get_by_role("button", name="Close").click()

    bob.page.get_by_role("button", name="Join again").click()
    bob.is_shown("onnected")
    bob.prunes("PM")
    expect(ann.card("PM")).to_have_attribute("data-pruned", "")


def test_many_sessions_are_sorted_filtered_and_drawn_as_far_as_seen(
    people: People, daemon: Daemon, run_id: str
) -> None:
    """Hundreds of rows cost a few dozen; a click sorts, words filter, and the table says how many there are."""
    for n in range(200):
        assert daemon.request(f"/api/runs/{run_id}/collaboration/poll?userId=poller{n:03}")[0] == 200
    page = console(people, daemon.url).page
    page.get_by_label("Filter sessions").fill(run_id)
    expect(page.locator("#sessions + .tag")).to_have_text(re.compile("^200"))
    page.get_by_role("button", name="User", exact=True).click()
    soon(page, lambda: first_column(page)[:2] == ["poller000", "poller001"], "ascending users")
    assert sessions(page).count() < 40
    page.get_by_role("button", name="User", exact=True).click()
    soon(page, lambda: first_column(page)[:2] == ["poller199", "poller198"], "descending users")
    expect(page.get_by_role("columnheader", name="User", exact=True)).to_have_attribute("aria-sort", "descending")
    page.get_by_label("Filter sessions").fill("POLLER077 http")
    soon(page, lambda: first_column(page) == ["poller077"], "one row")
    page.get_by_label("Filter sessions").fill("nobody has this name")
    expect(page.locator(".tables .nothing:visible")).to_be_visible()
    runs = page.locator("data-table[aria-label='Runs with people in them'] tr[data-row]").filter(has_text=run_id)
    expect(runs).to_contain_text("200")
    page.get_by_role("button", name="Forget those gone for an hour").click()
    expect(page.locator(".toast")).to_have_text("0 sessions were forgotten.")


@pytest.mark.slow
def test_charts_show_what_was_before_the_console_was_opened(people: People, daemon: Daemon, run_id: str) -> None:
    """The server keeps its recent figures: they are there at once, and again as text."""
    ann = people("ann").enters(run_id)
    history = "/api/admin/websocket/history"
    soon(ann.page, lambda: len(daemon.request(history)[1]["samples"]) > 1, "two samples", 30_000)
    page = console(people, daemon.url).page
    chart = page.locator("live-chart").first
    expect(chart.locator("canvas")).to_be_visible()
    expect(chart.locator(".nothing")).to_be_hidden()
    expect(chart.locator(".place")).to_have_attribute(
        "aria-label", re.compile("Connections over the last minutes; now All")
    )


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[tuple[Daemon, str]]:
    """A server whose console is not free, as behind a proxy, and its admin token."""
    settings = {"SERVER__TRUSTED_PROXIES": '["10.0.0.0/8"]', "AUTH__ALLOW_OPEN": "true"}
    with running_daemon(tmp_path / "data", settings) as daemon:
        yield daemon, (tmp_path / "data" / "admin.token").read_text().strip()


def test_the_console_asks_for_the_admin_token_where_one_is_needed(people: People, locked: tuple[Daemon, str]) -> None:
    """It says where the token stands, refuses a wrong one, and remembers a good one for the tab."""
    daemon, token = locked
    operator = people("operator", url=daemon.url)
    operator.network_may_fail = True
    page = operator.page
    page.goto(f"{daemon.url}/admin")
    field = page.get_by_label("Admin token", exact=True)
    expect(page.get_by_text("admin.token of its data directory")).to_be_visible()
    assert violations(page, "gate") == []
    for wrong, words in [("two words", "as it stands in the file"), ("x" * 40, "does not accept this token")]:
        field.fill(wrong)
        page.get_by_role("button", name="Open console").click()
        expect(page.get_by_text(words)).to_be_visible()
    field.fill(token)
    page.get_by_role("button", name="Open console").click()
    expect(page.get_by_role("heading", name="Sessions", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sessions", exact=True)).to_be_visible()


@pytest.mark.slow
def test_a_console_whose_server_is_gone_says_so_and_recovers(people: People, tmp_path: Path) -> None:
    """What was seen last stays, with a word that it is from before."""
    server = Phoenix(tmp_path / "data")
    try:
        operator = console(people, server.url)
        operator.network_may_fail = True
        expect(operator.page.get_by_text("Nobody is connected.")).to_be_visible()
        server.dies()
        notice = operator.page.locator(".notices")
        expect(notice).to_contain_text("what is shown is from before", timeout=60_000)
        server.rises()
        expect(notice).to_be_empty(timeout=60_000)
    finally:
        server.dies()
