"""Server messages as bytes: valid frames around valid JSON, each made once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from collabd.errors import ProtocolError
from collabd.protocol.codec import (
    ack_data,
    ack_frame,
    control_payload,
    error_data,
    error_frame,
    event_payload,
    frame_payload,
    json_array,
    json_string,
    ping_frame,
    split_frames,
    text_frame,
)
from tests.protocol.support import json_values

BOUNDARIES = (0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 200_000)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ids = st.text("abcXYZ019._:-", min_size=1, max_size=64)


def read_frames(data: bytes) -> list[Frame]:
    """What a WebSocket client of another make reads."""
    protocol = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
    protocol.receive_data(data)
    frames = [event for event in protocol.events_received() if isinstance(event, Frame)]
    assert protocol.parser_exc is None
    return frames


@pytest.mark.parametrize("size", BOUNDARIES)
def test_a_text_frame_of_any_length_is_read_by_other_software(size: int) -> None:
    """The length takes 1, 3 or 9 bytes; each border is tried from both sides."""
    payload = b"x" * size
    frame = text_frame(payload)
    assert read_frames(frame) == [Frame(Opcode.TEXT, payload, fin=True)]
    assert frame_payload(frame) == payload


@pytest.mark.parametrize("size", BOUNDARIES)
def test_a_length_is_written_in_its_shortest_form(size: int) -> None:
    """RFC 6455, section 5.2 demands it."""
    assert len(text_frame(b"x" * size)) - size == (2 if size < 126 else 4 if size < 65_536 else 10)


@pytest.mark.parametrize("payload", [b"", b"\0\0\0\1", b"x" * 125])
def test_a_ping_frame_is_a_ping(payload: bytes) -> None:
    """With its payload, which the pong has to carry back."""
    assert read_frames(ping_frame(payload)) == [Frame(Opcode.PING, payload, fin=True)]


sizes = st.one_of(st.integers(0, 300), st.sampled_from(BOUNDARIES[:-1]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(sizes.map(lambda size: text_frame(b"x" * size)), st.just(ping_frame(b"1234"))), max_size=6))
def test_joined_frames_come_apart_as_they_went_together(frames: list[bytes]) -> None:
    """Both as other software reads them and as the transport that frames by itself does."""
    joined = b"".join(frames)
    split = split_frames(joined)
    assert [payload for _, payload in split] == [frame_payload(frame) for frame in frames]
    assert split == [(int(frame.opcode), bytes(frame.data)) for frame in read_frames(joined)]


@given(
    event_type=st.sampled_from(["GRAFT", "A", "A" * 50]),
    user_id=texts,
    timestamp=st.integers(0, 2**53 - 1),
    data=json_values,
    critical=st.booleans(),
    number=st.none() | st.integers(1, 2**53 - 1),
    message_id=st.none() | ids,
)
def test_an_envelope_is_the_json_that_the_protocol_shows(
    event_type: str,
    user_id: str,
    timestamp: int,
    data: Any,
    critical: bool,
    number: int | None,
    message_id: str | None,
) -> None:
    """Every member in its place, byte for byte; number and id only where there is one."""
    model: dict[str, Any] = {"eventType": event_type, "userId": user_id, "timestamp": timestamp}
    if number is not None:
        model["sequenceNumber"] = number
    model |= {"data": data, "isCritical": critical}
    if message_id is not None:
        model["clientMessageId"] = message_id
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    payload = event_payload(
        event_type,
        json_string(user_id),
        timestamp,
        text,
        critical=critical,
        sequence_number=number,
        client_message_id=message_id,
    )
    assert json.loads(payload) == model
    assert list(json.loads(payload)) == list(model)
    assert payload.count(text) >= 1


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_string_is_quoted_as_json(text: str) -> None:
    """Quotes, backslashes, control characters and other scripts come back."""
    assert json.loads(json_string(text)) == text


@given(ids, st.none() | st.integers(1, 2**53 - 1), st.booleans())
def test_an_ack_is_the_json_that_the_protocol_shows(message_id: str, number: int | None, duplicate: bool) -> None:
    """Built by hand for speed, and held against a model."""
    model: dict[str, Any] = {"clientMessageId": message_id, "duplicate": duplicate}
    if number is not None:
        model["sequenceNumber"] = number
    assert json.loads(ack_data(message_id, number, duplicate)) == model
    frame = ack_frame(message_id, number, duplicate)
    assert json.loads(frame_payload(frame)) == {"eventType": "ACK", "data": model}


def test_a_control_message_is_type_and_data() -> None:
    """Nothing else stands in it: it is no event."""
    assert json.loads(control_payload("DRAIN", {"retryAfterMs": 7})) == {
        "eventType": "DRAIN",
        "data": {"retryAfterMs": 7},
    }


def test_an_error_carries_what_a_client_needs_to_act() -> None:
    """Code, sentence and retryability always; id and delay where they are known."""
    plain = ProtocolError("forbidden", "no")
    assert error_data(plain) == {"code": "forbidden", "message": "no", "retryable": False}
    full = ProtocolError("rate_limited", "slow down", client_message_id="m1", retry_after_ms=20)
    frame = error_frame(full)
    assert json.loads(frame_payload(frame)) == {
        "eventType": "ERROR",
        "data": {
            "code": "rate_limited",
            "message": "slow down",
            "retryable": True,
            "clientMessageId": "m1",
            "retryAfterMs": 20,
        },
    }
    assert read_frames(frame)[0].opcode is Opcode.TEXT


@given(st.lists(json_values, max_size=5))
def test_ready_texts_make_an_array(values: list[Any]) -> None:
    """Without being read again."""
    assert json.loads(json_array(json.dumps(value).encode() for value in values)) == values
