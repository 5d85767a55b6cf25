"""One sender's order holds across refusals that pass, however many messages are on the way."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collabd.errors import ProtocolError
from collabd.protocol.sender_order import SenderOrder

FULL = ProtocolError("storage_unavailable", "no room", retry_after_ms=70)


def answer_to(order: SenderOrder, message_id: str | None) -> str | None:
    """The code that a message gets when it comes, None when it is let in."""
    try:
        order.admit(message_id)
    except ProtocolError as error:
        return error.code
    return None


def test_after_a_refusal_later_messages_get_the_same_answer_until_that_id_comes_again() -> None:
    """With the same delay, and each with its own id."""
    order = SenderOrder()
    order.refused("a", FULL)
    with pytest.raises(ProtocolError, match="no room") as raised:
        order.admit("b")
    assert (raised.value.code, raised.value.client_message_id, raised.value.retry_after_ms) == (FULL.code, "b", 70)
    assert [answer_to(order, message_id) for message_id in "bcab"] == [FULL.code, FULL.code, None, None]


def test_an_id_that_is_refused_again_is_waited_for_again() -> None:
    """As often as it takes."""
    order = SenderOrder()
    for _ in range(3):
        order.refused("a", FULL)
        assert answer_to(order, "b") == FULL.code
        assert answer_to(order, "a") is None


def test_a_final_refusal_stops_nobody() -> None:
    """The message will never come again, so nothing can wait for it."""
    order = SenderOrder()
    order.refused("a", ProtocolError("invalid_json", "broken"))
    assert answer_to(order, "b") is None


def test_messages_without_an_id_neither_wait_nor_are_waited_for() -> None:
    """They have no such promise."""
    order = SenderOrder()
    order.refused(None, FULL)
    assert answer_to(order, "b") is None
    order.refused("a", FULL)
    assert answer_to(order, None) is None


def test_the_earliest_refused_message_is_the_one_that_is_waited_for() -> None:
    """One that came earlier may be refused later, at its commit."""
    order = SenderOrder()
    first, second = order.admit("a"), order.admit("b")
    order.refused("c", FULL)
    order.refused("a", FULL, first)
    assert answer_to(order, "c") == FULL.code
    with pytest.raises(ProtocolError):
        order.confirm("b", second)
    assert [answer_to(order, message_id) for message_id in "ab"] == [None, None]


def test_what_came_before_a_refused_message_is_still_committed() -> None:
    """It is earlier in the sender's order."""
    order = SenderOrder()
    first = order.admit("a")
    order.refused("b", FULL)
    order.confirm("a", first)
    assert answer_to(order, "c") == FULL.code


class Sending(NamedTuple):
    """One time that a message was sent."""

    message: int
    time: int


def test_what_waits_behind_a_refused_message_stays_refused_when_that_comes_again() -> None:
    """Sent before the repetition and not yet looked at, it would overtake what it was sent after."""
    order = SenderOrder()
    first, second = order.admit("m1"), order.admit("m2")
    order.refused("m1", FULL, first)
    again, third = order.admit("m1"), order.admit("m3")
    with pytest.raises(ProtocolError):
        order.confirm("m2", second)
    order.confirm("m1", again)
    order.confirm("m3", third)


class OneSender(RuleBasedStateMachine):
    """A client that pipelines, a server that refuses at the door or at the commit, and the log that results.

    The client goes by its rules: after a refusal it sends again from the refused message on, and an answer to an
    older sending of a message that it has sent again since is ignored.
    """

    def __init__(self) -> None:
        super().__init__()
        self.order = SenderOrder()
        self.next_message = 0
        self.to_send: deque[int] = deque()
        self.times_sent: Counter[int] = Counter()
        self.inbox: list[tuple[Sending, int]] = []
        self.refusals: deque[Sending] = deque()
        self.log: list[int] = []

    @rule(is_full=st.booleans())
    def send(self, is_full: bool) -> None:
        """A message comes, and passes the door if there is no reason against it there."""
        if not self.to_send:
            self.to_send.append(self.next_message)
            self.next_message += 1
        message = self.to_send.popleft()
        self.times_sent[message] += 1
        sending = Sending(message, self.times_sent[message])
        if is_full:
            self.order.refused(str(message), FULL)
            self.refusals.append(sending)
            return
        try:
            self.inbox.append((sending, self.order.admit(str(message))))
        except ProtocolError:
            self.refusals.append(sending)

    @precondition(lambda self: self.inbox)
    @rule(is_full=st.booleans())
    def commit(self, is_full: bool) -> None:
        """What waits is committed, or refused as a whole."""
        batch, self.inbox = self.inbox, []
        for sending, number in batch:
            message_id = str(sending.message)
            try:
                self.order.confirm(message_id, number)
            except ProtocolError:
                self.refusals.append(sending)
                continue
            if is_full:
                self.order.refused(message_id, FULL, number)
                self.refusals.append(sending)
            elif sending.message not in self.log:
                self.log.append(sending.message)

    @precondition(lambda self: self.refusals)
    @rule(count=st.integers(1, 4))
    def hear_of_refusals(self, count: int) -> None:
        """Some answers arrive, and the client sends again from the earliest refused message on."""
        heard = [self.refusals.popleft() for _ in range(min(count, len(self.refusals)))]
        refused = [sending.message for sending in heard if sending.time == self.times_sent[sending.message]]
        if refused:
            first = min([*refused, *self.to_send])
            self.to_send = deque(message for message in range(first, self.next_message) if message not in self.log)

    @invariant()
    def the_log_is_in_the_senders_order(self) -> None:
        """Whatever was refused, and wherever: nothing stands before what was sent first."""
        assert self.log == list(range(len(self.log)))

    def teardown(self) -> None:
        """Once nothing is refused any more, everything arrives."""
        for _ in range(self.next_message + 3):
            if self.refusals:
                self.hear_of_refusals(len(self.refusals))
            while self.to_send:
                self.send(is_full=False)
            if self.inbox:
                self.commit(is_full=False)
        assert self.log == list(range(self.next_message))


OneSender.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestOneSender = OneSender.TestCase
