"""A minute of the soak whose long form is an hour (soak.py)."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.torture.oracle import Broken
from tests.torture.soak import soak
from tests.torture.watch import check_flat, check_given_back

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

SECONDS = 35
ROOMS = 4


async def test_a_minute_of_everything_loses_nothing_and_leaves_nothing_over(tmp_path: Path) -> None:
    """Each event once and in order for everyone, memory flat, a short write-ahead log, no task or descriptor left."""
    seed = secrets.randbits(32)
    print(f"python -m tests.torture soak --seconds {SECONDS} --rooms {ROOMS} --seed {seed}")
    report = await soak(SECONDS, ROOMS, seed, tmp_path / "data")
    done = report["done"]
    for what in ("acknowledged", "duplicates", "joins", "switches", "polls", "replays", "resets"):
        assert done[what] > 0, (what, report)


def test_growth_is_seen() -> None:
    """The middle and the last third are compared, whatever the warm-up was."""
    check_flat("steady", [10, 20, 30, 100, 101, 100, 101, 100, 101], share=0.02, least=1)
    with pytest.raises(Broken, match="grows"):
        check_flat("leak", list(range(100, 190)), share=0.02, least=1)


def test_what_is_left_over_when_all_is_quiet_is_seen() -> None:
    """However busy it was: two halves leave as much as one."""
    check_given_back(200_000, 201_000, share=0.01, least=1_000)
    with pytest.raises(Broken, match="left over"):
        check_given_back(200_000, 203_000, share=0.01, least=1_000)
