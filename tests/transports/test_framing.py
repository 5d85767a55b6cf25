"""RFC 6455 on every transport: framing, control frames, fragments, UTF-8, closing, limits.

A compact list after the categories of the Autobahn test suite; the numbers in the comments are its.
"""

from __future__ import annotations

import time

import pytest

from tests.transports.conftest import Join
from tests.transports.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    client_frame,
    close_payload,
    fragments,
)
from tests.transports.peer import Closed, Peer
from tests.transports.wires import DEADLINE_S

GRAFT = b'{"eventType":"GRAFT","data":"\xc3\xa9 \xf0\x9f\x98\x80"}'
MAX_MESSAGE_BYTES = 65536


def padded(size: int) -> bytes:
    """A GRAFT message of exactly so many bytes."""
    head, tail = b'{"eventType":"GRAFT","data":"', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


def is_told(peer: Peer, text: bytes = GRAFT) -> bool:
    """Whether the next message is the event of this message's data."""
    return (
        text[text.index(b'"data"') : -1].decode() in peer.receive_frame(time.monotonic() + DEADLINE_S).payload.decode()
    )


def assert_failed(peer: Peer, code: int) -> None:
    """The server ended the connection, and said why where the transport can; the server lives on."""
    closed = peer.wait_closed()
    assert closed.code == (code if peer.transport.names_faults else None), closed


# 1: messages of all sizes


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
def test_messages_of_every_length_form_are_read(join: Join, opcode: int) -> None:
    """Lengths of 7, 16 and 64 bits, up to the limit itself."""
    ann = join("ann")
    for size in (125, 126, 127, 128, 1024, 65535, MAX_MESSAGE_BYTES):
        text = padded(size)
        ann.wire.send(client_frame(opcode, text))
        assert is_told(ann, text), size


@pytest.mark.parametrize("piece", [1, 7])
def test_a_message_may_come_in_pieces_of_any_size(join: Join, piece: int) -> None:
    """TCP promises no boundaries, and a head may come byte by byte."""
    ann = join("ann")
    data = client_frame(TEXT, GRAFT) + client_frame(PING, b"x") + client_frame(TEXT, GRAFT)
    for start in range(0, len(data), piece):
        ann.wire.send(data[start : start + piece])
    assert sorted(ann.receive_frame(time.monotonic() + 5).opcode for _ in range(3)) == [TEXT, TEXT, PONG]


def test_many_messages_may_come_in_one_piece(join: Join) -> None:
    """None of them waits for another read."""
    ann = join("ann")
    ann.wire.send(client_frame(TEXT, GRAFT) * 50)
    assert [ann.receive()["sequenceNumber"] for _ in range(50)] == list(range(1, 51))


@pytest.mark.parametrize("long_form", [2, 8])
def test_a_length_in_a_longer_form_than_needed_hurts_nobody(join: Join, long_form: int) -> None:
    """RFC 6455 forbids it; a server reads it or fails the connection, and both keep what came before."""
    ann, watcher = join("ann"), join("watcher")
    ann.wire.send(client_frame(TEXT, GRAFT) + client_frame(TEXT, GRAFT, long_form=long_form))
    assert watcher.wait_for("GRAFT")["sequenceNumber"] == 1
    try:
        ann.wait_for("GRAFT")
        ann.wait_for("GRAFT")
    except Closed as closed:
        code = closed.code
    else:
        return
    assert code in (1002, None)


# 2: pings and pongs


def test_a_ping_is_answered_with_its_payload(join: Join) -> None:
    """At once, whatever it holds."""
    ann = join("ann")
    for payload in (b"", b"hello", bytes(range(125))):
        ann.wire.send(client_frame(PING, payload))
        frame = ann.receive_frame(time.monotonic() + DEADLINE_S)
        assert (frame.opcode, frame.payload) == (PONG, payload)


def test_ten_pings_get_their_pongs_in_order(join: Join) -> None:
    """Only the newest has to be answered; each is."""
    ann = join("ann")
    ann.wire.send(b"".join(client_frame(PING, b"%d" % number) for number in range(10)))
    assert [ann.receive_frame(time.monotonic() + 5).payload for _ in range(10)] == [b"%d" % n for n in range(10)]


