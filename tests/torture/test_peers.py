"""Peers who do one wrong thing each, all at once (peers.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.peers import descriptors, peers

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]


def test_peers_who_never_read_write_slowly_or_say_nothing_cost_little_and_move_nobody(tmp_path: Path) -> None:
    """Cut at their deadlines, bounded in memory, unnoticed by others, and no reason to stop late."""
    figures = peers(1000, 40, tmp_path)
    print(figures)
    # 40 outboxes of a quarter MiB, the run's ring, and what 1,000 sockets take; without bounds it was 285 MiB a peer.
    assert figures["grown MiB"] < 60, figures
    assert figures["bystander"]["longest_us"] < 250_000, figures
    assert figures["stopped after s"] < 20, figures


def test_without_a_free_file_descriptor_those_inside_go_on(tmp_path: Path) -> None:
    """One line says it; newcomers wait, and are served when there is room again."""
    figures = descriptors(100, tmp_path)
    print(figures)
    assert figures["open at the worst"] == 100, figures
