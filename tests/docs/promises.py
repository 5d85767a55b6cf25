"""The tests that a page of promises names."""

from __future__ import annotations

import re


def named_tests(page: str) -> list[tuple[str, str]]:
    """File and function of every test on the page; `::name` alone is of the file named before it."""
    found = []
    file = ""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", page):
        file = path or file
        if path or name:
            found.append((file, name))
    return found
