"""Where the application stands in the run's history, and which events it gets next: each once, in order, no hole.

Law of this file: docs/client-behaviour.md R40 and R60 to R67, R75. Pure: messages in, items for the application out.
Whoever calls it asks `missing_from` after each step and fetches what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable

from collabd.client.messages import Event, Malformed, Position, Reset, Snapshot, Welcome
from collabd.client.settings import HELD_EVENTS

Item = Event | Reset


class _Join:
    """A WELCOME that is no resume, while its replay comes in."""

    def __init__(self, welcome: Welcome) -> None:
        self.snapshot = welcome.snapshot
        self.events = list(welcome.snapshot.run_state)
        self.left = welcome.replay_count


class Intake:
    """Decides what of that which arrives is handed on. Every method returns the items to hand on, in order."""

    def __init__(self, position: Position | None = None) -> None:
        self.position = position
        self._joined = position is not None
        self._join: _Join | None = None
        self._replay_left = 0
        self._known = 0 if position is None else position.sequence_number
        self._held: dict[int, Event] = {}
        self._why_forgotten: str | None = None

    @property
    def missing_from(self) -> int | None:
        """The number from which events are missing, so that replay has to be asked; None when there is no hole."""
        if self.position is None or self._join is not None or self._replay_left:
            return None
        number = self.position.sequence_number
        return number + 1 if self._known > number else None

    def is_stale(self, asked: Position | None) -> bool:
        """The position became another history's since a connection was made to resume from `asked`."""
        if asked is None or self.position is None:
            return asked is not self.position
        return asked.epoch != self.position.epoch

    @property
    def holds_too_much(self) -> bool:
        """More waits behind a hole than is worth keeping: drop the connection and resume (R64)."""
        return len(self._held) > HELD_EVENTS

    @property
    def replay_is_whole(self) -> bool:
        """WELCOME's replay has come in."""
        return self._join is None and not self._replay_left

    def connection_lost(self) -> None:
        """A half received join is forgotten, and what was held comes again (R62)."""
        self._join = None
        self._replay_left = 0
        self._held.clear()
        self._known = 0 if self.position is None else self.position.sequence_number

    def forget(self, why: str) -> None:
        """Give the position up: the next join is a reset for the reason `why` (R66)."""
        self.connection_lost()
        self.position = None
        self._why_forgotten = why

    # WebSocket

    def welcome(self, asked: Position | None, welcome: Welcome) -> list[Item]:
        """WELCOME came on a connection that asked to resume from `asked` (R61, R62). Malformed: it lies."""
        snapshot = welcome.snapshot
        self.connection_lost()
        if not snapshot.recovered:
            self._join = _Join(welcome)
            return self._joined_now() if welcome.replay_count == 0 else []
        if asked is None or snapshot.epoch != asked.epoch:
            raise Malformed("it claims to resume what was not asked for")
        self._replay_left = welcome.replay_count
        self._known = max(self._known, snapshot.sequence_number)
        return []

    def event(self, event: Event, *, has_room: bool = True) -> list[Item]:
        """An event came over WebSocket. Without room a persisted one is not taken: it becomes a hole (P1)."""
        if event.sequence_number is None:
            return [event] if has_room else []
        if self._join is not None:
            self._join.events.append(event)
            self._join.left -= 1
            return self._joined_now() if self._join.left == 0 else []
        if self._replay_left:
            self._replay_left -= 1
        if self.position is None:
            return []
        if not has_room:
            self._known = max(self._known, event.sequence_number)
            return []
        return self._take(event)

    def _joined_now(self) -> list[Item]:
        join, self._join = self._join, None
        assert join is not None
        return self._start_over(join.snapshot, join.events, join.snapshot.sequence_number)

    # HTTP

    def replay_answer(self, asked: Position, answer: Snapshot) -> list[Item]:
        """Replay from `asked` + 1 was answered (R65 to R67). It may end with no position: then join anew."""
        if self.position is None or self.position.epoch != asked.epoch or self._join is not None:
            return []
        wanted = asked.sequence_number + 1
        if answer.epoch != asked.epoch:
            self.forget("epoch_changed")
            return []
        first = answer.events[0].sequence_number if answer.events else None
        if first is not None and first > wanted:
            self.forget("trimmed")
            return []
        if first is None and answer.sequence_number >= wanted > self.position.sequence_number:
            self.forget("trimmed")
            return []
        if first is None:  # the log ends before what is said to be missing
            self.forget("ahead_of_log")
            return []
        return self._take_all(answer.events)

    def poll_answer(self, asked: Position | None, answer: Snapshot) -> list[Item]:
        """A poll from `asked` was answered (R67, R75)."""
        if asked != self.position:
            if self.position is None or answer.epoch != self.position.epoch:
                return []
            return self._take_all(event for event in answer.events if event.sequence_number == self._next())
        if asked is not None and answer.epoch == asked.epoch and (answer.recovered or asked.sequence_number == 0):
            if asked.sequence_number > 0:
                return self._take_all(answer.events)
            self._known = _last_number(answer.events, 0)
            self.position = Position(answer.epoch, self._known)
            return [*answer.run_state, *answer.events]
        end = _last_number(answer.events, answer.sequence_number)
        return self._start_over(answer, [*answer.run_state, *answer.events], end)

    # Shared

    def _start_over(self, snapshot: Snapshot, events: list[Event], number: int) -> list[Item]:
        """Whole state came: ordinary events for an application that has none yet, a reset for one that has."""
        old_epoch = None if self.position is None else self.position.epoch
        reason = snapshot.reset_reason or self._why_forgotten
        if reason is None:
            reason = "epoch_changed" if old_epoch != snapshot.epoch else "trimmed"
        self.position = Position(snapshot.epoch, number)
        self._known = number
        self._why_forgotten = None
        if self._joined:
            return [Reset(reason, snapshot.epoch, number, tuple(events))]
        self._joined = True
        return list(events)

    def _next(self) -> int:
        return 1 if self.position is None else self.position.sequence_number + 1

    def _take_all(self, events: Iterable[Event]) -> list[Item]:
        items: list[Item] = []
        for event in events:
            items += self._take(event)
        return items

    def _take(self, event: Event) -> list[Item]:
        """Hand on what is next, with what was held behind it; hold what is further (R64)."""
        assert self.position is not None
        assert event.sequence_number is not None
        number = event.sequence_number
        self._known = max(self._known, number)
        if number < self._next():
            return []
        if number > self._next():
            self._held[number] = event
            return []
        items: list[Item] = []
        following: Event | None = event
        while following is not None:
            items.append(following)
            self.position = Position(self.position.epoch, self._next())
            following = self._held.pop(self._next(), None)
        return items


def _last_number(events: tuple[Event, ...], default: int) -> int:
    number = events[-1].sequence_number if events else None
    return default if number is None else number
