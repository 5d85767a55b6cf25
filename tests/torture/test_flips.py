"""The short form of `python -m tests.torture flips`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.torture.flips import SILENT, torture

FLIPS = 60


@pytest.mark.e2e
def test_no_flipped_bit_alters_history_without_a_word(tmp_path: Path) -> None:
    """In the database and in the write-ahead log: refused, a new epoch, the event named, or not altered at all."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    answers = torture(FLIPS, seed, tmp_path)
    print(answers)
    assert answers[SILENT] == 0
    assert answers["refused"] + answers["a new epoch"] + answers["the event named"] > FLIPS // 6