def test_a_pong_that_answers_nothing_is_ignored(join: Join) -> None:
    """RFC 6455, section 5.5.3: a heartbeat in one direction."""
    ann = join("ann")
    ann.wire.send(client_frame(PONG) + client_frame(PONG, b"unasked") + client_frame(PONG, b"\0\0\0\1"))
    assert ann.receive_all() == []


@pytest.mark.parametrize(
    "bad",
    [
        client_frame(PING, b"x" * 126),
        client_frame(PONG, b"x" * 126),
        client_frame(CLOSE, b"\x03\xe8" + b"x" * 124),
        client_frame(PING, b"x", fin=False),
        client_frame(PONG, b"x", fin=False),
        client_frame(CLOSE, b"\x03\xe8", fin=False),
    ],
    ids=["long ping", "long pong", "long close", "split ping", "split pong", "split close"],
)
def test_long_or_fragmented_control_frames_fail_the_connection(join: Join, bad: bytes) -> None:
    """RFC 6455, section 5.5."""
    ann = join("ann")
    ann.wire.send(bad)
    assert_failed(ann, 1002)


# 3 and 4: reserved bits and opcodes


@pytest.mark.parametrize(("opcode", "reserved"), [(TEXT, 1), (BINARY, 2), (TEXT, 4), (PING, 4), (CLOSE, 7)])
def test_reserved_bits_fail_the_connection(join: Join, opcode: int, reserved: int) -> None:
    """No extension is ever negotiated, so they mean nothing."""
    ann = join("ann")
    ann.wire.send(client_frame(opcode, b"", reserved=reserved))
    assert_failed(ann, 1002)


@pytest.mark.parametrize("opcode", [3, 7, 11, 15])
def test_reserved_opcodes_fail_the_connection(join: Join, opcode: int) -> None:
    """Data and control opcodes alike, and what came before is kept."""
    ann, watcher = join("ann"), join("watcher")
    ann.wire.send(client_frame(TEXT, GRAFT) + client_frame(opcode, b"x"))
    assert watcher.wait_for("GRAFT")["sequenceNumber"] == 1
    assert_failed(ann, 1002)


@pytest.mark.parametrize("opcode", [TEXT, PING, CLOSE], ids=["text", "ping", "close"])
def test_an_unmasked_frame_fails_the_connection(join: Join, opcode: int) -> None:
    """RFC 6455, section 5.1: a client masks."""
    ann = join("ann")
    ann.wire.send(client_frame(opcode, b"" if opcode == CLOSE else GRAFT[:20], masked=False))
    assert_failed(ann, 1002)


# 5: fragments


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
def test_a_fragmented_message_is_one_message(join: Join, opcode: int) -> None:
    """Cut anywhere, in the middle of a character too."""
    ann = join("ann")
    for size in (1, 5, 31, 40):
        ann.wire.send(fragments(opcode, *(GRAFT[start : start + size] for start in range(0, len(GRAFT), size))))
        assert is_told(ann), size


def test_fragments_may_be_empty(join: Join) -> None:
    """First, middle and last."""
    ann = join("ann")
    ann.wire.send(fragments(TEXT, b"", GRAFT[:9], b"", GRAFT[9:], b""))
    assert is_told(ann)
    ann.wire.send(fragments(TEXT, b"", b"", b""))
    assert ann.expect("ERROR")["data"]["code"] == "invalid_json"
    ann.wire.send(fragments(BINARY, b"", b"", b""))
    assert ann.expect("ERROR")["data"]["code"] == "invalid_json"


def test_control_frames_may_come_between_fragments(join: Join) -> None:
    """They are answered before the message is whole."""
    ann = join("ann")
    ann.wire.send(client_frame(TEXT, GRAFT[:9], fin=False) + client_frame(PING, b"between"))
    assert ann.receive_frame(time.monotonic() + DEADLINE_S).payload == b"between"
    ann.wire.send(client_frame(PONG) + client_frame(CONTINUATION, GRAFT[9:]))
    assert is_told(ann)


