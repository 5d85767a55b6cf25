"""What a run's history has to be, by the word of everyone who took part in it.

Law of this file: no I/O; clients tell it what they sent, what they were answered and what they saw, and it judges:
acknowledged means there once, after any number of crashes; no holes, in order, the same for all.

Every sender names its messages `user.counter`, counting from 1, and sends each again until it is acknowledged, in
order. So a run's history must hold 1, 2, 3 … of each sender, which rules out losses, doubles and disorder at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Violation(AssertionError):
    """A promise was broken."""


class Seen(NamedTuple):
    """What an event is, its number aside: two clients must see the same under the same number."""

    message_id: str
    event_type: str
    data: str
    timestamp: int
    critical: bool
    state_key: str


def seen(event: Mapping[str, Any]) -> Seen:
    """The identity of an envelope."""
    data = event["data"]
    return Seen(
        event["clientMessageId"],
        event["eventType"],
        str(data),
        event["timestamp"],
        event["isCritical"],
        data.get("after", ""),
    )


class History:
    """One run's history as its clients know it. `kept` is how many events the log retains."""

    def __init__(self, name: str, kept: int) -> None:
        self.name = name
        self.kept = kept
        self.head = 0
        """The highest number up to which every event is known."""
        self.epoch: str | None = None
        self.acknowledged = 0
        self.duplicates = 0
        self.safe = 0
        """The highest number that was acknowledged, or seen by anyone."""
        self._events: dict[int, Seen] = {}
        self._acks: dict[int, str] = {}
        self._counters: dict[str, int] = {}
        self._states: dict[tuple[str, str], list[int]] = {}

    def fail(self, words: str) -> None:
        """A promise was broken: say which, where."""
        raise Violation(f"run {self.name}: {words}")

    # What clients tell

    def same_epoch(self, epoch: str) -> None:
        """A client was told the epoch: it never changes here, since nothing is ever lost."""
        self.epoch = self.epoch or epoch
        if epoch != self.epoch:
            self.fail(f"a new epoch {epoch} after {self.epoch}: history was lost")

    def acknowledge(self, message_id: str, number: int, *, duplicate: bool) -> None:
        """A sender was told that its message is kept under this number."""
        self.acknowledged += 1
        self.duplicates += duplicate
        self.safe = max(self.safe, number)
        known = self._acks.setdefault(number, message_id)
        if known != message_id:
            self.fail(f"number {number} was acknowledged for {known} and for {message_id}")
        self._compare_ack(number)

    def saw(self, number: int, event: Mapping[str, Any]) -> None:
        """A client was sent an event: it is the one that others were sent under this number."""
        identity = seen(event)
        known = self._events.setdefault(number, identity)
        if known != identity:
            self.fail(f"event {number} is {known} for one and {identity} for another")
        if known is identity:
            self.safe = max(self.safe, number)
            self._compare_ack(number)
            while self.head + 1 in self._events:
                self._advance()

    def _compare_ack(self, number: int) -> None:
        event, acknowledged = self._events.get(number), self._acks.get(number)
        if event is not None and acknowledged is not None and event.message_id != acknowledged:
            self.fail(f"number {number} was acknowledged for {acknowledged} and is {event.message_id}")

    def _advance(self) -> None:
        """The next event in order is known: it must be its sender's next message."""
        self.head += 1
        event = self._events[self.head]
        user, _, counter = event.message_id.partition(".")
        expected = self._counters.get(user, 0) + 1
        if int(counter) != expected:
            self.fail(f"event {self.head} is message {counter} of {user}, whose next is {expected}")
        self._counters[user] = expected
        if event.critical:
            self._states.setdefault((event.event_type, event.state_key), []).append(self.head)
        forgotten = self.head - 20 * self.kept
        self._events.pop(forgotten, None)
        self._acks.pop(forgotten, None)

    # What is judged when all is quiet

    def judge(self) -> None:
        """Everything acknowledged is in the history. For when some client has seen all of it."""
        missing = [number for number in self._acks if number > self.head]
        if missing:
            self.fail(f"{len(missing)} acknowledged events are not there, the first is {min(missing)}")

    def judge_finished(self, sent: Mapping[str, int]) -> None:
        """All that was ever sent is there: `sent` is the last counter of each sender."""
        self.judge()
        there = {user: self._counters.get(user, 0) for user in sent}
        if there != dict(sent):
            self.fail(f"sent was {dict(sent)}, there is {there}")

    def judge_joiner(self, oldest: int, head: int, replayed: Iterable[int], state: Iterable[int]) -> None:
        """A late joiner got every critical event from `oldest` to `head`, and with `runState` the state of all before.

        For when the history is known up to `head`.
        """
        replayed, state = set(replayed), set(state)
        owed = {number for number in range(oldest, head + 1) if self._events[number].critical}
        if replayed != owed:
            self.fail(f"a late joiner at {oldest}…{head} lacks {sorted(owed - replayed)[:5]} of its replay")
        for place, numbers in self._states.items():
            newest = bisect_right(numbers, head)
            if newest and numbers[newest - 1] < oldest and numbers[newest - 1] not in state:
                self.fail(f"a late joiner at {oldest}…{head} lacks the state {place}, event {numbers[newest - 1]}")
            del numbers[: max(0, newest - 50)]
