"""Live events and their answers: the envelope, ACK, ERROR, order, once only, and the server's own messages."""

from __future__ import annotations

import json
import threading
import time

import pytest

from tests.transports.conftest import RETENTION, Join
from tests.transports.peer import Message, Peer

NUMBER_OF_WRITERS = 3
EVENTS_OF_EACH = 40


def acks(messages: list[Message]) -> list[Message]:
    """The data of all ACKs."""
    return [message["data"] for message in messages if message["eventType"] == "ACK"]


def test_a_persisted_event_reaches_everyone_with_its_envelope_and_the_sender_with_an_ack(join: Join) -> None:
    """The sender's own sessions included; numbers start at 1."""
    ann, bob = join("ann"), join("bob")
    ann.expect("USER_JOIN")
    before = int(time.time() * 1000)
    event, ack = ann.tell("GRAFT", {"after": "ARCHITECT", "agentName": "security-scanner-v1"}, "kX3.:_-")
    assert before <= event.pop("timestamp") <= time.time() * 1000 + 1
    assert event == {
        "eventType": "GRAFT",
        "userId": "ann",
        "sequenceNumber": 1,
        "data": {"after": "ARCHITECT", "agentName": "security-scanner-v1"},
        "isCritical": True,
        "clientMessageId": "kX3.:_-",
    }
    assert ack == {"clientMessageId": "kX3.:_-", "sequenceNumber": 1, "duplicate": False}
    told = bob.expect("GRAFT")
    del told["timestamp"]
    assert told == event


def test_an_event_that_is_persisted_but_not_critical_says_so(join: Join) -> None:
    """It has a number, and a late joiner does not get it."""
    ann = join("ann")
    event, ack = ann.tell("NOTE", "x", "m")
    assert (event["isCritical"], event["sequenceNumber"], ack["sequenceNumber"]) == (False, 1, 1)
    assert join("bob").welcome["replayCount"] == 0


def test_a_transient_event_has_no_number(join: Join) -> None:
    """Nor has its ACK; the same id again is told again, for nothing of it is kept."""
    ann, bob = join("ann"), join("bob")
    ann.expect("USER_JOIN")
    for _ in range(2):
        event, ack = ann.tell("CURSOR_MOVE", {"nodeId": "n1"}, "c1")
        assert "sequenceNumber" not in event
        assert event["isCritical"] is False
        assert ack == {"clientMessageId": "c1", "duplicate": False}
        assert bob.expect("CURSOR_MOVE")["data"] == {"nodeId": "n1"}
    assert join("cid").welcome["sequenceNumber"] == 0


def test_without_an_id_there_is_no_ack(join: Join) -> None:
    """And absent data is null."""
    ann = join("ann")
    ann.send_text('{"eventType":"GRAFT"}')
    event = ann.expect("GRAFT")
    assert event["data"] is None
    assert "clientMessageId" not in event
    assert ann.receive_all() == []


@pytest.mark.parametrize(
    "data",
    [
        '{"a" : 1.0,"b":12345678901234567890,"c":1e3,"d":-0,"e":"\\u00e9\\ud83d\\ude00/\\/","a":2}',
        '"é\U0001f600 \\\\u0000 \\\\ud800 \u2028"',
        "[" * 32 + "]" * 32,
        "1.7976931348623157e308",
        "9" * 308,
        "1e-999",
        '{"": {"": []}}',
        "null",
    ],
    ids=["spelling", "text", "32 deep", "largest double", "long integer", "underflow", "empty names", "null"],
)
def test_data_is_passed_on_byte_for_byte(join: Join, data: str) -> None:
    """What passed the checks reaches live receivers and late joiners as it was written."""
    ann, bob = join("ann"), join("bob")
    ann.send_text('{"eventType":"GRAFT","data": ' + data + "}")
    bob_frame = bob.receive_frame(time.monotonic() + 5)
    assert f'"data":{data},"isCritical"'.encode() in bob_frame.payload
    late = join("late")
    assert f'"data":{data},"isCritical"'.encode() in late.receive_frame(time.monotonic() + 5).payload


def test_a_message_sent_again_is_acknowledged_as_a_duplicate_and_told_once(join: Join) -> None:
    """Whatever session sends it: the id is the user's."""
    ann = join("ann")
    ann.tell("GRAFT", {"after": "A"}, "m1")
    second = join("ann")
    second.receive_replay()
    for peer in (ann, second):
        peer.send("GRAFT", {"after": "A"}, "m1")
        assert peer.expect("ACK")["data"] == {"clientMessageId": "m1", "sequenceNumber": 1, "duplicate": True}
    assert ann.receive_all() == second.receive_all() == []


def test_a_duplicate_within_one_commit_is_told_once(join: Join) -> None:
    """Ten times the same message in one write: one number, nine duplicates."""
    ann = join("ann")
    for _ in range(10):
        ann.send("GRAFT", {"after": "A"}, "m1")
    messages = [ann.receive() for _ in range(11)]
    assert sorted(ack["duplicate"] for ack in acks(messages)) == [False] + [True] * 9
    assert {ack["sequenceNumber"] for ack in acks(messages)} == {1}
    assert ann.receive_all() == []