@pytest.mark.parametrize(
    "bad",
    [
        client_frame(CONTINUATION, GRAFT),
        client_frame(CONTINUATION, GRAFT, fin=False),
        client_frame(TEXT, GRAFT, fin=False) + client_frame(TEXT, GRAFT),
        client_frame(TEXT, GRAFT, fin=False) + client_frame(BINARY, GRAFT, fin=False),
        fragments(TEXT, GRAFT[:5], GRAFT[5:]) + client_frame(CONTINUATION, b"x"),
    ],
    ids=["nothing to go on with", "the same, unfinished", "text in between", "binary in between", "after the end"],
)
def test_fragments_out_of_order_fail_the_connection(join: Join, bad: bytes) -> None:
    """A continuation goes on with something, and a new message waits for the end of the old."""
    ann = join("ann")
    ann.wire.send(bad)
    assert_failed(ann, 1002)


# 6: UTF-8

INVALID_UTF8 = {
    "lone continuation": b"\x80",
    "overlong": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "cut off": b"\xe2\x82",
    "0xFF": b"\xff",
}


@pytest.mark.parametrize(
    ("opcode", "sequence"),
    [*((TEXT, each) for each in INVALID_UTF8.values()), (BINARY, b"\xff"), (BINARY, b"\xed\xa0\x80")],
    ids=[*INVALID_UTF8, "0xFF in binary", "surrogate in binary"],
)
def test_invalid_utf8_closes_with_1007(join: Join, opcode: int, sequence: bytes) -> None:
    """In a text message by RFC 6455, in a binary one because it has to hold JSON; the former events are kept."""
    ann, watcher = join("ann"), join("watcher")
    ann.wire.send(client_frame(TEXT, GRAFT))
    ann.wire.send(client_frame(opcode, b'{"eventType":"GRAFT","data":"' + sequence + b'"}'))
    closed = ann.wait_closed()
    assert closed.code == (1007 if ann.transport.names_faults or opcode == BINARY else None)
    assert watcher.wait_for("GRAFT")["sequenceNumber"] == 1
    assert [message for message in watcher.receive_all() if message["eventType"] == "GRAFT"] == []


def test_invalid_utf8_in_a_fragmented_message_closes_with_1007(join: Join) -> None:
    """A sequence that is whole only across the fragments is valid; one that never is, is not."""
    ann = join("ann")
    ann.wire.send(fragments(TEXT, GRAFT[:29], b"\xe2", b"\x28\xa1", b'"}'))
    assert_failed(ann, 1007)


# 7: closing


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 1012, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_code(join: Join, code: int) -> None:
    """Then the server closes the connection."""
    ann = join("ann")
    assert ann.leave(code).code == code


def test_a_close_without_a_code_is_answered(join: Join) -> None:
    """Without one, or with 1000."""
    ann = join("ann")
    ann.wire.send(client_frame(CLOSE))
    assert ann.wait_closed().code in (None, 1000)


def test_a_close_may_carry_a_reason(join: Join) -> None:
    """Up to 123 bytes of UTF-8."""
    ann = join("ann")
    ann.wire.send(client_frame(CLOSE, close_payload(1000, "ä".encode() * 61 + b"x")))
    assert ann.wait_closed().code == 1000


@pytest.mark.parametrize(
    ("payload", "code"),
    [(close_payload(bad), 1002) for bad in (0, 999, 1005, 1006, 1015, 2999, 5000)]
    + [(b"\x03", 1002), (close_payload(1000, b"\xff"), 1007)],
    ids=lambda value: value.hex() if isinstance(value, bytes) else str(value),
)
def test_a_close_that_is_not_valid_fails_the_connection(join: Join, payload: bytes, code: int) -> None:
    """Codes that may not be sent, half a code, and a reason that is no UTF-8."""
    ann = join("ann")
    ann.wire.send(client_frame(CLOSE, payload))
    closed = ann.wait_closed()
    if ann.transport.names_faults:
        assert closed.code in (1002, code)
    else:
        assert closed.code in (None, 1002, code)


