"""What a message gets that is not accepted: an ERROR that says why, and nothing else happens."""

from __future__ import annotations

import pytest

from tests.transports.bad_messages import BAD_MESSAGES, BadMessage
from tests.transports.conftest import Join
from tests.transports.peer import Message


def test_bad_messages_are_refused_and_nothing_is_lost(join: Join) -> None:
    """The connection stays open through all of them; what is sent between them is kept, in order, without a hole."""
    ann = join("ann")
    for number, start in enumerate(range(0, len(BAD_MESSAGES), 8), start=1):
        some = BAD_MESSAGES[start : start + 8]
        for bad in some:
            ann.send_text(bad.text)
        ann.send("GRAFT", {"after": "A"}, f"m{number}")
        messages = [ann.receive() for _ in range(len(some) + 2)]
        errors = [message["data"] for message in messages if message["eventType"] == "ERROR"]
        for bad, error in zip(some, errors, strict=True):
            assert_refused(bad, error)
        kept = [message["sequenceNumber"] for message in messages if message["eventType"] == "GRAFT"]
        acked = [message["data"]["sequenceNumber"] for message in messages if message["eventType"] == "ACK"]
        assert kept == acked == [number]


def assert_refused(bad: BadMessage, error: Message) -> None:
    """An ERROR's data says what docs/protocol.md wants it to."""
    assert error["code"] == bad.code, (bad, error)
    assert error["message"], bad
    assert error["retryable"] is False, bad
    assert error.keys() <= {"code", "message", "retryable", "clientMessageId"}, bad
    assert bad.message_id is None or error["clientMessageId"] == bad.message_id, bad


def test_an_auth_without_a_token_is_refused(join: Join) -> None:
    """It is a message without its data; the connection stays open."""
    ann = join("ann")
    ann.send("AUTH", {})
    assert ann.expect("ERROR")["data"]["code"] == "invalid_parameter"
    ann.send("PING", {"sentAt": 1})
    ann.expect("PONG")


@pytest.mark.parametrize("opcode", ["text", "binary"])
def test_an_empty_message_is_refused(join: Join, opcode: str) -> None:
    """It is no JSON, in a text and in a binary message alike."""
    ann = join("ann")
    ann.send_text(b"") if opcode == "text" else ann.send_binary(b"")
    assert ann.expect("ERROR")["data"]["code"] == "invalid_json"


def test_errors_do_not_quote_what_was_sent(join: Join) -> None:
    """A message is never echoed: what one client sent must not appear in another place by way of an error."""
    ann = join("ann")
    ann.send_text('{"eventType":"<script>alert(1)</script>"}')
    assert "<script>" not in ann.expect("ERROR")["data"]["message"]
