"""Which number each event of a commit gets, and which events were there before.

Law of this file: pure; it decides, others write. Every store numbers by this plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from collabd.store.interface import NewEvent, Outcome
from collabd.store.rows import content_hash, message_key


class KnownMessage(NamedTuple):
    """What a message_key stands for."""

    sequence_number: int
    content_hash: int


class Head(NamedTuple):
    """Where one run stands: the highest number given (0: none) and the oldest one retained."""

    newest: int
    oldest: int


class FreshEvent(NamedTuple):
    """An event that gets a number in this commit; `key` is its message_key."""

    event: NewEvent
    sequence_number: int
    key: bytes | None
    content_hash: int


class Plan(NamedTuple):
    """One outcome for each event in the order given, the events to write, and the numbers given last, by run."""

    outcomes: list[Outcome]
    fresh: list[FreshEvent]
    newest: dict[str, int]


def plan_commit(events: Sequence[NewEvent], heads: Mapping[str, Head], known: Mapping[bytes, KnownMessage]) -> Plan:
    """Number a batch: gapless per run from `heads`, nothing twice, neither against `known` nor within the batch."""
    seen = dict(known)
    plan = Plan([], [], {})
    for event in events:
        key = message_key(event)
        digest = 0 if key is None else content_hash(event)
        earlier = None if key is None else seen.get(key)
        if earlier is not None:
            plan.outcomes.append(_repeated(earlier, digest))
            continue
        number = plan.newest.get(event.run_id, heads[event.run_id].newest) + 1
        plan.newest[event.run_id] = number
        plan.fresh.append(FreshEvent(event, number, key, digest))
        plan.outcomes.append(Outcome(number))
        if key is not None:
            seen[key] = KnownMessage(number, digest)
    return plan


def _repeated(earlier: KnownMessage, digest: int) -> Outcome:
    if earlier.content_hash == digest:
        return Outcome(earlier.sequence_number, duplicate=True)
    return Outcome(0, reused=True)


def trimmed_to(newest: int, oldest: int, retention: int) -> int:
    """The oldest number that is kept when the newest `retention` (at least 1) events are."""
    return max(oldest, newest - retention + 1)
