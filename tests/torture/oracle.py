"""The judge of what clients were told: each persisted event once, in order, the same for all, none lost that was
acknowledged (docs/protocol.md, "What is promised").

Law of this file: pure. It is shown what came over the wire and raises `Broken` at the first promise that did not hold.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any


class Broken(AssertionError):
    """A promise of the protocol did not hold."""


class Log:
    """What all clients of one run together have seen of its log."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.epoch: str | None = None
        self.head = 0
        self._digests = array("q", [0])
        self._critical = bytearray(b"\0")
        self._numbers: dict[int, int] = {}
        self._acknowledged: dict[int, int] = {}
        self._joins: list[tuple[str, int, int, list[int]]] = []

    def saw_epoch(self, epoch: str) -> None:
        """Every client is told the same epoch."""
        self.epoch = self.epoch or epoch
        if epoch != self.epoch:
            raise Broken(f"{self.name}: the epoch changed from {self.epoch} to {epoch}")

    def saw_event(self, event: dict[str, Any]) -> None:
        """Everyone sees the same event under a number, and each message under one number."""
        number = event["sequenceNumber"]
        digest = _digest(event["userId"], event["clientMessageId"])
        while len(self._digests) <= number:
            self._digests.append(0)
            self._critical.append(0)
        known = self._digests[number]
        if known not in (0, digest):
            raise Broken(f"{self.name}: two clients saw different events under number {number}: {event}")
        if self._numbers.setdefault(digest, number) != number:
            raise Broken(f"{self.name}: {event['clientMessageId']} has numbers {self._numbers[digest]} and {number}")
        self._digests[number] = digest
        self._critical[number] = 1 + event["isCritical"]
        self.head = max(self.head, number)

    def saw_ack(self, user: str, message_id: str, number: int) -> None:
        """An acknowledged message keeps its number for ever."""
        digest = _digest(user, message_id)
        if self._acknowledged.setdefault(digest, number) != number:
            raise Broken(f"{self.name}: {message_id} acknowledged as {self._acknowledged[digest]} and {number}")

    def saw_join(self, who: str, oldest: int, head: int, replayed: list[int]) -> None:
        """Judged later, when everything up to `head` was seen: whoever joins is replayed every critical event."""
        self._joins.append((who, oldest, head, replayed))

    def judge(self, head: int) -> None:
        """Judge what can be judged once everything up to `head`, the log's end, was seen by somebody."""
        missing = [number for number in range(1, head + 1) if number >= len(self._digests) or not self._digests[number]]
        if missing:
            raise Broken(f"{self.name}: nobody was told {missing[:10]} ({len(missing)} numbers up to {head})")
        if self.head > head:
            raise Broken(f"{self.name}: number {self.head} was told, and the log ends at {head}")
        for digest, number in self._acknowledged.items():
            if self._numbers.get(digest) != number:
                raise Broken(
                    f"{self.name}: what was acknowledged as {number} is {self._numbers.get(digest)} in the log"
                )
        for who, oldest, welcome_head, replayed in self._joins:
            wanted = [number for number in range(oldest, welcome_head + 1) if self._critical[number] == 2]
            if replayed != wanted:
                raise Broken(
                    f"{self.name}: {who} joined at {welcome_head} (oldest {oldest}) and was replayed "
                    f"{replayed[:10]}… ({len(replayed)}), not {wanted[:10]}… ({len(wanted)})"
                )
        self._joins.clear()

    @property
    def acknowledged(self) -> int:
        """How many messages were acknowledged."""
        return len(self._acknowledged)


@dataclass
class Place:
    """A position that a client comes back to."""

    epoch: str
    number: int


class View:
    """What one client sees of a run over all of its connections, whatever their transport."""

    def __init__(self, log: Log, who: str) -> None:
        self._log = log
        self.who = who
        self.place: Place | None = None
        self.session_id: str | None = None
        self.events = 0
        self.resets = 0
        self._replaying = 0
        self._joining = (0, 0)
        self._replayed: list[int] = []

    def welcome(self, data: dict[str, Any]) -> None:
        """A WebSocket's WELCOME, to a client that asked to resume from `place`, if it has one."""
        self._log.saw_epoch(data["epoch"])
        self.session_id = data["sessionId"]
        head, oldest, count = data["sequenceNumber"], data["oldestSequence"], data["replayCount"]
        place = self.place
        if place is not None and oldest - 1 <= place.number <= head:
            if not data["recovered"] or count != head - place.number:
                raise Broken(f"{self.who}: {place} is retained, and this is no whole resume: {data}")
            return
        if data["recovered"] or (place is not None and data.get("resetReason") != "trimmed"):
            raise Broken(f"{self.who}: {place} is not retained, and this does not say so: {data}")
        self.resets += place is not None
        self.place = Place(data["epoch"], head)
        self._replaying, self._joining, self._replayed = count, (oldest, head), []
        if not count:
            self._log.saw_join(self.who, oldest, head, [])

    def lost(self) -> None:
        """A connection has ended. Who has not been replayed everything has no position yet, and joins anew."""
        if self._replaying:
            self._replaying = 0
            self.place = None

    def event(self, event: dict[str, Any]) -> None:
        """An envelope that came over a WebSocket; transient ones prove nothing and are passed over."""
        number = event.get("sequenceNumber")
        if number is None:
            return
        if self.place is None:
            raise Broken(f"{self.who}: {number} came before WELCOME")
        self._log.saw_event(event)
        self.events += 1
        if self._replaying:
            self._replay(number, event["isCritical"])
        elif number != self.place.number + 1:
            raise Broken(f"{self.who}: {number} came after {self.place.number}")
        else:
            self.place.number = number

    def _replay(self, number: int, is_critical: bool) -> None:
        if not is_critical or (self._replayed and number <= self._replayed[-1]):
            raise Broken(f"{self.who}: replayed {number} (critical: {is_critical}) after {self._replayed[-3:]}")
        self._replayed.append(number)
        self._replaying -= 1
        if not self._replaying:
            self._log.saw_join(self.who, *self._joining, self._replayed)

    def poll(self, answer: dict[str, Any]) -> None:
        """A poll's answer, asked for after `place` or, without one, after 0."""
        self._log.saw_epoch(answer["epoch"])
        self.session_id = answer["sessionId"]
        after = self.place.number if self.place is not None else 0
        oldest, head = answer["oldestSequence"], answer["sequenceNumber"]
        numbers = [event["sequenceNumber"] for event in answer["events"]]
        for event in answer["events"]:
            self._log.saw_event(event)
        self.events += len(numbers)
        if not answer["recovered"]:
            if after and (answer["resetReason"] != "trimmed" or oldest - 1 <= after):
                raise Broken(f"{self.who}: no resume after {after} (oldest {oldest}): {answer['resetReason']}")
            self.resets += after > 0
            first = numbers[0] if numbers else oldest  # trimming may have gone on while it was read
            after = min(first, oldest) - 1 if numbers else head
        if numbers != list(range(after + 1, after + 1 + len(numbers))):
            raise Broken(f"{self.who}: polled after {after} (oldest {oldest}) and was told {numbers[:10]}…")
        if not answer["hasMore"] and after + len(numbers) != head:
            raise Broken(f"{self.who}: polled up to {after + len(numbers)}, nothing is left, and the head is {head}")
        self.place = Place(answer["epoch"], after + len(numbers))


def _digest(user: str, message_id: str) -> int:
    """64 bits that stand for a message; never 0, which stands for nothing."""
    return hash((user, message_id)) or 1
