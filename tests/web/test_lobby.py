"""The lobby's list: what happened last stands first, and no more of it than one wants to see."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.daemon import Daemon, running_daemon
from tests.web.accessibility import violations
from tests.web.browsers import soon
from tests.web.conftest import People

pytestmark = pytest.mark.e2e


def happens_in(daemon: Daemon, run_id: str) -> None:
    """One event."""
    event = {"eventType": "FLAG", "data": {"stepId": "PM", "note": ""}}
    assert daemon.request(f"/api/runs/{run_id}/collaboration/events?userId=agent", event)[0] == 200


def test_what_happened_last_stands_first_and_the_rest_is_shown_on_demand(people: People, tmp_path: Path) -> None:
    """A hundred runs at first; the button brings the others, and the reader to the first of them."""
    with running_daemon(tmp_path / "data", {"LIMITS__REQUESTS_PER_SECOND_PER_ADDRESS": "0"}) as daemon:
        runs = [str(uuid.uuid4()) for _ in range(103)]
        for run_id in runs:
            happens_in(daemon, run_id)
        ann = people("ann", url=daemon.url)
        ann.page.goto(daemon.url)
        rows = ann.page.locator(".runs li")
        expect(rows).to_have_count(100)
        expect(rows.first).to_contain_text(runs[-1])
        expect(ann.page.locator(".list-head .tag")).to_have_text("100 of 103")
        assert violations(ann.page, "a long lobby") == []

        happens_in(daemon, runs[0])
        expect(rows.first).to_contain_text(runs[0])
        ann.page.get_by_role("button", name="Show 3 more").click()
        expect(rows).to_have_count(103)
        soon(ann.page, lambda: rows.nth(100).get_by_role("link").evaluate("a => a === document.activeElement"), "focus")
        expect(ann.page.get_by_role("button", name="more")).to_have_count(0)
        expect(ann.page.locator(".list-head .tag")).to_have_text("103")
        happens_in(daemon, runs[1])
        expect(rows.first).to_contain_text(runs[1])  # asked for anew, and still all of them
        expect(rows).to_have_count(103)
