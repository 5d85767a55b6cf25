"""The queue keeps order, resends from what was refused, and gives up only on what the server refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabd.client.errors import QueueFull
from collabd.client.messages import Ack, Refusal
from collabd.client.outbox import NOT_COUNTED, Outbox, Outcome, Outgoing, backoff_delay
from collabd.client.settings import SEND_WINDOW, Limits, Settings
from tests.client.building import ack, outbox, refusal, send_all


def test_messages_go_out_in_order_up_to_the_window() -> None:
    """R13, R14: oldest first, and no more than the window unanswered."""
    box, messages = outbox(SEND_WINDOW + 2)
    assert send_all(box, 0.0) == [f"m{number}" for number in range(SEND_WINDOW)]
    box.on_ack(ack(messages[0]))
    assert send_all(box, 0.0) == [f"m{SEND_WINDOW}"]


def test_an_ack_commits_and_says_the_number() -> None:
    """R12, R15: committed is final, with the server's word."""
    box, (message,) = outbox(1)
    send_all(box, 0.0)
    assert message.state == "sent"
    box.on_ack(ack(message, 42, duplicate=True))
    assert (message.state, message.ack, len(box)) == ("committed", Ack("m0", 42, True), 0)
    assert box.on_ack(ack(message)) is None


def test_after_a_lost_connection_everything_unanswered_goes_again_in_order() -> None:
    """R12, R14: what was sent is queued again, and nothing is counted."""
    box, messages = outbox(3)
    send_all(box, 0.0)
    box.on_ack(ack(messages[0]))
    box.connection_lost()
    assert [message.state for message in messages] == ["committed", "queued", "queued"]
    assert send_all(box, 0.0) == ["m1", "m2"]
    assert messages[1].attempts == 0


def test_after_a_retryable_refusal_the_blocked_message_goes_alone_and_an_ack_opens_the_window() -> None:
    """R17: nothing overtakes the blocked one, which goes first and alone."""
    box, messages = outbox(3)
    send_all(box, 0.0)
    assert box.on_refusal(refusal(messages[0]), 0.0, 1.0) == (Outcome.WAITING, messages[0])
    assert send_all(box, 0.4) == []
    assert box.wake_at(0.4) == 0.5
    assert send_all(box, 0.5) == ["m0"]
    box.on_ack(ack(messages[0]))
    assert send_all(box, 0.5) == ["m1", "m2"]


def test_refusals_that_follow_from_an_earlier_one_count_for_nobody() -> None:
    """R18: the later messages were never tried."""
    box, messages = outbox(3)
    send_all(box, 0.0)
    for message in messages:
        box.on_refusal(refusal(message), 0.0, 1.0)
    assert [message.attempts for message in messages] == [1, 0, 0]


def test_the_answer_to_an_older_sending_is_ignored() -> None:
    """R17: the refusal of the first sending that comes after the second went out says nothing about the second."""
    box, messages = outbox(2)
    send_all(box, 0.0)
    box.on_refusal(refusal(messages[0]), 0.0, 0.0)
    assert send_all(box, 1.0) == ["m0"]
    box.on_ack(ack(messages[0]))
    assert send_all(box, 1.0) == ["m1"]
    assert box.on_refusal(refusal(messages[1]), 1.0, 0.0)[0] is Outcome.IGNORED
    assert (messages[1].state, messages[1].attempts) == ("sent", 0)


def test_a_message_is_rejected_with_its_reason_at_the_retry_limit() -> None:
    """R18: three counted refusals, then rejected with the last code, and the next one goes on."""
    box, messages = outbox(2)
    outcomes = []
    for attempt in range(3):
        send_all(box, attempt * 100.0)
        outcomes.append(box.on_refusal(refusal(messages[0]), attempt * 100.0, 1.0)[0])
    assert outcomes == [Outcome.WAITING, Outcome.WAITING, Outcome.GIVEN_UP]
    assert messages[0].state == "rejected"
    assert messages[0].rejection == refusal(messages[0])
    box.connection_lost()
    assert send_all(box, 1000.0) == ["m1"]