def test_a_message_sent_again_after_it_was_trimmed_is_still_a_duplicate(join: Join) -> None:
    """Once-only outlives the log."""
    ann = join("ann")
    for number in range(RETENTION + 5):
        ann.send("GRAFT", {"after": "A"}, f"m{number}")
    ann.wait_told(f"m{RETENTION + 4}")
    ann.send("GRAFT", {"after": "A"}, "m0")
    assert ann.expect("ACK")["data"] == {"clientMessageId": "m0", "sequenceNumber": 1, "duplicate": True}


@pytest.mark.parametrize("again", [("GRAFT", {"after": "B"}), ("FLAG", {"after": "A"})], ids=["data", "type"])
def test_an_id_with_other_content_is_refused(join: Join, again: tuple[str, Message]) -> None:
    """A client that reuses its ids learns of it, and nothing of it is kept."""
    ann = join("ann")
    ann.tell("GRAFT", {"after": "A"}, "m1")
    ann.send(*again, "m1")
    error = ann.expect("ERROR")["data"]
    assert (error["code"], error["clientMessageId"], error["retryable"]) == ("client_message_id_reused", "m1", False)
    assert ann.tell("GRAFT", {"after": "C"}, "m2")[0]["sequenceNumber"] == 2


def test_two_users_may_use_the_same_id(join: Join) -> None:
    """An id is unique for its user in its run."""
    for number, user in enumerate(("ann", "bob"), start=1):
        peer = join(user)
        peer.receive_replay()
        event, ack = peer.tell("GRAFT", {"after": "A"}, "m1")
        assert (event["userId"], event["sequenceNumber"]) == (user, number)
        assert ack == {"clientMessageId": "m1", "sequenceNumber": number, "duplicate": False}


def test_everyone_sees_the_same_gapless_order_and_each_senders_messages_in_theirs(join: Join) -> None:
    """Several write at full speed, others join meanwhile: no gap and no double at any seam."""
    writers = [join(f"writer {number}") for number in range(NUMBER_OF_WRITERS)]
    epoch = writers[0].welcome["epoch"]

    def write(peer: Peer) -> None:
        for number in range(EVENTS_OF_EACH):
            peer.send("GRAFT", {"after": peer.welcome["userId"], "n": number}, f"m{number}")

    threads = [threading.Thread(target=write, args=(peer,)) for peer in writers]
    for thread in threads:
        thread.start()
    joiners = []
    for number in range(8):
        query = {} if number % 2 else {"epoch": epoch, "afterSequence": 0}
        joiners.append(join(f"joiner {number}", **query))
    for thread in threads:
        thread.join()
    total = NUMBER_OF_WRITERS * EVENTS_OF_EACH
    histories = [persisted_until(peer, total) for peer in (*writers, *joiners)]
    by_number: dict[int, Message] = {}
    for peer, history in zip((*writers, *joiners), histories, strict=True):
        numbers = [event["sequenceNumber"] for event in history]
        assert numbers == list(range(numbers[0], total + 1))
        assert numbers[0] == (1 if peer in writers or peer.welcome["recovered"] else peer.welcome["oldestSequence"])
        for event in history:
            assert by_number.setdefault(event["sequenceNumber"], event) == event
    for peer in writers:
        user = peer.welcome["userId"]
        mine = [by_number[number]["data"]["n"] for number in sorted(by_number) if by_number[number]["userId"] == user]
        assert mine == list(range(EVENTS_OF_EACH))


def persisted_until(peer: Peer, last: int) -> list[Message]:
    """The persisted events that a peer is told up to this number."""
    events: list[Message] = []
    while not events or events[-1]["sequenceNumber"] < last:
        message = peer.receive()
        if "sequenceNumber" in message:
            events.append(message)
    return events


def test_ping_is_answered_with_what_it_said(join: Join) -> None:
    """`sentAt` is echoed, whatever it is; `lastSequence` may come with it."""
    ann = join("ann")
    for data in ({"sentAt": 1732350000000, "lastSequence": 0}, {"sentAt": {"any": [1.50]}}, {}, None):
        ann.send("PING", data)
        pong = ann.expect("PONG")["data"]
        assert pong["sentAt"] == (data or {}).get("sentAt")
        assert abs(pong["serverTime"] - time.time() * 1000) < 5000
    assert ann.receive_all() == []


def test_client_health_has_no_answer(join: Join) -> None:
    """It feeds figures only, and nobody else hears of it."""
    ann, bob = join("ann"), join("bob")
    ann.expect("USER_JOIN")
    report = {"latencyMs": 12.5, "queuedMessages": 1, "reconnectionCount": 2, "usingFallback": False, "transport": "x"}
    ann.send("CLIENT_HEALTH", report)
    ann.send("CLIENT_HEALTH")
    assert ann.receive_all() == bob.receive_all() == []


def test_auth_in_open_mode_is_answered(join: Join) -> None:
    """There is nothing to check, and nothing expires."""
    ann = join("ann")
    ann.send("AUTH", {"token": "anything"})
    assert ann.expect("AUTH_OK")["data"] == {"expiresAt": None}


def test_a_binary_message_of_json_is_read_like_text(join: Join) -> None:
    """And is told as text."""
    ann = join("ann")
    ann.send_binary(json.dumps({"eventType": "GRAFT", "data": "é", "clientMessageId": "m1"}).encode())
    event, ack = ann.wait_told("m1")
    assert (event["data"], ack["sequenceNumber"]) == ("é", 1)
