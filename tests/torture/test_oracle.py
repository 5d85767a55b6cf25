"""The judge is judged: every way to break a promise has to be noticed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.torture.oracle import Broken, Log, View


def event(number: int, name: str = "", critical: bool = True) -> dict[str, Any]:
    """An envelope as it comes over the wire."""
    name = name or f"m{number}"
    return {"sequenceNumber": number, "userId": "ann", "clientMessageId": name, "isCritical": critical}


def welcome(head: int, oldest: int = 1, count: int = 0, recovered: bool = False, why: str | None = None) -> Any:
    """WELCOME's data."""
    told = {"sessionId": "s", "epoch": "e", "sequenceNumber": head, "oldestSequence": oldest}
    return told | {"replayCount": count, "recovered": recovered, "resetReason": why}


def answer(numbers: list[int], head: int, recovered: bool, oldest: int = 1, why: str | None = None) -> Any:
    """A poll's answer."""
    told = {"sessionId": "s", "epoch": "e", "sequenceNumber": head, "oldestSequence": oldest, "resetReason": why}
    told |= {"hasMore": bool(numbers) and numbers[-1] < head, "recovered": recovered}
    return told | {"events": [event(number) for number in numbers]}


@pytest.fixture
def log() -> Log:
    """A run's log as its clients see it."""
    return Log()


@pytest.fixture
def view(log: Log) -> View:
    """A client that joined at number 3 and has seen 4."""
    view = View(log, "ann")
    view.welcome(welcome(3, count=3))
    for number in (1, 2, 3, 4):
        view.event(event(number))
    return view


def test_what_is_right_is_let_pass(log: Log, view: View) -> None:
    """Live, lost, resumed, polled, trimmed, and all of it judged."""
    view.event(event(5, critical=False))
    view.lost()
    view.welcome(welcome(7, recovered=True, count=2))
    for number in (6, 7, 8):
        view.event(event(number))
    view.poll(answer([9], 9, recovered=True))
    view.poll(answer([20, 21], 21, recovered=False, oldest=20, why="trimmed"))
    view.lost()
    view.welcome(welcome(40, oldest=40, count=1, why="trimmed"))
    view.event(event(40))
    log.saw_ack("ann", "m5", 5)
    other = View(log, "ben")
    other.poll(answer(list(range(1, 41)), 40, recovered=False))
    log.judge(40)


@pytest.mark.parametrize("number", [4, 3, 6])
def test_twice_out_of_order_or_a_hole(view: View, number: int) -> None:
    """After 4 comes 5."""
    with pytest.raises(Broken):
        view.event(event(number))


def test_different_events_under_one_number(log: Log, view: View) -> None:
    """Everyone sees the same."""
    other = View(log, "ben")
    other.welcome(welcome(3, count=0))
    with pytest.raises(Broken, match="different events"):
        other.event(event(4, "another"))


def test_one_message_under_two_numbers(view: View) -> None:
    """A message that was sent again is no second event."""
    with pytest.raises(Broken, match="has numbers"):
        view.event(event(5, "m4"))


@pytest.mark.parametrize(("name", "number"), [("m2", 3), ("lost", 4), ("lost", 9)])
def test_an_acknowledged_message_that_is_not_there(log: Log, view: View, name: str, number: int) -> None:
    """Acknowledged under a number means in the log under that number."""
    log.saw_ack("ann", name, number)
    with pytest.raises(Broken, match="acknowledged"):
        log.judge(4)


def test_two_numbers_acknowledged_for_one_message(log: Log) -> None:
    """Sending again gives the same answer."""
    log.saw_ack("ann", "m1", 1)
    with pytest.raises(Broken, match="acknowledged"):
        log.saw_ack("ann", "m1", 2)


def test_a_number_that_nobody_was_told(log: Log, view: View) -> None:
    """The log's end is at 5, and 5 came to nobody."""
    with pytest.raises(Broken, match="nobody was told"):
        log.judge(5)


def test_a_join_without_all_critical_events(log: Log, view: View) -> None:
    """Who joins is replayed every critical event that is retained."""
    other = View(log, "ben")
    other.welcome(welcome(4, count=3))
    for number in (1, 2, 4):
        other.event(event(number))
    with pytest.raises(Broken, match="was replayed"):
        log.judge(4)


def test_a_replay_of_what_is_not_critical(log: Log) -> None:
    """Late joiners are told critical events only."""
    view = View(log, "ann")
    view.welcome(welcome(3, count=1))
    with pytest.raises(Broken, match="replayed"):
        view.event(event(1, critical=False))


@pytest.mark.parametrize(
    "data",
    [
        welcome(6, recovered=True, count=1),  # two are missing
        welcome(6, recovered=False, count=4, why="trimmed"),  # all is retained
        welcome(9, oldest=6, recovered=True, count=4),  # 5 is not
        welcome(9, oldest=6, recovered=False, count=4, why="ahead_of_log"),
        welcome(6, recovered=True, count=2) | {"epoch": "f"},
    ],
)
def test_a_resume_that_is_not_what_it_says(view: View, data: Any) -> None:
    """All or nothing, and the right reason."""
    view.lost()
    with pytest.raises(Broken):
        view.welcome(data)


@pytest.mark.parametrize(
    "told",
    [
        answer([6], 6, recovered=True),
        answer([4, 5], 5, recovered=True),
        answer([5, 7], 7, recovered=True),
        answer([5], 6, recovered=True) | {"hasMore": False},
        answer([1, 2, 3, 4, 5], 5, recovered=False),
        answer([8], 8, recovered=False, oldest=4, why="trimmed"),
        answer([9], 9, recovered=False, oldest=8, why="trimmed"),
    ],
)
def test_a_poll_that_leaves_out_or_repeats(view: View, told: Any) -> None:
    """The same rules one answer at a time."""
    with pytest.raises(Broken):
        view.poll(told)