@pytest.mark.parametrize("code", sorted(NOT_COUNTED))
def test_refusals_about_the_moment_are_never_counted(code: str) -> None:
    """R18: a full disk or a rate limit rejects nothing, however long it lasts."""
    box, (message,) = outbox(1)
    for attempt in range(50):
        now = attempt * 100.0
        assert send_all(box, now) == ["m0"]
        box.on_refusal(refusal(message, code, retryable=code != "unauthorized"), now, 1.0)
    assert (message.attempts, message.state) == (0, "queued")


def test_a_final_refusal_rejects_one_message_and_touches_no_other() -> None:
    """R16: the others stay on the wire."""
    box, messages = outbox(2)
    send_all(box, 0.0)
    box.on_refusal(refusal(messages[0], "client_message_id_reused", retryable=False), 0.0, 1.0)
    assert [message.state for message in messages] == ["rejected", "sent"]


def test_the_server_may_say_how_long_to_wait() -> None:
    """R19: `retryAfterMs` takes the place of the backoff."""
    box, (message,) = outbox(1)
    send_all(box, 10.0)
    box.on_refusal(refusal(message, "storage_unavailable", retry_after_ms=3000), 10.0, 0.0)
    assert (send_all(box, 12.9), send_all(box, 13.0)) == ([], ["m0"])


def test_after_a_rate_limit_messages_are_paced_until_the_queue_is_empty() -> None:
    """R19: `paceMs` between two messages, doubled by each further refusal, gone with an empty queue."""
    box, messages = outbox(3)
    send_all(box, 0.0)
    for message in messages:
        box.on_refusal(refusal(message, "rate_limited", retry_after_ms=20), 0.0, 0.0)
    assert send_all(box, 1.0) == ["m0"]
    box.on_ack(ack(messages[0]))
    assert send_all(box, 1.01) == []
    assert send_all(box, 1.02) == ["m1"]
    box.on_refusal(refusal(messages[1], "rate_limited", retry_after_ms=20), 1.02, 0.0)
    assert send_all(box, 1.05) == []
    assert send_all(box, 1.06) == ["m1"]
    for message in messages[1:]:
        send_all(box, 2.0 + messages.index(message))
        box.on_ack(ack(message))
    for number in (7, 8):
        box.add(Outgoing(f"m{number}", "FLAG", "{}"))
    assert send_all(box, 9.0) == ["m7", "m8"]


def test_a_message_waits_until_it_is_durable() -> None:
    """R23: nothing goes out that a crash would forget, and nothing overtakes it."""
    box, messages = outbox(2)
    messages[0].durable = False
    assert (send_all(box, 0.0), box.next_batch(0.0)) == ([], [])
    messages[0].durable = True
    assert send_all(box, 0.0) == ["m0", "m1"]


def test_a_full_queue_is_an_error_that_names_the_bounds() -> None:
    """R11: bounded by count and by bytes."""
    box, _ = outbox(2, Settings(max_queued_messages=2))
    with pytest.raises(QueueFull, match="max_queued_messages"):
        box.check_room(1)
    box, messages = outbox(2, Settings(max_queued_bytes=20))
    box.check_room(20 - 2 * messages[0].size)
    with pytest.raises(QueueFull):
        box.check_room(21 - 2 * messages[0].size)


def test_a_close_over_size_is_about_the_largest_message_on_the_wire() -> None:
    """R21: 1009 blames the largest, 1003 and 1007 the oldest, and none that was not sent."""
    box, messages = outbox(2)
    assert box.suspect(1009) is None
    messages[1].size = 900
    send_all(box, 0.0)
    assert (box.suspect(1009), box.suspect(1007)) == (messages[1], messages[0])


