"""Hostile bytes for a while (fuzz.py); the long form runs until it is told to stop."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.torture.fuzz import TARGETS, fuzz, fuzz_process

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_make_a_part_fail_otherwise_than_by_refusing(name: str) -> None:
    """Messages, frames in any slicing, heads, queries, configuration files."""
    seed = secrets.randbits(32)
    print(f"python -m tests.torture fuzz --target {name} --seed {seed}")
    assert fuzz(name, 1, seed) > 20


def test_no_bytes_make_the_process_fail_or_keep_anything(tmp_path: Path) -> None:
    """Never a 500, a traceback, an end, a task or a descriptor left over."""
    seed = secrets.randbits(32)
    print(f"python -m tests.torture fuzz --target process --seed {seed}")
    report = fuzz_process(5, seed, tmp_path / "data")
    print(report)
    assert report["offered"] >= 5
