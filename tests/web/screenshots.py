"""Pictures of every page, light and dark, on phone and desktop: `python -m tests.web.screenshots [--seconds N]`.

They go to screenshots/ (which git ignores), the few that README.md shows to docs/images/. The server is a real one, in
which a few people and agents work for N seconds (150) before the pictures are taken, so that the charts have something
to show.

Law of this file: it makes pictures; whether they are good is judged by who looks at them.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.daemon import Daemon, running_daemon
from tests.web.browsers import CHROMIUM_OPTIONS, Person, find_chromium

ROOT = Path(__file__).parents[2]
RUN: Final = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d"
OTHER_RUNS: Final = ["a41d7c52-0c9e-4b7a-8f3d-2f1e6b9c0d47", "c0ffee11-7a2b-4c3d-9e8f-1a2b3c4d5e6f"]
DESKTOP: Final[dict[str, Any]] = {"viewport": {"width": 1440, "height": 900}}
PHONE: Final[dict[str, Any]] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
WORK: Final = [
    ("Ben Okafor", "GRAFT", {"after": "ARCHITECT", "agentName": "security-scanner-v1"}),
    ("Ann Lee", "PRUNE", {"stepId": "QUALIFIER", "isPruned": True}),
    ("Chloé Martin", "FLAG", {"stepId": "REVIEWER", "note": "Waits for the licence check; ask legal first."}),
    ("Ann Lee", "GRAFT", {"after": "TESTER", "agentName": "performance-profiler-v1"}),
    ("deploy-bot", "PRUNE", {"stepId": "WRITER", "isPruned": True}),
    ("Ben Okafor", "PRUNE", {"stepId": "WRITER", "isPruned": False}),
    ("Chloé Martin", "GRAFT", {"after": "security-scanner-v1", "agentName": "dependency-auditor"}),
    ("Ann Lee", "FLAG", {"stepId": "PM", "note": "Scope is agreed with the customer."}),
]


def publish(daemon: Daemon, run_id: str, user: str, event_type: str, data: Any) -> None:
    """One event, by somebody who works over HTTP."""
    path = f"/api/runs/{run_id}/collaboration/events?{urlencode({'userId': user})}"
    status, answer = daemon.request(path, {"eventType": event_type, "data": data})
    assert status == 200, answer


def work(daemon: Daemon, people: list[Person], seconds: float) -> None:
    """Let people and agents work, so that there is something to see."""
    for user, event_type, data in WORK:
        publish(daemon, RUN, user, event_type, data)
    for run_id in OTHER_RUNS:
        publish(daemon, run_id, "deploy-bot", "FLAG", {"stepId": "DEVELOPER", "note": "The build is red."})
    steps: Iterator[str] = cycle(["DEVELOPER", "TESTER", "PM", "REVIEWER", "ARCHITECT"])
    end, beat = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        beat += 1
        for person in people:
            person.looks_at(next(steps))
        for _ in range(beat % 7):
            publish(daemon, OTHER_RUNS[0], "deploy-bot", "FLAG", {"stepId": "TESTER", "note": f"Attempt {beat}"})
        people[0].page.wait_for_timeout(700)


def settle(page: Page) -> None:
    """Let transitions end."""
    page.wait_for_timeout(600)


NARROW: Final[dict[str, Any]] = {**PHONE, "viewport": {"width": 320, "height": 640}}
SELDOM: Final = "7d1b0c9a-1111-4222-8333-944455566677"
"""The run of what is seldom seen."""


class Album:
    """Where pictures go."""

    def __init__(self, browser: Browser, daemon: Daemon) -> None:
        self.browser, self.daemon = browser, daemon
        self.directory = ROOT / "screenshots"
        self.directory.mkdir(exist_ok=True)

    def take(self, page: Page, name: str, *, whole: bool = False) -> None:
        """One picture."""
        settle(page)
        page.screenshot(path=self.directory / f"{name}.png", full_page=whole)

    def all_pages(self, look: str, options: dict[str, Any]) -> None:
        """Every page in one look."""
        ann = Person(self.browser, self.daemon.url, "Ann Lee", colour="indigo", **options)
        is_phone = "phone" in look
        page = ann.page
        page.goto(self.daemon.url)
        page.get_by_role("link", name=RUN).wait_for()
        self.take(page, f"lobby-{look}")
        ann.enters(RUN)
        ann.card("DEVELOPER").locator(".face").hover()
        self.take(page, f"run-{look}", whole=is_phone)
        ann.card("REVIEWER").locator(".face").click()
        self.take(page, f"panel-{look}")
        page.keyboard.press("Escape")
        page.get_by_role("slider").fill("5")
        self.take(page, f"past-{look}", whole=is_phone)
        page.get_by_role("button", name="You are Ann Lee").click()
        self.take(page, f"identity-{look}")
        page.goto(f"{self.daemon.url}/admin")
        page.locator("data-table .open").first.wait_for()
        self.take(page, f"console-{look}", whole=True)
        page.locator("data-table .open").first.click()
        page.locator(".drawer .history time").first.wait_for()
        self.take(page, f"session-{look}")
        page.goto(f"{self.daemon.url}/runs/nonsense")
        self.take(page, f"no-run-{look}")
        ann.context.close()

    def seldom_seen(self, look: str, options: dict[str, Any]) -> None:
        """Names and notes of all kinds, work that waits or was refused, a server that is gone, who comes first."""
        odd = ["W" * 255, "<b>Zoë</b> 👩‍🚀", "مرحبا بالعالم", "שלום ‮abc"]
        for user in odd:
            publish(self.daemon, SELDOM, user, "FLAG", {"stepId": "PM", "note": f"{user} — {'long note ' * 20}"})
            publish(self.daemon, SELDOM, user, "GRAFT", {"after": "DEVELOPER", "agentName": user})
        new = Person(self.browser, self.daemon.url, "", identity=False, **options)
        new.page.goto(f"{self.daemon.url}/runs/{SELDOM}")
        new.page.get_by_role("button", name="Join", exact=True).click()
        self.take(new.page, f"first-{look}")
        new.context.close()
        others = [Person(self.browser, self.daemon.url, name, colour="pink", **options) for name in odd]
        for other in others:
            other.enters(SELDOM)
            other.looks_at("PM")
        ann = Person(self.browser, self.daemon.url, "Ann Lee", colour="indigo", **options)
        refused = json.dumps({"code": "forbidden", "message": "a viewer may look and not change", "retryable": False})
        ann.page.route_web_socket(
            re.compile("/ws/"), lambda socket: self._refusing(socket, refused)
        )
        ann.enters(SELDOM)
        ann.prunes("REVIEWER")
        ann.page.locator("run-feed .own .why", has_text="viewer").wait_for()
        self.take(ann.page, f"refused-{look}", whole="narrow" in look)
        ann.page.evaluate("document.querySelector('run-feed').scrollIntoView()")
        self.take(ann.page, f"refused-feed-{look}")
        ann.page.goto(self.daemon.url)
        ann.page.get_by_role("link", name=SELDOM).wait_for()
        self.take(ann.page, f"odd-lobby-{look}")
        ann.page.goto(f"{self.daemon.url}/admin")
        ann.page.locator("data-table .open").first.wait_for()
        self.take(ann.page, f"odd-console-{look}", whole=True)
        for other in others:
            other.context.close()
        ann.page.route_web_socket(re.compile("/ws/"), lambda socket: socket.close())
        for path, name in [("", "lobby"), (f"runs/{SELDOM}", "run"), ("admin", "console")]:
            ann.page.route("**/api/**", lambda route: route.abort())
            ann.page.goto(f"{self.daemon.url}/{path}")
            if name == "run":
                ann.is_shown("Disconnected")
                ann.prunes("TESTER")
            self.take(ann.page, f"gone-{name}-{look}")
        ann.context.close()

    @staticmethod
    def _refusing(socket: Any, refusal: str) -> None:
        server = socket.connect_to_server()

        def say(message: str) -> None:
            frame = json.loads(message)
            if frame["eventType"] == "PRUNE":
                data = {**json.loads(refusal), "clientMessageId": frame["clientMessageId"]}
                socket.send(json.dumps({"eventType": "ERROR", "data": data}))
            else:
                server.send(message)

        socket.on_message(say)

    def for_the_readme(self) -> None:
        """The few that show the product, smaller."""
        small: dict[str, Any] = {"viewport": {"width": 1400, "height": 780}}
        directory = ROOT / "docs" / "images"
        directory.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            ann = Person(self.browser, self.daemon.url, "Ann Lee", colour="indigo", color_scheme=scheme, **small)
            ann.enters(RUN)
            ann.card("DEVELOPER").locator(".face").hover()
            settle(ann.page)
            ann.page.screenshot(path=directory / f"run-{scheme}.png")
            ann.context.close()
        operator = Person(self.browser, self.daemon.url, "Ann Lee", **small)
        operator.page.goto(f"{self.daemon.url}/admin")
        operator.page.locator("data-table .open").first.wait_for()
        settle(operator.page)
        operator.page.screenshot(path=directory / "console.png")
        operator.context.close()


def main() -> None:
    """Start a server, let people work in it, take the pictures."""
    parser = argparse.ArgumentParser(description="Take pictures of every page.")
    parser.add_argument("--seconds", type=float, default=150, help="how long people work before")
    seconds: float = parser.parse_args().seconds
    path = find_chromium()
    if path is None:
        raise SystemExit("there is no Chromium on this machine (Debian: apt-get install chromium)")
    with (
        tempfile.TemporaryDirectory() as directory,
        running_daemon(Path(directory) / "data") as daemon,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        names = [("Ben Okafor", "teal"), ("Chloé Martin", "pink")]
        people = [Person(browser, daemon.url, name, colour=colour, **DESKTOP).enters(RUN) for name, colour in names]
        work(daemon, people, seconds)
        people[0].looks_at("TESTER")
        people[1].looks_at("ARCHITECT")
        album = Album(browser, daemon)
        album.for_the_readme()
        for scheme in ("light", "dark"):
            album.all_pages(f"desktop-{scheme}", {**DESKTOP, "color_scheme": scheme})
            album.all_pages(f"phone-{scheme}", {**PHONE, "color_scheme": scheme})
        album.seldom_seen("desktop-dark", {**DESKTOP, "color_scheme": "dark"})
        album.seldom_seen("narrow-light", {**NARROW, "color_scheme": "light"})
        browser.close()


if __name__ == "__main__":
    main()
