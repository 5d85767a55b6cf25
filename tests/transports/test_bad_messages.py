"""What a message gets that is not accepted: an ERROR that says why, and nothing else happens."""

from __future__ import annotations

import pytest

from tests.transports.bad_messages import BAD_MESSAGES, BadMessage
from tests.transports.conftest import Join


@pytest.mark.parametrize("bad", BAD_MESSAGES, ids=lambda bad: bad.name)
def test_a_bad_message_is_refused_and_nothing_is_lost(join: Join, bad: BadMessage) -> None:
    """The connection stays open, and what was sent before and after is kept, in order and without a hole."""
    ann = join("ann")
    ann.send("GRAFT", {"after": "A"}, "before")
    ann.send_text(bad.text)
    ann.send("GRAFT", {"after": "A"}, "after")
    messages = [ann.receive() for _ in range(5)]
    (error,) = [message["data"] for message in messages if message["eventType"] == "ERROR"]
    assert error["code"] == bad.code
    assert error["message"]
    assert error["retryable"] is False
    assert error.keys() <= {"code", "message", "retryable", "clientMessageId"}
    if bad.message_id is not None:
        assert error["clientMessageId"] == bad.message_id
    numbers = [message["sequenceNumber"] for message in messages if message["eventType"] == "GRAFT"]
    acked = [message["data"]["sequenceNumber"] for message in messages if message["eventType"] == "ACK"]
    assert numbers == acked == [1, 2]


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
