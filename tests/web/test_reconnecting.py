"""The run page while networks and servers fail under it: nothing that people did is lost or doubled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route, WebSocketRoute, expect

from tests.support.daemon import Daemon
from tests.web.accessibility import violations
from tests.web.browsers import Person, soon
from tests.web.conftest import People
from tests.web.faults import Phoenix, fault_proxy

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LATER_MS = 60_000


@pytest.fixture
def phoenix(tmp_path: Path) -> Iterator[Phoenix]:
    """A server of the test's own."""
    phoenix = Phoenix(tmp_path / "data")
    yield phoenix
    phoenix.dies()


def shaken(people: People, name: str, url: str) -> Person:
    """Somebody whose network will fail: the browser says so in its console, and may."""
    person: Person = people(name, url=url)
    person.network_may_fail = True
    return person


def test_work_done_offline_is_kept_and_sent_on_return(people: People, daemon: Daemon, run_id: str) -> None:
    """Offline the page says so, shows the work as queued, and sends it in order when the network is back."""
    with fault_proxy(daemon) as proxy:
        ann, bob = shaken(people, "ann", proxy.url).enters(run_id), people("bob").enters(run_id)
        ann.prunes("PM")
        expect(bob.card("PM")).to_have_attribute("data-pruned", "")
        proxy.does("refuse")
        proxy.does("cut")
        ann.context.set_offline(True)
        ann.is_shown("Disconnected")
        expect(ann.page.locator("app-connection-health .advice")).to_contain_text("kept here and sent")
        ann.restores("PM")
        ann.flags("TESTER", "offline")
        expect(ann.card("TESTER")).to_have_attribute("data-pending", "queued")
        expect(ann.page.locator("run-feed .own .tag").first).to_have_text("Queued")
        assert ann.queued() == 2
        assert "[offline]" not in " ".join(bob.picture())

        proxy.does("heal")
        ann.context.set_offline(False)
        ann.is_shown("Reconnected", LATER_MS)
        expect(bob.card("TESTER")).to_contain_text("offline", timeout=LATER_MS)
        soon(ann.page, lambda: ann.queued() == 0, "an empty queue", LATER_MS)
        expect(ann.page.locator("run-feed .own")).to_have_count(0)
        assert ann.picture() == bob.picture()
    events = [(event["eventType"], event["data"].get("isPruned")) for event in daemon.replay(run_id)]
    assert events == [("PRUNE", True), ("PRUNE", False), ("FLAG", None)]


def test_a_server_that_is_killed_and_started_again_costs_nothing(people: People, phoenix: Phoenix, run_id: str) -> None:
    """The open page comes back by itself, with the work that was done meanwhile."""
    ann = shaken(people, "ann", phoenix.url).enters(run_id)
    bob = shaken(people, "bob", phoenix.url).enters(run_id)
    ann.grafts("scanner", after="PM")
    expect(bob.card("scanner")).to_be_visible()
    phoenix.dies()
    ann.is_shown("Disconnected")
    ann.prunes("WRITER")
    bob.flags("PM", "while it was down")
    phoenix.rises()
    ann.is_shown("Reconnected", LATER_MS)
    bob.is_shown("Reconnected", LATER_MS)
    soon(ann.page, lambda: ann.queued() == bob.queued() == 0, "empty queues", LATER_MS)
    soon(ann.page, lambda: ann.picture() == bob.picture(), "one picture")
    assert ann.picture()[0] == "PM [while it was down]"
    assert ann.picture()[-1] == "WRITER (pruned)"
    assert sorted(phoenix.replay(run_id)) == ["FLAG PM", "GRAFT PM", "PRUNE WRITER"]


def test_without_websockets_polling_takes_over_and_goes_again(people: People, tmp_path: Path, run_id: str) -> None:
    """The page warns, works on over HTTP, and returns to the WebSocket when it passes again."""
    server = Phoenix(tmp_path / "data", {"CLIENT__MAX_RECONNECT_ATTEMPTS": "2", "CLIENT__POLLING_INTERVAL_MS": "500"})
    try:
        assert server.daemon is not None
        with fault_proxy(server.daemon) as proxy:
            ann = shaken(people, "ann", proxy.url).enters(run_id)
            bob = people("bob", url=server.url).enters(run_id)
            proxy.does("close-ws-after 0")
            ann.is_shown("HTTP Polling", LATER_MS)
            expect(ann.page.locator("app-connection-health .advice")).to_contain_text("WebSocket does not get through")
            ann.prunes("PM")
            expect(bob.card("PM")).to_have_attribute("data-pruned", "")
            bob.flags("TESTER", "seen by polling")
            expect(ann.card("TESTER")).to_contain_text("seen by polling")
            proxy.does("heal")
            ann.is_shown("Reconnected", LATER_MS)
            expect(ann.page.locator("app-connection-health .advice")).to_be_empty()
            assert ann.picture() == bob.picture()
        assert server.replay(run_id) == ["PRUNE PM", "FLAG TESTER"]
    finally:
        server.dies()


