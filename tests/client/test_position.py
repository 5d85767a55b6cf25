"""Events reach the application once and in order, and a change of history is told as one reset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.client.messages import Event, Malformed, Position, Reset
from collabd.client.position import Intake, Item
from collabd.client.settings import HELD_EVENTS
from tests.client.building import event, snapshot, welcome


def numbers(items: list[Item]) -> list[int | None]:
    """The numbers of the events among items."""
    return [item.sequence_number for item in items if isinstance(item, Event)]


def joined(head: int) -> Intake:
    """An intake that joined a run whose log ends with `head`, with nothing to replay."""
    intake = Intake()
    intake.welcome(None, welcome(head, 0))
    return intake


def test_a_first_join_hands_on_state_and_replay_when_whole_and_is_no_reset() -> None:
    """R62: nothing of a join is handed on before all of it came; then the position is the head."""
    intake = Intake()
    assert intake.welcome(None, welcome(9, 2, state=(event(1),))) == []
    assert intake.event(event(4)) == []
    assert intake.position is None
    assert numbers(intake.event(event(7))) == [1, 4, 7]
    assert intake.position == Position("e1", 9)


def test_a_join_that_breaks_off_leaves_no_trace() -> None:
    """R62: the next join is the first one."""
    intake = Intake()
    intake.welcome(None, welcome(9, 2))
    intake.event(event(4))
    intake.connection_lost()
    intake.welcome(None, welcome(9, 2))
    assert numbers(intake.event(event(4)) + intake.event(event(7))) == [4, 7]


def test_transient_events_pass_at_any_time() -> None:
    """R60: a cursor moves while a replay comes in."""
    intake = Intake()
    intake.welcome(None, welcome(9, 2))
    cursor = event(None, "CURSOR_MOVE")
    assert intake.event(cursor) == [cursor]


def test_a_resume_hands_on_each_event_as_it_comes() -> None:
    """R61: the position moves with them, so that a broken resume goes on where it broke."""
    intake = joined(3)
    asked = intake.position
    assert intake.welcome(asked, welcome(5, 2, recovered=True)) == []
    assert numbers(intake.event(event(4))) == [4]
    assert intake.position == Position("e1", 4)
    assert numbers(intake.event(event(5)) + intake.event(event(6))) == [5, 6]
    assert intake.missing_from is None


def test_a_resume_that_brings_too_little_is_a_hole() -> None:
    """R61: after `replayCount` events the position must be the head."""
    intake = joined(3)
    intake.welcome(intake.position, welcome(5, 1, recovered=True))
    intake.event(event(4))
    assert intake.missing_from == 5


def test_a_duplicate_is_dropped() -> None:
    """R64: what was handed on never comes again."""
    intake = joined(3)
    assert intake.event(event(3)) == []
    assert intake.missing_from is None


def test_a_hole_holds_everything_after_it_until_it_is_repaired() -> None:
    """R64, R65: nothing behind a hole is handed on; the replay closes it, what was held follows."""
    intake = joined(3)
    asked = intake.position
    assert asked is not None
    assert intake.event(event(6)) + intake.event(event(7)) == []
    missing = intake.missing_from
    assert missing == 4
    assert numbers(intake.replay_answer(asked, snapshot(7, events=(event(4), event(5))))) == [4, 5, 6, 7]
    assert intake.missing_from is None
    assert intake.position == Position("e1", 7)


def test_a_hole_that_is_only_partly_repaired_is_asked_for_again() -> None:
    """R65: with a limit on the answer it may take several."""
    intake = joined(3)
    asked = intake.position
    assert asked is not None
    intake.event(event(7))
    intake.replay_answer(asked, snapshot(7, events=(event(4),)))
    assert intake.missing_from == 5


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (snapshot(7, epoch="e2", events=(event(4),)), "epoch_changed"),
        (snapshot(7, events=(event(6), event(7))), "trimmed"),
        (snapshot(7), "trimmed"),
        (snapshot(3), "ahead_of_log"),
    ],
)
def test_a_hole_that_cannot_be_repaired_becomes_a_reset(answer: object, reason: str) -> None:
    """R66: then the position is forgotten and the next join is told as a reset."""
    intake = joined(3)
    asked = intake.position
    assert asked is not None
    intake.event(event(7))
    assert intake.replay_answer(asked, answer) == []  # type: ignore[arg-type]
    assert intake.position is None
    intake.welcome(None, welcome(8, 1))
    assert intake.event(event(6)) == [Reset(reason, "e1", 8, (event(6),))]


def test_a_refused_resume_is_told_as_one_reset_with_the_whole_new_state() -> None:
    """R62, R63: state, then replay, in one item, with the server's reason."""
    intake = joined(3)
    intake.welcome(intake.position, welcome(9, 1, epoch="e2", reason="epoch_changed", state=(event(1),)))
    assert intake.event(event(5)) == [Reset("epoch_changed", "e2", 9, (event(1), event(5)))]
    assert intake.position == Position("e2", 9)
    assert numbers(intake.event(event(10))) == [10]


def test_a_welcome_that_resumes_what_was_not_asked_for_is_no_collabd() -> None:
    """R63."""
    with pytest.raises(Malformed):
        joined(3).welcome(Position("e0", 3), welcome(3, 0, recovered=True))
    with pytest.raises(Malformed):
        Intake().welcome(None, welcome(3, 0, recovered=True))


