"""What axe-core finds wrong with a page. Law of this file: it looks; tests judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def violations(page: Page, place: str) -> list[str]:
    """Every rule that is broken, and where (`place` says of what); shadow roots included.

    Transitions are let come to their end first.
    """
    page.wait_for_timeout(350)
    page.evaluate(_AXE.read_text())
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(({ violations }) => violations)")
    return [
        f"{place}: {rule['id']}: {node['target']} {node.get('failureSummary', '')}"
        for rule in found
        for node in rule["nodes"]
    ]
