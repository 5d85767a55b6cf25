"""People before browsers: pages of a run, what one does on them, and what the browser complained of.

Law of this file: it drives pages as people do, by names and roles, and asserts nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page

CHROMIUM_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_OPTIONS: Final = [
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What the browser itself says when the network is gone or a link leads nowhere; no page can keep it from doing so.
_NETWORK_WORDS: Final = ("net::ERR_", "WebSocket connection to", "the server responded with a status of")
SOON_MS: Final = 60_000  # a busy machine takes its time; a good one never waits


def find_chromium() -> str | None:
    """The path of a Chromium: $COLLABD_TEST_CHROMIUM, or one that is installed."""
    named = os.environ.get("COLLABD_TEST_CHROMIUM")
    return named or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


class Person:
    """Somebody with a browser of their own. `identity` False is somebody who has not been here before."""

    def __init__(
        self, browser: Browser, url: str, name: str, *, colour: str = "teal", identity: bool = True, **options: Any
    ) -> None:
        self.url = url
        self.name = name
        self.complaints: list[str] = []
        self.network_may_fail = False
        self.context: BrowserContext = browser.new_context(**options)
        self.context.set_default_timeout(SOON_MS)
        if identity:
            remembered = json.dumps(json.dumps({"userId": name, "color": colour}))
            self.context.add_init_script(f"try {{ localStorage.setItem('collabd:identity', {remembered}) }} catch {{}}")
        self.page: Page = self.new_tab()

    def new_tab(self) -> Page:
        """Another tab of the same browser."""
        page = self.context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        is_network = any(words in message.text for words in _NETWORK_WORDS)
        if message.type in ("error", "warning") and not (is_network and self.network_may_fail):
            self.complaints.append(f"{message.type}: {message.text}")

    def enters(self, run_id: str, query: str = "") -> Person:
        """Open a run and wait until it is live."""
        self.page.goto(f"{self.url}/runs/{run_id}{query}")
        self.is_shown("Connected")
        return self

    def is_shown(self, status: str, timeout: float = SOON_MS) -> None:
        """Wait until the connection is said to be so."""
        shown = self.page.locator("app-connection-health .status", has_text=status)
        shown.wait_for(timeout=timeout)

    def card(self, node: str) -> Locator:
        """A step or an agent in the pipeline."""
        return self.page.locator(f"run-pipeline .node[data-id={json.dumps(node, ensure_ascii=False)}]").first

    def grafts(self, agent: str, *, after: str) -> None:
        """Graft an agent after a step, with the button below it."""
        self.page.get_by_role("button", name=f"Graft an agent after {after}", exact=True).locator(
            "visible=true"
        ).click()
        self.page.get_by_label("Graft an agent after it").fill(agent)
        self.page.get_by_role("button", name="Graft", exact=True).click()

    def prunes(self, step: str) -> None:
        """Prune a step."""
        self.page.get_by_role("button", name=f"Prune {step}", exact=True).click()

    def restores(self, step: str) -> None:
        """Restore a step."""
        self.page.get_by_role("button", name=f"Restore {step}", exact=True).click()

    def flags(self, step: str, note: str) -> None:
        """Flag a step with a note, or change the note."""
        self.card(step).locator(".tools .flag").click()
        self.page.get_by_label("Flag it with a note").fill(note)
        self.page.locator("run-pipeline .panel").get_by_role("button", name="Flag", exact=True).or_(
            self.page.get_by_role("button", name="Change note", exact=True)
        ).click()

    def looks_at(self, step: str) -> None:
        """Point at a step."""
        self.page.mouse.move(0, 0)
        self.card(step).locator(".face").hover()

    def picture(self) -> list[str]:
        """The pipeline as it is drawn: a line for each card."""
        lines: list[str] = self.page.locator("run-pipeline .node").evaluate_all(
            """cards => cards.map((card) => {
                const { title } = card.querySelector(".face");  // the id, then the note
                const id = card.getAttribute("data-id");
                return (card.classList.contains("agent") ? "  " : "") + id
                    + (card.hasAttribute("data-pruned") ? " (pruned)" : "")
                    + (card.hasAttribute("data-flagged") ? ` [${title.slice(id.length + 2)}]` : "");
            })"""
        )
        return lines

    def feed(self) -> list[str]:
        """The sentences of the feed that are drawn, newest first."""
        rows = self.page.locator("run-feed .row .sentence")
        shown: list[tuple[str, str]] = rows.evaluate_all(
            "rows => rows.map((row) => [row.closest('.row').getAttribute('data-index'), row.textContent])"
        )
        return [text for _, text in sorted(shown, key=lambda row: int(row[0]))]

    def queued(self) -> int:
        """How many messages wait, as the page says."""
        return int(self.page.evaluate("document.querySelector('app-connection-health').queuedMessages"))


def soon(page: Page, check: Callable[[], bool], what: str, timeout_ms: float = SOON_MS) -> None:
    """Wait until something holds that only Python can judge. Raises AssertionError."""
    waited = 0
    while not check():
        assert waited < timeout_ms, f"{what}, not within {timeout_ms:.0f} ms"
        page.wait_for_timeout(50)
        waited += 50