def test_nothing_is_taken_after_a_close(join: Join) -> None:
    """A message behind the close frame never happened."""
    ann, watcher = join("ann"), join("watcher")
    ann.wire.send(client_frame(CLOSE, close_payload(1001)) + client_frame(TEXT, GRAFT))
    assert ann.wait_closed().code == 1001
    assert all(message["eventType"] != "GRAFT" for message in watcher.receive_all())


def test_what_came_before_a_close_is_kept(join: Join) -> None:
    """Messages and the close frame in one piece: the messages count."""
    ann, watcher = join("ann"), join("watcher")
    ann.wire.send(client_frame(TEXT, GRAFT) * 3 + client_frame(CLOSE, close_payload(1000)))
    assert [watcher.wait_for("GRAFT")["sequenceNumber"] for _ in range(3)] == [1, 2, 3]


def test_a_client_that_stops_sending_is_gone(join: Join) -> None:
    """Half-closed is closed: nobody can answer pings there any more."""
    ann, watcher = join("ann"), join("watcher")
    ann.wire.stop_sending()
    watcher.wait_for("USER_LEAVE")


def test_an_end_in_the_middle_of_a_frame_is_an_end(join: Join) -> None:
    """The half message never happened."""
    ann, watcher = join("ann"), join("watcher")
    ann.wire.send(client_frame(TEXT, GRAFT)[:-3])
    ann.vanish()
    assert watcher.wait_for("USER_LEAVE")["data"]["reason"] == "timeout"
    assert join("late").welcome["sequenceNumber"] == 0


# 9 and 10: limits


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
def test_a_message_over_the_limit_closes_with_1009(join: Join, opcode: int) -> None:
    """One byte is enough. The connection is cut, so that nothing is read on into memory."""
    ann, watcher = join("ann"), join("watcher")
    ann.wire.send(client_frame(TEXT, GRAFT) + client_frame(opcode, padded(MAX_MESSAGE_BYTES + 1)))
    assert ann.wait_closed().code == 1009
    assert watcher.wait_for("GRAFT")["sequenceNumber"] == 1
    assert join("late").welcome["sequenceNumber"] == 1


def test_the_limit_counts_bytes_not_characters(join: Join) -> None:
    """40,000 characters of two bytes are too many."""
    ann = join("ann")
    ann.send_text(b'{"eventType":"GRAFT","data":"' + "é".encode() * 40_000 + b'"}')
    assert ann.wait_closed().code == 1009


def test_fragments_over_the_limit_together_close_with_1009(join: Join) -> None:
    """A message is not made small by cutting it up."""
    ann = join("ann")
    ann.wire.send(fragments(TEXT, *[b"x" * 16384] * 4, b"x"))
    assert ann.wait_closed().code == 1009


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES + 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_frame_that_only_claims_to_be_too_big_is_refused(join: Join, size: int) -> None:
    """From its head: what it claims is never waited for. (Behind ASGI only what came is counted.)"""
    ann = join("ann")
    ann.wire.send(client_frame(BINARY, b"x" * 100, claimed_size=size, long_form=8))
    if not ann.transport.hears_control_frames and size < 2**63:
        ann.vanish()
        return
    closed = ann.wait_closed()
    assert closed.code in ((1009, 1002) if ann.transport.names_faults else (1009, 1002, None))


def test_the_reason_reaches_a_client_that_is_still_sending(join: Join) -> None:
    """The server reads on for a moment: closing with unread bytes would take the close frame back with a reset.

    (Hypercorn closes at once, so there the reason may be lost; the end is seen all the same.)
    """
    ann = join("ann")
    more = client_frame(TEXT, GRAFT) * 150_000
    try:
        ann.wire.send(client_frame(BINARY, b"\xff") + more)
    except OSError:
        assert not ann.transport.hears_control_frames
    closed = ann.wait_closed()
    assert closed.code == 1007 or (closed.code is None and not ann.transport.hears_control_frames)