def test_a_batch_holds_a_hundred_messages_at_most() -> None:
    """R76: oldest first, a hundred, half a megabyte."""
    box, messages = outbox(150)
    assert box.next_batch(0.0) == messages[:100]
    messages[1].size = 600_000
    assert box.next_batch(0.0) == messages[:1]


def test_a_refused_batch_gets_smaller_and_a_single_message_is_rejected() -> None:
    """R78: too big is halved, wrong is sent one by one, and one by one the culprit is found."""
    box, messages = outbox(4)
    assert box.batch_refused(messages, refusal(None, "message_too_big", retryable=False)) is None
    assert box.next_batch(0.0) == messages[:2]
    box.batch_refused(messages[:2], refusal(None, "invalid_json", retryable=False))
    assert box.next_batch(0.0) == messages[:1]
    assert box.batch_refused(messages[:1], refusal(None, "invalid_json", retryable=False)) is messages[0]
    box.batch_answered()
    assert box.next_batch(0.0) == messages[1:]


def test_a_batch_stops_at_its_first_refusal_and_goes_on_from_there() -> None:
    """R76: `not_attempted` is no attempt."""
    box, messages = outbox(3)
    for message in messages:
        box.mark_sent(message, 0.0)
    box.on_ack(ack(messages[0]))
    box.on_refusal(refusal(messages[1], "storage_unavailable"), 0.0, 1.0)
    box.on_refusal(refusal(messages[2], "not_attempted"), 0.0, 1.0)
    box.batch_answered()
    assert box.next_batch(0.4) == []
    assert box.next_batch(0.5) == messages[1:]


def test_backoff_grows_to_its_cap_and_is_all_jitter() -> None:
    """R19, R24: full jitter, from half a second."""
    assert [backoff_delay(step, 10.0, 1.0) for step in range(1, 8)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert backoff_delay(5, 10.0, 0.25) == 2.0
    assert backoff_delay(10_000, 20.0, 1.0) == 20.0


class _Server:
    """A server that keeps the sender's order as the protocol says, and refuses at random."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.blocked_by: str | None = None

    def take(self, message_id: str, refuse: bool) -> Ack | Refusal:
        if self.blocked_by not in (None, message_id) or refuse:
            self.blocked_by = self.blocked_by or message_id
            return Refusal("storage_unavailable", "", message_id, True, None)
        self.blocked_by = None
        duplicate = message_id in self.log
        if not duplicate:
            self.log.append(message_id)
        return Ack(message_id, self.log.index(message_id) + 1, duplicate)


@given(
    count=st.integers(1, 40),
    steps=st.lists(st.sampled_from(["send", "take", "refuse", "answer", "lose"]), max_size=200),
)
def test_whatever_is_refused_or_lost_the_log_has_each_message_once_in_order(count: int, steps: list[str]) -> None:
    """Sending, refusing, answering and losing connections, in any interleaving, keep the queue's order in the log."""
    box = Outbox(Settings(), Limits())
    messages = [Outgoing(f"m{number}", "FLAG", "{}") for number in range(count)]
    for message in messages:
        box.add(message)
    server, now = _Server(), 0.0
    upstream: list[str] = []
    downstream: list[Ack | Refusal] = []
    for step in [*steps, *["send", "take", "answer"] * 40 * (count + 1)]:
        now += 20.0
        if step == "send" and (due := box.next_to_send(now)) is not None:
            box.mark_sent(due, now)
            upstream.append(due.client_message_id)
        elif step in ("take", "refuse") and upstream:
            downstream.append(server.take(upstream.pop(0), refuse=step == "refuse"))
        elif step == "answer" and downstream:
            answer = downstream.pop(0)
            if isinstance(answer, Ack):
                box.on_ack(answer)
            else:
                box.on_refusal(answer, now, 0.5)
        elif step == "lose":
            upstream.clear()
            downstream.clear()
            server.blocked_by = None
            box.connection_lost()
    assert server.log == [message.client_message_id for message in messages]
    assert {message.state for message in messages} == {"committed"}
