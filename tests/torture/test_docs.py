"""docs/reliability.md promises nothing without a test."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.promises import named_tests

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    """A promise whose test is gone is no promise."""
    tests = named_tests(PAGE)
    assert len(tests) > 15
    for file, name in tests:
        assert not name or f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


def test_every_promise_names_a_test() -> None:
    """No row of these tables stands on its word alone."""
    for table in re.findall(r"^\| promise \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        for row in table.splitlines():
            assert "`tests/" in row or "| the same |" in row, row


def test_every_long_form_is_a_command() -> None:
    """What the page says to run can be run."""
    for name in re.findall(r"python -m tests\.torture (\w+)", PAGE):
        assert "\ndef main(" in (ROOT / "tests" / "torture" / f"{name}.py").read_text()
