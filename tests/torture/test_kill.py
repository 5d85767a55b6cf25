"""The short form of `python -m tests.torture kill`, and the oracle's own rules."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.torture import failpoints
from tests.torture.history import History, Violation
from tests.torture.kill import torture

CYCLES = 100


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_kill_9_at_every_named_point_loses_doubles_and_hides_nothing(tmp_path: Path) -> None:
    """A hundred daemons die on one data directory, and everyone who was there agrees on what happened."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    report = torture(CYCLES, seed, tmp_path)
    print(report.text())
    assert report.cycles == CYCLES
    assert report.acknowledged >= 10 * CYCLES
    assert report.duplicates > 0  # messages were sent again that had been kept
    assert report.ghosts == 2
    # Where a moment is missed by chance, the long form has it many times.
    assert len(report.never) <= 10, report.never


@pytest.mark.parametrize("name", failpoints.CALLS)
def test_every_named_point_is_a_place_in_the_daemon(name: str) -> None:
    """A function that was renamed takes its point with it."""
    owner, attribute = failpoints.CALLS[name]
    assert callable(getattr(owner, attribute))


def envelope(message_id: str, *, critical: bool = True, after: str = "A") -> dict[str, Any]:
    """An event as a client sees it."""
    return {
        "clientMessageId": message_id,
        "eventType": "GRAFT",
        "data": {"after": after},
        "timestamp": 1,
        "isCritical": critical,
    }


def test_the_oracle_accepts_what_was_promised() -> None:
    """Acknowledged before or after it is seen, seen by many, by several senders."""
    history = History("one", 10)
    history.acknowledge("ann.1", 1, duplicate=False)
    for number, message_id in enumerate(("ann.1", "bob.1", "ann.2"), 1):
        history.saw(number, envelope(message_id))
        history.saw(number, envelope(message_id))
    history.acknowledge("ann.2", 3, duplicate=True)
    history.judge_finished({"ann": 2, "bob": 1})
    history.judge_joiner(1, 3, [1, 2, 3], [])
    history.judge_joiner(3, 3, [3], [2])


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([("ack", 2, "ann.2"), ("saw", 1, "ann.1")], "are not there"),
        ([("ack", 1, "ann.1"), ("saw", 1, "bob.1")], "acknowledged for ann.1 and is bob.1"),
        ([("saw", 1, "bob.1"), ("ack", 1, "ann.1")], "acknowledged for ann.1 and is bob.1"),
        ([("ack", 1, "ann.1"), ("ack", 1, "ann.2")], "acknowledged for ann.1 and for ann.2"),
        ([("saw", 1, "ann.1"), ("saw", 2, "ann.1")], "is message 1 of ann, whose next is 2"),
        ([("saw", 1, "ann.2")], "is message 2 of ann, whose next is 1"),
        ([("saw", 1, "ann.1"), ("saw", 1, "bob.1")], "for one and"),
    ],
)
def test_the_oracle_sees_a_broken_promise(told: list[tuple[str, int, str]], words: str) -> None:
    """A loss, a double, disorder, and two who were told different things."""
    history = History("one", 10)
    with pytest.raises(Violation, match=words):
        for what, number, message_id in told:
            if what == "ack":
                history.acknowledge(message_id, number, duplicate=False)
            else:
                history.saw(number, envelope(message_id))
        history.judge()


def test_the_oracle_misses_what_a_late_joiner_lacks() -> None:
    """A critical event that was not replayed, and state that left the log unkept."""
    history = History("one", 10)
    for number, after in enumerate("ABA", 1):
        history.saw(number, envelope(f"ann.{number}", after=after))
    with pytest.raises(Violation, match=r"lacks \[2\] of its replay"):
        history.judge_joiner(1, 3, [1, 3], [])
    with pytest.raises(Violation, match="lacks the state"):
        history.judge_joiner(3, 3, [3], [])
