"""Programs of Debian's `prometheus` package that tests run. Missing, a test is skipped and says so; in CI it fails."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str) -> str:
    """The path of `promtool` or `prometheus`."""
    found = shutil.which(name)
    if found is None:
        message = f"NOT TESTED: {name} is not installed (Debian: apt install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
