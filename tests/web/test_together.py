"""People in one run, each before a browser of their own."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.support.daemon import Daemon
from tests.web.browsers import Person, soon
from tests.web.conftest import People

pytestmark = pytest.mark.e2e

STEPS = ["PM", "QUALIFIER", "ARCHITECT", "DEVELOPER", "REVIEWER", "TESTER", "WRITER"]


def same_picture(*people: Person) -> list[str]:
    """The picture that all of them come to see."""
    first, *others = people
    soon(first.page, lambda: all(other.picture() == first.picture() for other in others), "the same picture for all")
    return first.picture()


def publish(daemon: Daemon, run_id: str, count: int) -> None:
    """So many flags, grafts and prunes, by an agent over HTTP."""
    events = []
    for n in range(count):
        step = STEPS[n % 7]
        kinds = [
            ("FLAG", {"stepId": step, "note": f"note {n}" if n % 5 else ""}),
            ("PRUNE", {"stepId": step, "isPruned": n % 3 == 0}),
            ("GRAFT", {"after": step, "agentName": f"agent-{n % 11}"}),
        ]
        event_type, data = kinds[n // 7 % 3]
        events.append({"eventType": event_type, "data": data, "clientMessageId": f"m{n}"})
    for start in range(0, count, 100):
        path = f"/api/runs/{run_id}/collaboration/events?userId=agent"
        status, answer = daemon.request(path, {"events": events[start : start + 100]})
        assert status == 200, answer


def test_two_people_see_each_others_work_and_each_other(people: People, run_id: str) -> None:
    """Graft, prune, flag, cursor and presence reach the other page, and everybody ends up with one picture."""
    ann, bob = people("ann", colour="pink").enters(run_id), people("bob").enters(run_id)
    expect(ann.page.get_by_role("list", name="In this run")).to_contain_text("bob")
    expect(bob.page.get_by_role("list", name="In this run")).to_contain_text("ann")

    ann.grafts("security-scanner-v1", after="ARCHITECT")
    expect(bob.card("security-scanner-v1")).to_be_visible()
    bob.prunes("TESTER")
    expect(ann.card("TESTER")).to_have_attribute("data-pruned", "")
    bob.flags("PM", "the goal is not clear")
    expect(ann.card("PM")).to_contain_text("the goal is not clear")
    ann.looks_at("WRITER")
    expect(bob.page.locator("run-pipeline .cursor", has_text="ann")).to_be_visible()

    assert same_picture(ann, bob) == [
        "PM [the goal is not clear]",
        "QUALIFIER",
        "ARCHITECT",
        "  security-scanner-v1",
        "DEVELOPER",
        "REVIEWER",
        "TESTER (pruned)",
        "WRITER",
    ]
    assert bob.feed()[:3] == [
        "bob flagged PM the goal is not clear",
        "bob pruned TESTER",
        "ann grafted security-scanner-v1 after ARCHITECT",
    ]
    ann.restores("TESTER")
    expect(bob.card("TESTER")).not_to_have_attribute("data-pruned", "")
    bob.context.close()
    expect(ann.page.get_by_role("list", name="In this run")).to_contain_text("bob")  # within the grace time


def test_an_agent_can_be_grafted_after_an_agent_and_taken_out_again(people: People, run_id: str) -> None:
    """Agents are worked on like steps; a flag comes off again."""
    ann = people("ann").enters(run_id)
    ann.grafts("scanner", after="PM")
    expect(ann.card("scanner")).to_be_visible()
    ann.grafts("auditor", after="scanner")
    expect(ann.card("auditor")).to_be_visible()
    ann.prunes("scanner")
    ann.flags("auditor", "slow")
    expect(ann.card("auditor")).to_contain_text("slow")
    ann.card("auditor").locator(".face").click()
    ann.page.get_by_role("button", name="Take flag off").click()
    soon(ann.page, lambda: ann.picture()[:3] == ["PM", "  scanner (pruned)", "  auditor"], "the agents as they are")


def test_a_late_joiner_of_5000_events_sees_what_those_who_were_there_see(
    people: People, daemon: Daemon, run_id: str
) -> None:
    """The picture is the same although most of the history is gone, and the feed says where it begins."""
    early = people("early").enters(run_id)
    publish(daemon, run_id, 5_000)
    expect(early.page.locator("run-feed .row", has_text="#5000")).to_be_visible(timeout=20_000)
    late = people("late").enters(run_id)
    picture = same_picture(early, late)
    assert len(picture) > 7
    assert any("note" in line for line in picture)
    late.page.locator("run-feed .scroller").evaluate("scroller => { scroller.scrollTop = 1000 * 68 - 100 }")
    expect(late.page.locator("run-feed .cut")).to_contain_text("History before #4001 is no longer kept.")
    late.page.get_by_role("button", name="To the beginning").click()
    expect(late.page.locator(".stage")).to_contain_text("As it was before #4001")


def test_only_the_rows_that_are_seen_are_drawn(people: People, daemon: Daemon, run_id: str) -> None:
    """Thousands of events cost a few dozen rows, wherever one scrolls; who reads further down keeps their place."""
    publish(daemon, run_id, 900)
    ann = people("ann").enters(run_id)
    rows = ann.page.locator("run-feed .row")
    soon(ann.page, lambda: rows.count() > 5, "rows")
    assert rows.count() < 40
    scroller = ann.page.locator("run-feed .scroller")
    scroller.evaluate("scroller => { scroller.scrollTop = 20000 }")
    ann.page.wait_for_timeout(100)
    assert rows.count() < 40
    before = ann.page.locator("run-feed .row .open").nth(10).text_content()
    ann.prunes("PM")
    expect(ann.page.locator("run-feed .newer")).to_contain_text("1 new")
    labels = ann.page.locator("run-feed .row .open").evaluate_all("rows => rows.map(row => row.textContent)")
    assert before in labels


def test_time_is_turned_back_and_played(people: People, run_id: str) -> None:
    """The slider shows the run after any event; what is past cannot be changed; live comes back."""
    ann = people("ann").enters(run_id)
    ann.prunes("PM")
    expect(ann.card("PM")).to_have_attribute("data-pruned", "")
    ann.grafts("scanner", after="PM")
    expect(ann.card("scanner")).to_be_visible()
    ann.restores("PM")
    soon(ann.page, lambda: ann.picture()[0] == "PM", "PM restored")

    def shows(*cards: str) -> None:
        soon(ann.page, lambda: ann.picture()[:2] == list(cards), f"{cards} in front")

    ann.page.get_by_role("slider").fill("1")
    shows("PM (pruned)", "QUALIFIER")
    expect(ann.page.locator(".stage")).to_contain_text("As it was after #1")
    expect(ann.page.get_by_role("button", name="Restore PM")).to_be_disabled()
    ann.page.get_by_role("button", name="One event on").click()
    shows("PM (pruned)", "  scanner")
    ann.page.locator("run-feed .open", has_text="pruned PM").click()
    expect(ann.page.locator("run-feed .open", has_text="pruned PM")).to_have_attribute("aria-current", "true")
    shows("PM (pruned)", "QUALIFIER")
    ann.page.get_by_label("Playing speed").select_option("16")
    ann.page.get_by_role("button", name="Play").click()
    expect(ann.page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "true")
    shows("PM", "  scanner")


def test_the_steps_of_a_link_are_the_pipelines_steps(people: People, run_id: str) -> None:
    """A link may bring its own steps; what is in force elsewhere is shown below."""
    ann, bob = people("ann").enters(run_id), people("bob").enters(run_id, "?steps=PLAN,BUILD,SHIP")
    bob.prunes("SHIP")
    ann.flags("PM", "who decides?")
    expect(bob.page.get_by_text("Not in this pipeline").first).to_be_visible()
    soon(bob.page, lambda: bob.picture() == ["PLAN", "BUILD", "SHIP (pruned)", "PM [who decides?]"], "PM elsewhere")
    assert ann.picture()[-1] == "SHIP (pruned)"


def test_a_run_is_found_again_from_the_lobby(people: People, daemon: Daemon, run_id: str) -> None:
    """Known runs stand there with who is in them; a new one is one click; a pasted link leads to its run."""
    ann = people("ann").enters(run_id)
    ann.prunes("PM")
    bob = people("bob")
    bob.page.goto(daemon.url)
    row = bob.page.get_by_role("link", name=f"{run_id} 1 person here: ann 1 event")
    row.click()
    bob.is_shown("Connected")
    assert bob.page.title() == f"Run {run_id[:8]} · collabd"

    bob.page.goto(daemon.url)
    bob.page.get_by_label("Run id or link").fill(f"see {daemon.url}/runs/{run_id.upper()}?steps=A,B please")
    bob.page.get_by_role("button", name="Open").click()
    expect(bob.page).to_have_url(f"{daemon.url}/runs/{run_id}?steps=A,B")

    bob.page.goto(daemon.url)
    bob.page.get_by_role("button", name="New run").click()
    bob.is_shown("Connected")
    assert bob.picture() == STEPS


def test_a_name_and_a_colour_are_chosen_once(people: People, run_id: str) -> None:
    """Who follows a shared link is asked who they are, and not again."""
    new = people("new", identity=False)
    new.page.goto(f"{new.url}/runs/{run_id}")
    new.page.get_by_role("button", name="Join", exact=True).click()
    expect(new.page.get_by_text("Enter a name")).to_be_visible()
    new.page.get_by_label("Name").fill("zoë")
    new.page.get_by_label("violet").check(force=True)
    new.page.get_by_role("button", name="Join", exact=True).click()
    new.is_shown("Connected")
    new.page.reload()
    new.is_shown("Connected")
    me = new.page.get_by_role("button", name="You are zoë")
    expect(me.locator(".avatar")).to_have_attribute("data-colour", "violet")


def test_a_name_that_somebody_else_has_is_pointed_out(people: People, run_id: str) -> None:
    """The server cannot tell two people of one name apart: who comes second is told so, and may choose another."""
    first = people("ann").enters(run_id)
    second = people("ann").enters(run_id)
    notice = second.page.locator(".notice")
    expect(notice).to_contain_text("Somebody called “ann” was in this run already")
    expect(first.page.locator(".notice")).to_have_count(0)
    second.page.get_by_role("button", name="Choose another name").click()
    second.page.get_by_label("Name", exact=True).fill("ann from sales")
    second.page.get_by_role("button", name="Save").click()
    second.is_shown("Connected")
    expect(first.page.locator(".people .avatar[title='ann from sales']")).to_be_visible()
    expect(notice).to_have_count(0)

    third = people("ann").enters(run_id)
    third.page.get_by_role("button", name="It is me").click()
    expect(third.page.locator(".notice")).to_have_count(0)


def test_ones_own_second_tab_and_ones_own_reload_are_nobody_else(people: People, run_id: str) -> None:
    """Both go by one name, in one browser: no word of another person, and no second person in the run."""
    ann, bob = people("ann").enters(run_id), people("bob").enters(run_id)
    tab = ann.new_tab()
    tab.goto(f"{ann.url}/runs/{run_id}")
    for page in (tab, ann.page):
        page.locator("app-connection-health .status", has_text="Connected").wait_for()
        page.reload()
        page.locator("app-connection-health .status", has_text="Connected").wait_for()
        expect(page.locator(".notice")).to_have_count(0)
    expect(bob.page.locator(".people .avatar")).to_have_count(1)
    tab.get_by_role("button", name="Prune PM", exact=True).click()
    expect(ann.card("PM")).to_have_attribute("data-pruned", "")


def test_the_colour_that_somebody_chose_is_seen_by_all(people: People, run_id: str) -> None:
    """Before they point at anything, for who comes later as well, and when it is changed."""
    ann = people("ann", colour="amber").enters(run_id)
    bob = people("bob", colour="violet").enters(run_id)

    def other(person: Person) -> Locator:
        return person.page.locator(".people .avatar")

    expect(other(ann)).to_have_attribute("data-colour", "violet")
    expect(other(bob)).to_have_attribute("data-colour", "amber")
    bob.page.get_by_role("button", name="You are bob").click()
    bob.page.get_by_label("slate").check(force=True)
    bob.page.get_by_role("button", name="Save").click()
    expect(other(ann)).to_have_attribute("data-colour", "slate")
    bob.looks_at("TESTER")
    expect(ann.page.locator("run-pipeline .cursor")).to_have_attribute("data-colour", "slate")


def test_others_are_shown_in_the_colour_that_their_cursor_tells(people: People, daemon: Daemon, run_id: str) -> None:
    """An agent that points at a step over HTTP stands on it, in its colour; without one, in one of its name's own."""
    ann = people("ann").enters(run_id)
    path = f"/api/runs/{run_id}/collaboration"
    assert daemon.request(f"{path}/poll?userId=agent")[0] == 200
    avatar = ann.page.locator(".people .avatar")
    expect(avatar).to_be_visible()
    assert avatar.get_attribute("data-colour") != "violet"
    cursor = {"eventType": "CURSOR_MOVE", "data": {"nodeId": "PM", "color": "violet"}}
    assert daemon.request(f"{path}/events?userId=agent", cursor)[0] == 200
    expect(avatar).to_have_attribute("data-colour", "violet")
    expect(ann.page.locator("run-pipeline .cursor")).to_have_attribute("data-colour", "violet")
    expect(ann.card("PM").locator(".face")).to_have_accessible_name("PM Active ; step; agent looks at it")
