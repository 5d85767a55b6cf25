"""A network that fails in every way, for a while (network.py), and fifty changes of transport under writes."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.torture.network import FAULTS, faults, switches

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


async def test_everything_comes_once_and_in_order_after_every_kind_of_fault(tmp_path: Path) -> None:
    """Cut, stalled, half open, delayed, cut in mid-frame, overtaken, deaf and refused: then everyone is level."""
    seed = secrets.randbits(32)
    print(f"python -m tests.torture network --seconds 1 --switches 0 --seed {seed}")
    report = await faults(1, seed, tmp_path / "data")
    print(report)
    assert set(report["faults"]) == set(FAULTS)
    assert report["connections"] > 2 * 6


async def test_fifty_changes_between_websocket_and_polling_lose_and_double_nothing(tmp_path: Path) -> None:
    """Under one session and from one position, while others write."""
    seed = secrets.randbits(32)
    print(f"python -m tests.torture network --seconds 0 --switches 50 --seed {seed}")
    report = await switches(50, seed, tmp_path / "data")
    assert report["switches"] >= 50
    assert report["acknowledged"] > 0
