"""Group commit: the events that wait in all runs go to the store together, then each run tells its own.

Law of this file: one task, owned by the hub, is the only one that appends; the order of a run's inbox is the order
of its numbers. While one commit is being synced to disk the next batch gathers by itself (architecture, decision 4).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

import trio

from collabd.errors import ProtocolError, StorageUnavailable
from collabd.store.interface import NewEvent, Outcome

if TYPE_CHECKING:
    from collabd.hub.run import Run
    from collabd.hub.tick import Tick
    from collabd.metrics import Counters
    from collabd.store.interface import AppendResult, Store

logger = logging.getLogger("collabd.hub")

MAX_BATCH_EVENTS: Final = 4096
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""Bounds of one commit, so that a flood delays nobody's ACK for long."""

MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
"""Above this readers pause, and TCP passes the pressure on to the senders."""

EVENT_OVERHEAD_BYTES: Final = 256


class Order(Protocol):
    """Decides whether a message may pass after an earlier one of the same sender was refused."""

    def admit(self, client_message_id: str | None) -> int:
        """Number a message that came, or raise the ProtocolError to answer with."""

    def confirm(self, client_message_id: str | None, number: int) -> None:
        """Let a numbered message into its commit, or raise the ProtocolError to answer with."""

    def refused(self, client_message_id: str | None, answer: ProtocolError, number: int | None = None) -> None:
        """Note a refusal."""


class Submission:
    """One event waiting for its sequence number, and how to answer whoever sent it.

    Raises ProtocolError where an earlier message of the same sender has to come again first.
    """

    __slots__ = ("_answer", "_number", "_order", "event", "is_answered")

    def __init__(
        self, event: NewEvent, order: Order, answer: Callable[[NewEvent, Outcome | ProtocolError], None]
    ) -> None:
        self.event = event
        self.is_answered = False
        self._answer = answer
        self._order = order
        self._number = order.admit(event.client_message_id)

    def passes(self) -> bool:
        """Whether the sender's order still lets the event go on; otherwise its sender has just been answered."""
        try:
            self._order.confirm(self.event.client_message_id, self._number)
        except ProtocolError as error:
            self.answer(error)
            return False
        return True

    def answer(self, outcome: Outcome | ProtocolError) -> None:
        """Tell the sender what became of it; only the first time counts."""
        if not self.is_answered:
            self.is_answered = True
            self._answer(self.event, outcome)

    def refuse(self, error: ProtocolError) -> None:
        """Answer that the event was not kept."""
        error.client_message_id = self.event.client_message_id
        self._order.refused(self.event.client_message_id, error, self._number)
        self.answer(error)


