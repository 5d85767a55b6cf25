"""docs/security.md promises nothing without a test."""

from __future__ import annotations

import re
from pathlib import Path

from collabd.config import settings
from tests.docs.promises import named_tests

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    """A promise whose test is gone is no promise."""
    tests = named_tests(PAGE)
    assert len(tests) > 50
    for file, name in tests:
        text = (ROOT / file).read_text()
        assert not name or f"def {name}(" in text, f"{file}::{name}"


def test_every_promise_names_a_test() -> None:
    """No row of these tables stands on its word alone."""
    for table in re.findall(r"^\| (?:promise|limit) \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        for row in table.splitlines():
            assert "`tests/" in row, row


def test_every_setting_of_limits_and_tokens_stands_there() -> None:
    """Operators find all of them on one page."""
    names = [setting.key for setting in settings().values() if setting.table in ("limits", "auth")]
    assert [name for name in names if name not in PAGE] == []
