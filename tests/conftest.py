"""What holds for every test: nothing waits by sleeping.

A test that needs time to pass takes a virtual clock (pytest-trio's `autojump_clock`) or an event. Only tests of the
real process, marked `e2e`, `slow` or `real_time`, may sleep.
"""

from __future__ import annotations

import time

import pytest

LONGEST_SLEEP_S = 0.05
MAY_SLEEP = ("e2e", "slow", "real_time")


@pytest.fixture(autouse=True)
def _no_real_sleep(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a real sleep of more than 50 ms fail the test that does it, on any thread of this process."""
    if any(request.node.get_closest_marker(marker) for marker in MAY_SLEEP):
        return
    really_sleep = time.sleep

    def sleep(seconds: float) -> None:
        if seconds > LONGEST_SLEEP_S:
            pytest.fail(f"slept {seconds} s for real: use a virtual clock or an event, or mark the test real_time")
        really_sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
