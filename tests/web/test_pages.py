"""What is expected of any good page: nothing in the console, no barrier, no jump, nothing that overflows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.daemon import Daemon, running_daemon
from tests.web.accessibility import violations
from tests.web.browsers import Person, soon
from tests.web.conftest import People

pytestmark = pytest.mark.e2e

DOCS = Path(__file__).parents[2] / "docs" / "web.md"

PHONE: dict[str, Any] = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
LOOKS = [
    pytest.param({**DESKTOP, "color_scheme": "light"}, id="desktop light"),
    pytest.param({**DESKTOP, "color_scheme": "dark"}, id="desktop dark"),
    pytest.param({**PHONE, "color_scheme": "light"}, id="phone light"),
    pytest.param({**PHONE, "color_scheme": "dark"}, id="phone dark"),
]
NASTY = [
    "<img src=x onerror=alert(1)><script>alert(1)</script>",
    "👩‍🚀🏳️‍🌈 Zoë",
    "שלום עולם ‮reversed",
    "مرحبا بالعالم",
    "W" * 255,
    "&amp; \"quoted\" 'and' {{curly}} ${dollar}",
]


def busy_run(daemon: Daemon, run_id: str) -> None:
    """A run in which everything that can be drawn is there."""
    events = [
        ("GRAFT", {"after": "ARCHITECT", "agentName": "security-scanner-v1"}),
        ("GRAFT", {"after": "security-scanner-v1", "agentName": "auditor"}),
        ("PRUNE", {"stepId": "QUALIFIER", "isPruned": True}),
        ("FLAG", {"stepId": "REVIEWER", "note": "Waits for the licence check; ask legal first."}),
        ("FLAG", {"stepId": "DEPLOY", "note": "not in this pipeline"}),
    ]
    body = {
        "events": [
            {"eventType": event_type, "data": data, "clientMessageId": f"b{n}"}
            for n, (event_type, data) in enumerate(events)
        ]
    }
    status, answer = daemon.request(f"/api/runs/{run_id}/collaboration/events?userId=agent", body)
    assert status == 200, answer


def assert_fits(page: Page) -> None:
    """Nothing is wider than the window."""
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], f"the page is {wide[0]} wide in a window of {wide[1]}"


@pytest.mark.parametrize("look", LOOKS)
def test_pages_have_no_accessibility_violations(
    people: People, daemon: Daemon, run_id: str, look: dict[str, Any]
) -> None:
    """axe-core finds nothing on any page or dialog, light and dark, phone and desktop; nor does anything overflow."""
    busy_run(daemon, run_id)
    other = people("bob <i>", colour="pink").enters(run_id)
    other.looks_at("TESTER")
    ann = people("ann", **look).enters(run_id)
    expect(ann.card("auditor")).to_be_visible()
    found = violations(ann.page, "run")
    assert_fits(ann.page)
    ann.card("REVIEWER").locator(".face").click()
    found += violations(ann.page, "panel")
    ann.page.keyboard.press("Escape")
    ann.page.get_by_role("button", name="To the beginning").click()
    found += violations(ann.page, "past")
    ann.page.get_by_role("button", name="You are ann").click()
    found += violations(ann.page, "identity")

    ann.page.goto(daemon.url)
    ann.page.get_by_role("link", name=run_id).wait_for()
    ann.page.get_by_text("With other steps").click()
    found += violations(ann.page, "lobby")
    assert_fits(ann.page)

    ann.page.goto(f"{daemon.url}/admin")
    ann.page.get_by_label("User: ann").or_(ann.page.locator("data-table .open")).first.wait_for()
    found += violations(ann.page, "console")
    assert_fits(ann.page)
    ann.page.locator("data-table .open").first.click()
    ann.page.locator(".drawer .history time").first.wait_for()
    found += violations(ann.page, "drawer")
    assert not found, "\n".join(found)


def test_a_link_to_no_run_is_explained(people: People, daemon: Daemon) -> None:
    """Whatever stands where the id should be is shown as text, with what to do."""
    ann = people("ann")
    ann.network_may_fail = True  # the page itself comes with 404, which the browser notes
    for path, shown in [("nonsense", "nonsense"), ("%3Cimg%20src=x%3E", "<img src=x>"), ("x" * 300, "x" * 120)]:
        ann.page.goto(f"{daemon.url}/runs/{path}")
        expect(ann.page.get_by_role("heading", level=1)).to_have_text("This link leads to no run")
        expect(ann.page.locator(".state p")).to_contain_text(f"“{shown}” is no run id.")
        assert_fits(ann.page)
    assert violations(ann.page, "no run") == []
    ann.page.get_by_role("link", name="All runs", exact=True).click()
    expect(ann.page).to_have_url(f"{daemon.url}/")


@pytest.mark.parametrize("look", [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone")])
@pytest.mark.parametrize("text", NASTY, ids=["markup", "emoji", "hebrew", "arabic", "255", "characters"])
def test_what_people_write_is_text_and_stays_in_its_place(
    people: People, daemon: Daemon, run_id: str, text: str, look: dict[str, Any]
) -> None:
    """Names, agents and notes with markup, emoji, right-to-left text or 255 characters: shown, never more than text."""
    ann = people("ann", **look).enters(run_id)
    other = people(text, **look).enters(run_id)
    other.flags("TESTER", text)
    other.grafts(text, after="PM") if look is DESKTOP else other.card("PM").locator(".tools .graft").click()
    if look is PHONE:
        other.page.get_by_label("Graft an agent after it").fill(text)
        other.page.get_by_role("button", name="Graft", exact=True).click()
    other.card("TESTER").locator(".face").focus()
    for person in (ann, other):
        expect(person.card(text)).to_be_visible()
        soon(person.page, lambda p=person: f"{text} flagged TESTER {text}" in p.feed(), "the flag in the feed")  # type: ignore[misc]
        assert_fits(person.page)
        assert person.page.locator("img, script:not([src])").count() == 0
    ann.card("TESTER").locator(".face").click()
    expect(ann.page.locator("run-pipeline blockquote")).to_have_text(text)
    assert_fits(ann.page)
    boxes: list[list[float]] = ann.page.locator("run-pipeline .node").evaluate_all(
        "cards => cards.map((card) => [card.scrollWidth, card.clientWidth])"
    )
    assert all(content <= room for content, room in boxes)
    ann.page.goto(daemon.url)
    ann.page.get_by_role("link", name=run_id).wait_for()
    assert_fits(ann.page)
    ann.page.goto(f"{daemon.url}/admin")
    expect(ann.page.locator("data-table .open", has_text=text).first).to_be_visible()
    assert_fits(ann.page)
    ann.page.locator("data-table .open", has_text=text).first.click()
    expect(ann.page.locator(".drawer h2")).to_have_text(text)


@pytest.mark.parametrize("path", ["/", "/runs/3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d", "/admin"])
def test_the_browser_holds_pages_to_the_policy(people: People, daemon: Daemon, path: str) -> None:
    """What the policy forbids does not happen on a page: markup out of text, inline scripts, requests elsewhere."""
    ann = people("ann")
    ann.page.goto(daemon.url + path)
    expect(ann.page.locator("header.top .brand")).to_be_visible()
    tried = ann.page.evaluate(
        """async () => {
            const refused = [];
            try { document.body.innerHTML = "<p>markup</p>"; } catch (error) { refused.push(error.name); }
            const heard = new Promise((resolve) => document.addEventListener("securitypolicyviolation",
                ({ effectiveDirective }) => effectiveDirective === "connect-src" && resolve(effectiveDirective)));
            await fetch("https://elsewhere.example/").catch((error) => refused.push(error.name));
            return [...refused, await heard, globalThis.trustedTypes.getAttributeType("script", "src")];
        }"""
    )
    assert tried == ["TypeError", "TypeError", "connect-src", "TrustedScriptURL"]
    assert ann.complaints != []  # the browser says so too
    ann.complaints.clear()


def test_everything_is_done_by_keyboard(people: People, run_id: str) -> None:
    """Skip link, steps by arrow keys, letters for what one does, Escape back to where one was."""
    ann = people("ann").enters(run_id)
    press = ann.page.keyboard.press
    press("Tab")
    expect(ann.page.get_by_role("link", name="Skip to content")).to_be_focused()
    face = ann.card("PM").locator(".face")
    face.focus()
    press("ArrowRight")
    expect(ann.card("QUALIFIER").locator(".face")).to_be_focused()
    press("p")
    expect(ann.card("QUALIFIER")).to_have_attribute("data-pruned", "")
    press("ArrowRight")
    press("g")
    expect(ann.page.get_by_label("Graft an agent after it")).to_be_focused()
    ann.page.keyboard.type("scanner")
    press("Enter")
    expect(ann.card("scanner")).to_be_visible()
    expect(ann.card("ARCHITECT").locator(".tools .graft, .face").locator("visible=true").first).to_be_visible()
    ann.card("ARCHITECT").locator(".face").focus()
    press("f")
    expect(ann.page.get_by_label("Flag it with a note")).to_be_focused()
    ann.page.keyboard.type("by keyboard")
    press("Tab")
    press("Enter")
    expect(ann.card("ARCHITECT")).to_contain_text("by keyboard")
    ann.card("ARCHITECT").locator(".face").focus()
    press("Enter")
    expect(ann.page.locator("run-pipeline .panel")).to_be_visible()
    press("Escape")
    expect(ann.card("ARCHITECT").locator(".face")).to_be_focused()

    rows = ann.page.locator("run-feed .open")
    rows.first.focus()
    press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    press("Enter")
    expect(ann.page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "false")
    ann.page.get_by_role("slider").focus()
    press("End")
    ann.page.get_by_role("button", name="Live").press("Enter")
    expect(ann.page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "true")


def test_screen_readers_hear_of_others_and_not_of_oneself(people: People, run_id: str) -> None:
    """What others do is announced in words, together and not one by one; own work and the past are not."""
    ann, bob = people("ann").enters(run_id), people("bob").enters(run_id)
    region = ann.page.locator("body > .unseen[role=status]")
    expect(region).to_have_text("bob joined")
    ann.prunes("PM")
    bob.prunes("TESTER")
    bob.restores("PM")
    expect(region).to_have_text("2 changes by bob")
    expect(ann.card("TESTER").locator(".face")).to_have_accessible_name("TESTER Pruned by bob ; step")


@pytest.mark.parametrize("look", [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone")])
def test_pages_do_not_jump_while_they_fill(people: People, daemon: Daemon, run_id: str, look: dict[str, Any]) -> None:
    """The cumulative layout shift of each page is what is called good (below 0.1), and of a run at work far less."""
    busy_run(daemon, run_id)
    ann: Person = people("ann", **look)
    ann.context.add_init_script(
        """globalThis.shifted = 0;
        new PerformanceObserver((list) => {
          for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) globalThis.shifted += value;
        }).observe({ type: "layout-shift", buffered: true });"""
    )
    shifts = {}
    for name, path in [("run", f"/runs/{run_id}"), ("lobby", "/"), ("console", "/admin")]:
        ann.page.goto(daemon.url + path)
        ann.page.wait_for_timeout(1_200)
        shifts[name] = ann.page.evaluate("shifted")
    assert {name: shift for name, shift in shifts.items() if shift >= 0.1} == {}


def test_motion_is_reduced_for_who_wants_that(people: People, run_id: str) -> None:
    """Cursors jump instead of gliding."""
    ann, bob = people("ann", reduced_motion="reduce").enters(run_id), people("bob").enters(run_id)
    bob.looks_at("TESTER")
    cursor = ann.page.locator("run-pipeline .cursor")
    cursor.wait_for()
    assert cursor.evaluate("cursor => getComputedStyle(cursor).transitionDuration") == "0s"


def test_the_health_element_works_alone_in_any_page(
    people: People, daemon: Daemon, tmp_path: Path, serve_directory: Callable[[Path], str]
) -> None:
    """One script of another origin, attributes or properties, and a change event."""
    ann = people("ann")
    page = ann.page
    (tmp_path / "index.html").write_text(
        "<!doctype html><link rel=icon href=data:,>"
        f"<script type=module src='{daemon.url}/connection-health.js'></script>"
        "<app-connection-health queued-messages=3"
        ' health=\'{"latency":12,"reconnectionCount":2,"messageDeliveryRate":0.98,"isHealthy":true}\'>'
        "</app-connection-health>"
    )
    page.goto(serve_directory(tmp_path))
    element = page.locator("app-connection-health")
    expect(element.locator(".status")).to_have_text("Reconnected")
    expect(element).to_contain_text("98")
    detail = page.evaluate(
        """() => new Promise((resolve) => {
            const element = document.querySelector("app-connection-health");
            element.addEventListener("change", ({ detail }) => resolve(detail), { once: true });
            element.usingFallback = true;
            element.queuedMessages = 4;
        })"""
    )
    assert detail == {"status": "polling", "latency": 12, "queuedMessages": 4, "usingFallback": True}
    expect(element.locator(".status")).to_have_text("HTTP Polling")
    expect(element.locator(".advice")).to_contain_text("WebSocket does not get through")
    element.evaluate("element => { element.removeAttribute('using-fallback'); element.usingFallback = false }")
    for health, words in [
        ({"isHealthy": False}, "Disconnected"),
        ({"isHealthy": True, "reconnectionCount": 0}, "Connected"),
        ({"status": "reconnected", "isHealthy": False}, "Reconnected"),
    ]:
        element.evaluate("(element, health) => { element.health = health }", health)
        expect(element.locator(".status")).to_have_text(words)


def test_the_snippet_of_the_docs_works_in_a_page_of_another_origin(
    people: People, tmp_path: Path, serve_directory: Callable[[Path], str]
) -> None:
    """docs/web.md, copied as it stands, but for the address."""
    snippet = re.search(r"```html\n(<script.*?)```", DOCS.read_text(), re.DOTALL)
    assert snippet is not None
    address = serve_directory(tmp_path)
    with running_daemon(tmp_path / "data", {"SERVER__ALLOWED_ORIGINS": f'["{address.rstrip("/")}"]'}) as daemon:
        page_text = snippet[1].replace("https://collab.example.org", daemon.url)
        (tmp_path / "index.html").write_text(f"<!doctype html><link rel=icon href=data:,>{page_text}")
        ann = people("ann", url=daemon.url)
        ann.page.goto(address)
        ann.is_shown("Connected")
        expect(ann.page.locator("app-connection-health .latency")).to_contain_text("ms")


def test_times_are_those_of_the_readers_zone(people: People, run_id: str) -> None:
    """The same event at its hour in Tokyo and in New York."""
    shown: list[tuple[str | None, ...]] = []
    for zone in ("Asia/Tokyo", "America/New_York"):
        person = people(zone, timezone_id=zone, locale="en-GB").enters(run_id)
        if not shown:
            person.prunes("PM")
        time = person.page.locator("run-feed .row", has_text="#1").locator("time")
        expect(time).to_be_visible()
        shown.append((time.text_content(), time.get_attribute("datetime"), time.get_attribute("title")))
    (tokyo, at_tokyo, title), (new_york, at_new_york, _) = shown
    assert tokyo != new_york
    assert at_tokyo == at_new_york
    assert title is not None
    assert "GMT+9" in title or "JST" in title


def test_pages_work_below_a_path_prefix(people: People, daemon: Daemon, run_id: str) -> None:
    """Behind a proxy that adds one: scripts, links, requests and the WebSocket stay below it."""
    ann = people("ann")
    ann.network_may_fail = True  # of the proxy only HTTP is played here
    prefix = f"{daemon.url}/collab"
    sockets: list[str] = []
    ann.page.on("websocket", lambda socket: sockets.append(socket.url))

    def without_prefix(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace(prefix, daemon.url)))

    ann.page.route(f"{prefix}/**", without_prefix)
    ann.page.goto(f"{prefix}/")
    expect(ann.page.get_by_role("heading", name="Known runs")).to_be_visible()
    assert ann.page.get_by_role("link", name="Console").get_attribute("href") == f"{prefix}/admin"
    ann.page.get_by_label("Run id or link").fill(run_id)
    ann.page.get_by_role("button", name="Open").click()
    expect(ann.page).to_have_url(f"{prefix}/runs/{run_id}")
    expect(ann.card("PM")).to_be_visible()
    soon(ann.page, lambda: len(sockets) > 0, "a WebSocket")
    assert sockets[0].startswith(f"{prefix}/ws/runs/{run_id}/".replace("http", "ws"))
    ann.page.unroute_all(behavior="ignoreErrors")
