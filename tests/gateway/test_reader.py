"""The reader's short way beside the `websockets` package alone: whatever comes, both do the same."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from collabd.gateway import reader
from collabd.gateway.reader import FrameReader
from collabd.hub.connection import Connection, Stage
from tests.transports.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, close_payload

MAX_MESSAGE_BYTES = 10_000


class Told:
    """What the session code was given, and what it would send at once."""

    def __init__(self) -> None:
        self.stage = Stage.LEVEL
        self.last_heard = 0.0
        self.messages: list[bytes] = []
        self.pongs: list[bytes] = []
        self.answers: list[bytes] = []

    def tell(self, frame: bytes) -> None:
        self.answers.append(frame)


def read(pieces: list[bytes], monkeypatch: pytest.MonkeyPatch) -> tuple[Told, bytes]:
    """What the reader makes of bytes that come in these pieces, and its last words."""
    told = Told()
    monkeypatch.setattr(reader, "receive", lambda connection, text: connection.messages.append(text))
    monkeypatch.setattr(reader, "take_pong", lambda connection, payload, now: connection.pongs.append(payload))
    subject = FrameReader(MAX_MESSAGE_BYTES, cast(Connection, told))
    for piece in pieces:
        if not subject.feed(piece, 1.0):
            break
    return told, subject.last_words


def read_by_websockets_alone(data: bytes) -> tuple[Told, bytes]:
    """The same by the package's protocol alone, from one piece."""
    told, last_words = Told(), b""
    protocol = Protocol(Side.SERVER, max_size=MAX_MESSAGE_BYTES)
    protocol.receive_data(data)
    message = b""
    for event in protocol.events_received():
        frame = cast(Frame, event)
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            message = bytes(frame.data) if frame.opcode is not Opcode.CONT else message + frame.data
            if frame.fin:
                told.messages.append(message)
        elif frame.opcode is Opcode.PONG:
            told.pongs.append(bytes(frame.data))
    writes = protocol.data_to_send()
    if protocol.eof_sent:
        last_words = b"".join(writes)
    else:
        told.answers = [*writes]
    return told, last_words


def sized(strategy: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Payloads of the strategy, and of the sizes at which something changes."""
    return st.one_of(strategy, st.sampled_from([0, 124, 125, 126, 127, 4000, 4089, 9_999, 10_000, 10_001]).map(bytes))


text = st.text(max_size=20).map(str.encode)
message = st.builds(client_frame, st.sampled_from([TEXT, BINARY]), sized(text))
control = st.builds(client_frame, st.sampled_from([PING, PONG]), st.binary(max_size=125))
fragmented = st.builds(
    lambda opcode, parts, between: (
        client_frame(opcode, parts[0], fin=False)
        + between
        + b"".join(client_frame(CONTINUATION, part, fin=False) for part in parts[1:-1])
        + client_frame(CONTINUATION, parts[-1])
    ),
    st.sampled_from([TEXT, BINARY]),
    st.lists(text, min_size=2, max_size=4),
    st.one_of(st.just(b""), control),
)
mistake = st.one_of(
    st.binary(min_size=2, max_size=12),
    st.builds(client_frame, st.just(CONTINUATION), text),
    st.builds(client_frame, st.just(TEXT), text, fin=st.just(False)),
    st.builds(client_frame, st.just(PING), st.binary(max_size=125), fin=st.just(False)),
    st.builds(lambda frame, bit: bytes((frame[0] | bit,)) + frame[1:], message, st.sampled_from([0x10, 0x20, 0x40])),
    st.builds(lambda frame: bytes((frame[0], frame[1] & 0x7F)) + frame[2:], message),
    st.builds(client_frame, st.just(CLOSE), st.one_of(st.just(close_payload(1000)), st.binary(max_size=4))),
)
stream = st.lists(st.one_of(message, message, control, fragmented, mistake), max_size=8).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, cut at these places (taken modulo its length)."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def is_utf8(message: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(data=stream, places=st.lists(st.integers(0, 100_000), max_size=12))
def test_any_bytes_in_any_pieces_are_read_as_websockets_alone_reads_them(data: bytes, places: list[int]) -> None:
    """Messages, pongs, answers and the close frame are the same; after a mistake nothing more is taken."""
    expected, expected_words = read_by_websockets_alone(data)
    assume(all(is_utf8(message) for message in expected.messages))  # that is the reader's own check
    with pytest.MonkeyPatch.context() as monkeypatch:
        told, last_words = read(cut(data, places), monkeypatch)
    assert told.messages == expected.messages
    assert told.pongs == expected.pongs
    assert b"".join(told.answers) + last_words == b"".join(expected.answers) + expected_words


def test_a_mistake_is_answered_as_soon_as_its_head_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that waits for the answer sends nothing more."""
    for head in (b"\x81\x00", b"\x83\x80", b"\xc1\x80\0\0\0\0"):
        told, last_words = read([head], monkeypatch)
        assert last_words[:4] == b"\x88" + last_words[1:2] + (1002).to_bytes(2), head
        assert told.messages == []


@pytest.mark.parametrize("size", [1, 125, 126, 4000, 9_000])
def test_one_byte_at_a_time(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come of a frame is kept, and no frame is lost between the short way and the long one."""
    payload = b"x" * size
    data = client_frame(TEXT, payload) + client_frame(PING, b"p") + client_frame(TEXT, payload)
    told, _ = read([data[i : i + 1] for i in range(len(data))], monkeypatch)
    assert told.messages == [payload, payload]
    assert told.answers == [b"\x8a\x01p"]


def test_little_is_kept_of_a_frame_that_has_not_come_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that sends byte by byte makes nobody copy a large message for each of them."""
    monkeypatch.setattr(reader, "receive", lambda connection, text: None)
    subject = FrameReader(MAX_MESSAGE_BYTES, cast(Connection, Told()))
    data = client_frame(TEXT, b"x" * 9_000)
    most = 0
    for byte in data[:-1]:
        assert subject.feed(bytes((byte,)), 0.0)
        most = max(most, len(cast(Any, subject)._begun))
    assert most < reader._SHORT


def test_a_closed_connection_takes_no_more_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes in the same read after the hub closed it would overtake what was dropped."""
    told = Told()

    def receive(connection: Told, text: bytes) -> None:
        connection.messages.append(text)
        connection.stage = Stage.CLOSED

    monkeypatch.setattr(reader, "receive", receive)
    subject = FrameReader(MAX_MESSAGE_BYTES, cast(Connection, told))
    subject.feed(client_frame(TEXT, b"1") + client_frame(TEXT, b"2") + client_frame(PING) + client_frame(TEXT), 0.0)
    assert told.messages == [b"1"]