class Committer:
    """Commits what waits in the runs' inboxes, all of it at a time."""

    def __init__(self, store: Store, counters: Counters, tick: Tick) -> None:
        self._store = store
        self._counters = counters
        self._tick = tick
        self._waiting: dict[Run, list[Submission]] = {}
        self._waiting_bytes = 0
        self._in_commit: dict[Run, list[Submission]] = {}
        self._wake = trio.Event()
        self._room = trio.Event()
        self._told = trio.Event()
        self._submitted_count = 0
        self._told_count = 0
        self._idle = trio.Event()
        self._idle.set()
        self.storage_error: str | None = None
        """Why the last commit was refused, None when it went well."""

    @property
    def congested(self) -> bool:
        """Whether readers should pause (await wait_room)."""
        return self._waiting_bytes > MAX_WAITING_BYTES

    def has(self, run: Run) -> bool:
        """Whether events of this run wait or are being committed."""
        return run in self._waiting or run in self._in_commit

    def submit(self, run: Run, submission: Submission) -> None:
        """Put an event into its run's inbox; the run is told what became of it, then the sender."""
        self._waiting.setdefault(run, []).append(submission)
        self._waiting_bytes += _cost(submission)
        self._submitted_count += 1
        self._idle = self._idle if not self._idle.is_set() else trio.Event()
        self._wake.set()

    async def wait_room(self) -> None:
        """Wait until less is waiting."""
        while self.congested:
            await self._room.wait()

    def abandon(self, run: Run) -> None:
        """Refuse what waits in the inbox of a run that is closed; what is being committed is told as ever."""
        for submission in self._waiting.pop(run, ()):
            self._waiting_bytes -= _cost(submission)
            self._told_count += 1
            submission.refuse(run_was_closed())
        self._give_room()

    async def wait_told(self) -> None:
        """Wait until what was submitted before this call is committed or refused, and told, whatever comes after it."""
        until = self._submitted_count
        while self._told_count < until:
            await self._told.wait()

    async def wait_settled(self, run_id: str) -> None:
        """Wait until no commit for a run is under way, so that its log can be read as a whole."""
        while any(run.run_id == run_id for run in self._in_commit):
            await self._told.wait()

    async def wait_idle(self) -> None:
        """Wait until everything submitted so far is committed or refused, and told."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit batches until cancelled. StorageFailed ends the daemon: after an I/O error no commit is believed."""
        while True:
            if not self._waiting:
                self._idle.set()
                self._wake = trio.Event()
                await self._wake.wait()
                # Let everyone who was woken together with us submit first: they share the commit.
                await trio.lowlevel.checkpoint()
            self._in_commit = self._take()
            taken = sum(map(len, self._in_commit.values()))
            await self._commit(self._in_commit)
            self._in_commit = {}
            self._told_count += taken
            told, self._told = self._told, trio.Event()
            told.set()

    def _take(self) -> dict[Run, list[Submission]]:
        """The next batch: inboxes in turn, each in its order, within the bounds of one commit."""
        batch: dict[Run, list[Submission]] = {}
        events = size = 0
        for run in list(self._waiting):
            inbox = self._waiting.pop(run)
            taken = 0
            for submission in inbox:
                if events >= MAX_BATCH_EVENTS or size >= MAX_BATCH_BYTES:
                    break
                taken += 1
                events += 1
                size += _cost(submission)
            if taken:
                batch[run] = inbox[:taken]
            if taken < len(inbox):
                self._waiting[run] = inbox[taken:]
        self._waiting_bytes -= size
        return batch

    async def _commit(self, batch: dict[Run, list[Submission]]) -> None:
        for run, inbox in batch.items():
            batch[run] = [submission for submission in inbox if submission.passes()]
        events = [submission.event for inbox in batch.values() for submission in inbox]
        if not events:
            return
        started = trio.current_time()
        try:
            result = await self._store.append(events)
        except StorageUnavailable as error:
            self._refuse(batch, error)
        else:
            self._note_success(len(events), trio.current_time() - started)
            self._tick.gather(partial(_tell, batch, result))
        self._give_room()

    def _give_room(self) -> None:
        room, self._room = self._room, trio.Event()
        room.set()

    def _note_success(self, events: int, seconds: float) -> None:
        if self.storage_error is not None:
            logger.warning("storage works again")
            self.storage_error = None
        self._counters.commit_latency.observe(seconds)
        self._counters.commit_events.observe(events)

    def _refuse(self, batch: dict[Run, list[Submission]], error: StorageUnavailable) -> None:
        if self.storage_error is None:
            logger.error("storage refuses writes, persisted events are refused until it works again: %s", error)
        self.storage_error = str(error)
        for inbox in batch.values():
            for submission in inbox:
                if submission.passes():
                    submission.refuse(ProtocolError("storage_unavailable", "the server cannot store events just now"))


def _tell(batch: dict[Run, list[Submission]], result: AppendResult) -> None:
    """Have each run tell what became of its part of a batch."""
    outcomes = iter(result.outcomes)
    for run, inbox in batch.items():
        if not inbox:
            continue
        mine = list(islice(outcomes, len(inbox)))
        oldest, stale = result.oldest.get(run.run_id), run.run_id in result.state_changed
        try:
            run.committed(inbox, mine, oldest=oldest, state_changed=stale)
        except Exception:
            # What is committed is safe; this run is loaded afresh from the log.
            run.fail()
            for submission, outcome in zip(inbox, mine, strict=True):
                submission.answer(outcome)


def run_was_closed() -> ProtocolError:
    """The answer to what came for a run at the moment of its closing."""
    return ProtocolError("internal_error", "the run was just closed; send it again")


def _cost(submission: Submission) -> int:
    return len(submission.event.data) + EVENT_OVERHEAD_BYTES
