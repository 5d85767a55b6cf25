"""The seam between history and live: what a joining client is sent, decided at one instant.

Law of this file: pure decisions on numbers. Rules: docs/protocol.md, "What is promised", 4, and WELCOME.
"""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """A place in a history: the epoch that names it and the last sequence number processed."""

    epoch: str
    sequence_number: int


class JoinPlan(NamedTuple):
    """What follows a WELCOME: every persisted event after `after`, up to the head only critical ones for a first join.

    `reset_reason` is given only when a resume was asked and is not possible.
    """

    recovered: bool
    reset_reason: str | None
    after: int
    critical_only: bool


def plan_join(asked: Position | None, *, epoch: str, head: int, oldest: int) -> JoinPlan:
    """All or nothing: resume exactly from the position, or a full late-joiner replay and the reason why.

    `oldest` is the oldest retained number, head + 1 when nothing is retained.
    """
    if asked is None:
        return JoinPlan(False, None, oldest - 1, critical_only=True)
    reason = reset_reason(asked, epoch=epoch, head=head, oldest=oldest)
    if reason is None:
        return JoinPlan(True, None, asked.sequence_number, critical_only=False)
    return JoinPlan(False, reason, oldest - 1, critical_only=True)


def reset_reason(asked: Position, *, epoch: str, head: int, oldest: int) -> str | None:
    """Why a position cannot be resumed from, or None where it can."""
    if asked.epoch != epoch:
        return "epoch_changed"
    if asked.sequence_number > head:
        return "ahead_of_log"
    if asked.sequence_number < oldest - 1:
        return "trimmed"
    return None
