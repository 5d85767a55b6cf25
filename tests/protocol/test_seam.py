"""The seam between history and live, decided from four numbers and two names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.protocol.seam import JoinPlan, Position, plan_join, reset_reason

numbers = st.integers(0, 12)


@st.composite
def logs(draw: st.DrawFn) -> tuple[int, int]:
    """Head and oldest retained number of some log; nothing retained is head + 1."""
    head = draw(numbers)
    return head, draw(st.integers(1, head + 1))


def test_a_first_join_gets_every_retained_critical_event() -> None:
    """It is no resume and no reset."""
    assert plan_join(None, epoch="e", head=9, oldest=4) == JoinPlan(False, None, 3, critical_only=True)


@given(logs(), numbers, st.sampled_from(["e", "f"]))
def test_a_resume_is_all_or_nothing(log: tuple[int, int], after: int, epoch: str) -> None:
    """Either every event after the position is still there, or the client is told why not and starts over."""
    head, oldest = log
    asked = Position(epoch, after)
    plan = plan_join(asked, epoch="e", head=head, oldest=oldest)
    owed = set(range(after + 1, head + 1))
    retained = set(range(oldest, head + 1))
    if epoch == "e" and after <= head and owed <= retained:
        assert plan == JoinPlan(True, None, after, critical_only=False)
    else:
        reason = reset_reason(asked, epoch="e", head=head, oldest=oldest)
        assert plan == JoinPlan(False, reason, oldest - 1, critical_only=True)
        assert plan.reset_reason is not None


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Position("f", 5), "epoch_changed"),
        (Position("f", 99), "epoch_changed"),
        (Position("e", 10), "ahead_of_log"),
        (Position("e", 9), None),
        (Position("e", 3), None),
        (Position("e", 2), "trimmed"),
        (Position("e", 0), "trimmed"),
    ],
)
def test_the_reason_is_true_to_the_fact(asked: Position, reason: str | None) -> None:
    """Numbers of another history mean nothing, so the epoch is looked at first."""
    assert reset_reason(asked, epoch="e", head=9, oldest=4) == reason


@pytest.mark.parametrize(("after", "reason"), [(0, None), (1, "ahead_of_log")])
def test_an_empty_log_can_be_resumed_from_its_beginning(after: int, reason: str | None) -> None:
    """A client that joined before the first event missed nothing."""
    assert reset_reason(Position("e", after), epoch="e", head=0, oldest=1) == reason


def test_a_log_that_retains_nothing_can_be_resumed_from_its_head() -> None:
    """Only from there."""
    assert reset_reason(Position("e", 7), epoch="e", head=7, oldest=8) is None
    assert reset_reason(Position("e", 6), epoch="e", head=7, oldest=8) == "trimmed"
