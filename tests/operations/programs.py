"""Programs of Debian's `prometheus` package that tests run. Missing, a test is skipped and says so; in CI it fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

UNPACKED = Path(__file__).parents[2] / ".venv" / "debian" / "usr" / "bin"
"""Where packaging/checkout.py puts them on a machine without."""


def program(name: str) -> str:
    """The path of `promtool` or `prometheus`."""
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    if found is None:
        message = f"NOT TESTED: {name} is not installed (Debian: apt install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