def test_a_first_poll_hands_on_state_and_events_without_looking_for_holes() -> None:
    """R75: from the start of what is retained, wherever that is."""
    intake = Intake()
    assert numbers(intake.poll_answer(None, snapshot(9, state=(event(2),), events=(event(5), event(7))))) == [2, 5, 7]
    assert intake.position == Position("e1", 7)
    assert numbers(intake.poll_answer(intake.position, snapshot(9, recovered=True, events=(event(8),)))) == [8]


def test_a_poll_without_events_moves_to_the_head_only_when_it_is_a_join() -> None:
    """R75."""
    intake = Intake()
    assert intake.poll_answer(None, snapshot(9)) == []
    assert intake.position == Position("e1", 9)
    assert intake.poll_answer(intake.position, snapshot(12, recovered=True)) == []
    assert intake.position == Position("e1", 9)


def test_a_poll_from_zero_is_never_a_reset_in_the_same_epoch() -> None:
    """R75: a run that was empty is joined; what came and was trimmed since comes as state."""
    intake = joined(0)
    answer = snapshot(9, state=(event(2),), events=(event(8), event(9)))
    assert numbers(intake.poll_answer(intake.position, answer)) == [2, 8, 9]


def test_a_poll_that_cannot_resume_is_a_reset() -> None:
    """R75."""
    intake = joined(5)
    items = intake.poll_answer(intake.position, snapshot(2, epoch="e2", reason="epoch_changed", events=(event(2),)))
    assert items == [Reset("epoch_changed", "e2", 2, (event(2),))]


def test_a_hole_in_a_poll_is_repaired_too() -> None:
    """R75."""
    intake = joined(5)
    assert intake.poll_answer(intake.position, snapshot(9, recovered=True, events=(event(8),))) == []
    assert intake.missing_from == 6


def test_a_late_answer_is_used_only_as_far_as_it_follows() -> None:
    """R67: a poll or replay asked from a position that has changed meanwhile doubles nothing and skips nothing."""
    intake = joined(5)
    asked = intake.position
    assert asked is not None
    intake.event(event(6))
    assert numbers(intake.poll_answer(asked, snapshot(7, recovered=True, events=(event(6), event(7))))) == [7]
    assert intake.poll_answer(asked, snapshot(1, epoch="e2")) == []
    assert intake.replay_answer(asked, snapshot(7, events=(event(6), event(7)))) == []
    assert intake.replay_answer(Position("e0", 3), snapshot(7, events=(event(4),))) == []
    assert intake.position == Position("e1", 7)


def test_an_application_without_room_gets_the_rest_later_like_a_hole() -> None:
    """P1: a persisted event is not taken, a transient one is dropped."""
    intake = joined(5)
    assert intake.event(event(6), has_room=False) == []
    assert intake.event(event(None), has_room=False) == []
    asked = intake.position
    assert asked == Position("e1", 5)
    assert intake.missing_from == 6
    assert numbers(intake.replay_answer(asked, snapshot(6, events=(event(6),)))) == [6]


def test_no_more_than_a_bounded_number_is_held() -> None:
    """R64: beyond it, resuming is cheaper."""
    intake = joined(0)
    for number in range(2, HELD_EVENTS + 2):
        intake.event(event(number))
    assert not intake.holds_too_much
    intake.event(event(HELD_EVENTS + 2))
    assert intake.holds_too_much


def test_a_position_of_another_run_of_the_application_is_resumed() -> None:
    """R61: an application may keep its position; if it cannot be resumed that is a reset, not a first join."""
    intake = Intake(Position("e1", 4))
    intake.welcome(intake.position, welcome(5, 1, recovered=True))
    assert numbers(intake.event(event(5))) == [5]
    intake = Intake(Position("e0", 4))
    assert intake.welcome(intake.position, welcome(5, 0, reason="epoch_changed")) == [
        Reset("epoch_changed", "e1", 5, ())
    ]


@given(st.data())
def test_however_it_arrives_the_application_sees_every_event_once_in_order(data: st.DataObject) -> None:
    """Drops, doubles, replays, polls, resumes and lost connections: the view stays gapless and free of doubles."""
    intake = joined(0)
    head = 0
    seen: list[int | None] = []
    for _ in range(data.draw(st.integers(0, 60))):
        position = intake.position
        assert position is not None
        step = data.draw(st.sampled_from(["live", "lost", "double", "replay", "poll", "resume", "no room"]))
        if step in ("live", "lost", "no room"):
            head += 1
        if step in ("live", "no room"):
            seen += numbers(intake.event(event(head), has_room=step == "live"))
        elif step == "double" and head:
            seen += numbers(intake.event(event(data.draw(st.integers(1, head)))))
        elif step == "replay" and intake.missing_from is not None:
            end = data.draw(st.integers(intake.missing_from, head))
            found = tuple(event(number) for number in range(intake.missing_from, end + 1))
            seen += numbers(intake.replay_answer(position, snapshot(head, events=found)))
        elif step == "poll":
            found = tuple(event(number) for number in range(position.sequence_number + 1, head + 1))
            seen += numbers(intake.poll_answer(position, snapshot(head, recovered=True, events=found)))
        elif step == "resume":
            intake.connection_lost()
            intake.welcome(position, welcome(head, head - position.sequence_number, recovered=True))
            for number in range(position.sequence_number + 1, head + 1):
                seen += numbers(intake.event(event(number)))
    assert seen == list(range(1, len(seen) + 1))
    final = intake.position
    assert final is not None
    assert final.sequence_number == len(seen)
    assert (intake.missing_from is None) or intake.missing_from == len(seen) + 1