def test_a_dead_server_is_not_called_polling(people: People, tmp_path: Path, run_id: str) -> None:
    """Where HTTP is not answered either, the page says disconnected, and that what one does is kept."""
    server = Phoenix(tmp_path / "data", {"CLIENT__MAX_RECONNECT_ATTEMPTS": "1", "CLIENT__POLLING_INTERVAL_MS": "300"})
    try:
        ann = shaken(people, "ann", server.url).enters(run_id)
        health = ann.page.locator("app-connection-health")
        moment = ann.page.locator("run-timeline .words")
        expect(moment).to_have_text("Live")
        server.dies()
        ann.page.wait_for_function(
            "document.querySelector('app-connection-health').usingFallback", timeout=LATER_MS
        )  # which is tried, and gets no answer
        ann.prunes("PM")
        expect(ann.card("PM")).to_have_attribute("data-pending", "queued")
        expect(health.locator(".status")).to_have_text("Disconnected")
        expect(health.locator(".advice")).to_contain_text("kept here and sent")
        expect(moment).to_have_text("Not connected")
        server.rises()
        ann.is_shown("Reconnected", LATER_MS)
        expect(health.locator(".advice")).to_be_empty()
        expect(moment).to_have_text("Live: 1 event")
        server.dies()
        expect(moment).to_have_text("Last known: 1 event")
    finally:
        server.dies()


def test_a_queue_survives_leaving_the_page(people: People, phoenix: Phoenix, run_id: str) -> None:
    """What waited when the page went is sent when it comes again, once."""
    ann = shaken(people, "ann", phoenix.url).enters(run_id)
    phoenix.dies()
    ann.is_shown("Disconnected")
    ann.prunes("PM")
    ann.flags("PM", "from before the reload")
    expect(ann.page.locator("run-feed .own .tag").nth(1)).to_have_text("Queued")
    ann.page.goto("about:blank")
    phoenix.rises()
    ann.enters(run_id)
    soon(ann.page, lambda: ann.queued() == 0, "an empty queue", LATER_MS)
    soon(ann.page, lambda: len(phoenix.replay(run_id)) == 2, "both events", LATER_MS)
    assert phoenix.replay(run_id) == ["PRUNE PM", "FLAG PM"]
    soon(ann.page, lambda: ann.feed()[:2] == ["ann flagged PM from before the reload", "ann pruned PM"], "the feed")


def test_a_history_that_was_replaced_is_told_and_shown(people: People, tmp_path: Path, run_id: str) -> None:
    """Another database behind the same address: the page throws its picture away and says why."""
    server = Phoenix(tmp_path / "data")
    try:
        ann = shaken(people, "ann", server.url).enters(run_id)
        ann.prunes("PM")
        expect(ann.page.locator("run-feed .row", has_text="#1")).to_be_visible()
        server.dies()
        server.data_dir = tmp_path / "other"
        server.rises()
        expect(ann.page.locator(".toast")).to_contain_text("history was replaced", timeout=LATER_MS)
        soon(ann.page, lambda: ann.picture()[0] == "PM", "the new picture")
        expect(ann.page.locator("run-feed .empty")).to_be_visible()
    finally:
        server.dies()


def test_pages_that_load_while_the_server_is_gone_say_so_and_recover(
    people: People, daemon: Daemon, run_id: str
) -> None:
    """The page is there and nothing answers it: each says what is the matter; work waits, and all comes by itself."""
    ann = shaken(people, "ann", daemon.url)
    bob = people("bob").enters(run_id)
    bob.prunes("PM")
    expect(bob.page.locator("run-feed .row", has_text="#1")).to_be_visible()
    is_gone = [True]

    def answer(route: Route) -> None:
        route.abort() if is_gone[0] else route.continue_()

    def connect(socket: WebSocketRoute) -> None:
        socket.close() if is_gone[0] else socket.connect_to_server()

    ann.page.route("**/api/**", answer)
    ann.page.route_web_socket(re.compile("/ws/"), connect)
    ann.page.goto(f"{daemon.url}/runs/{run_id}")
    ann.is_shown("Disconnected")
    expect(ann.page.locator(".notice")).to_contain_text("not shown yet")
    ann.flags("TESTER", "before it was seen")
    expect(ann.card("TESTER")).to_have_attribute("data-pending", "queued")
    is_gone[0] = False
    expect(ann.card("PM")).to_have_attribute("data-pruned", "")
    expect(bob.card("TESTER")).to_contain_text("before it was seen")
    expect(ann.page.locator(".notice")).to_have_count(0)

    for path, trouble, shown in [
        ("", "The server cannot be reached", run_id),
        ("admin", "The console has nothing to show", "What the doctor says"),
    ]:
        is_gone[0] = True
        ann.page.goto(f"{daemon.url}/{path}")
        expect(ann.page.get_by_role("heading", name=trouble)).to_be_visible()
        assert violations(ann.page, f"/{path} without a server") == []
        expect(ann.page.get_by_role("button", name="Try now")).to_be_visible()
        is_gone[0] = False  # nobody has to press it
        expect(ann.page.locator("main")).to_contain_text(shown)


def test_a_lobby_whose_server_is_gone_says_so_and_recovers(people: People, phoenix: Phoenix) -> None:
    """No blank page: what is wrong, what to do, and the list again once the server answers."""
    ann = shaken(people, "ann", phoenix.url)
    ann.page.goto(phoenix.url)
    expect(ann.page.get_by_text("No runs yet")).to_be_visible()
    phoenix.dies()
    expect(ann.page.get_by_text("The server cannot be reached")).to_be_visible(timeout=LATER_MS)
    phoenix.rises()
    expect(ann.page.get_by_text("No runs yet")).to_be_visible(timeout=LATER_MS)
