"""What a client may send: bytes to a checked message, or a clear refusal that names the message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collabd.errors import ProtocolError
from collabd.protocol.messages import Auth, ClientHealth, ClientMessage, EventKind, Intake, Ping, state_place
from collabd.protocol.names import RESERVED_EVENT_TYPES
from tests.protocol.support import Refused, json_like, json_values, read_strictly, scarred_texts

INTAKE = Intake(
    critical=["GRAFT", "PRUNE", "FLAG"],
    persisted=["NOTE"],
    state_keys={"GRAFT": "after", "PRUNE": "stepId", "NOTE": "id"},
)
ids = st.text("abcXYZ019._:-", min_size=1, max_size=64)


def message(**members: Any) -> bytes:
    """A client message as JSON."""
    return json.dumps(members).encode()


def with_data(data: bytes, event_type: str = "GRAFT", message_id: str = "m1") -> bytes:
    """A message whose data is given as it stands."""
    return b'{"eventType":"%s","data":%s,"clientMessageId":"%s"}' % (event_type.encode(), data, message_id.encode())


def taken(text: bytes) -> ClientMessage:
    """The application event that a text is."""
    decoded = INTAKE.decode(text)
    assert isinstance(decoded, ClientMessage)
    return decoded


def refusal(text: bytes) -> ProtocolError:
    """Why a text is refused."""
    with pytest.raises(ProtocolError) as raised:
        INTAKE.decode(text)
    return raised.value


# Application events


@given(json_values, ids, st.sampled_from([None, 1]), st.booleans())
def test_data_is_kept_byte_for_byte(value: Any, message_id: str, indent: int | None, escaped: bool) -> None:
    """Spaces, escapes and the form of numbers are the sender's."""
    data = json.dumps(value, indent=indent, ensure_ascii=escaped).encode()
    decoded = taken(with_data(data, message_id=message_id))
    assert decoded.data == data
    assert decoded.client_message_id == message_id


@pytest.mark.parametrize("data", [b"1.0", b"1E5", b"12345678901234567890", b'"\\u00e9\\/"', b'{"b":1,"a":2,"b":3}'])
def test_no_number_escape_or_order_is_rewritten(data: bytes) -> None:
    """What some libraries would tidy up stays as it was."""
    assert taken(with_data(data)).data == data


@settings(max_examples=100, deadline=None)
@given(json_like)
def test_data_is_taken_exactly_when_it_is_safe_for_everybody(text: str) -> None:
    """The rules of data hold inside of a message, and the refusal names the message."""
    data = text.strip(" \t\r\n").encode()
    try:
        read_strictly(data)
    except Refused:
        error = refusal(with_data(data))
        assert error.code in ("invalid_json", "unknown_key", "invalid_event_type")
    else:
        assert taken(with_data(data)).data == data


def test_absent_data_is_null() -> None:
    """A message without data is one."""
    assert taken(b'{"eventType":"GRAFT"}').data == b"null"


def test_members_may_stand_in_any_order_and_id_may_be_null() -> None:
    """JSON objects have no order; null is no id."""
    assert taken(b'{"data":1,"clientMessageId":null,"eventType":"GRAFT"}') == ClientMessage(
        INTAKE.kinds["GRAFT"], b"1", None
    )


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=40), scarred_texts(), json_values.map(lambda value: json.dumps(value).encode())))
def test_whatever_comes_is_a_message_or_a_refusal(text: bytes) -> None:
    """No input raises anything else."""
    for sent in (text, with_data(text), with_data(text, "PING"), b'{"eventType":' + text + b"}"):
        with suppress(ProtocolError):
            INTAKE.decode(sent)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"[" * 33 + b"]" * 33, "nested"),
        (b"[" * 100_000 + b"]" * 100_000, "nested"),
        (b"1e999", "range"),
        (b"NaN", "malformed"),
        (b"1" + b"0" * 5000, "range"),
        (b'"\\ud800"', "surrogate"),
        (b'"\\u0000"', "NUL"),
        (b'"\xff"', "UTF-8"),
    ],
)
def test_bad_data_is_refused_with_a_reason(data: bytes, word: str) -> None:
    """Each kind of bad data has its own words."""
    error = refusal(with_data(data))
    assert error.code == "invalid_json"
    assert word in error.message


@pytest.mark.parametrize("text", [b"", b"GRAFT", b"[]", b"1", b'"GRAFT"', b"{", b"\xff", b'{"eventType":"GRAFT"}x'])
def test_what_is_no_json_object_is_invalid_json(text: bytes) -> None:
    """A message is one JSON object and nothing after it."""
    assert refusal(text).code == "invalid_json"


@pytest.mark.parametrize(
    "event_type", ["graft", "", "A" * 51, "Graft", "A-B", "A B", "1A", "_A", "É", "A\n", "GRAFT\0", None, 1, ["A"]]
)
def test_an_event_type_has_capitals_digits_and_underscores_and_at_most_50_of_them(event_type: Any) -> None:
    """Anything else is invalid_event_type, never an application's event."""
    error = refusal(message(eventType=event_type, clientMessageId="m1"))
    assert error.code == "invalid_event_type"
    assert error.client_message_id == "m1"


@pytest.mark.parametrize("event_type", ["A", "A" * 50, "A1_", "CURSOR_MOVE", "MY_OWN_TYPE"])
def test_any_other_name_is_an_applications_own_and_transient(event_type: str) -> None:
    """Types that the configuration does not list are told and not stored."""
    assert taken(message(eventType=event_type)).kind == EventKind(event_type)


@pytest.mark.parametrize("event_type", sorted(RESERVED_EVENT_TYPES - {"PING", "AUTH", "CLIENT_HEALTH"}))
def test_the_servers_own_types_are_refused_from_clients(event_type: str) -> None:
    """Nobody can speak in the server's name."""
    error = refusal(message(eventType=event_type, clientMessageId="m1"))
    assert error.code == "reserved_event_type"
    assert error.client_message_id == "m1"


def test_a_missing_event_type_is_named() -> None:
    """Without a type there is no event."""
    assert refusal(message(clientMessageId="m1")).code == "invalid_event_type"


@pytest.mark.parametrize("message_id", ["", "a" * 65, "a b", "é", "a\n", 'a"', "a/b", 7, ["a"]])
def test_a_client_message_id_has_64_plain_characters_at_most(message_id: Any) -> None:
    """Anything else is refused, and not repeated in the answer."""
    error = refusal(message(eventType="GRAFT", clientMessageId=message_id))
    assert error.code == "invalid_parameter"
    assert error.client_message_id is None


@pytest.mark.parametrize(
    "key", ["clientMessageID", "client_message_id", "timestamp", "userId", "sequenceNumber", "DATA"]
)
def test_an_unknown_key_is_an_error_that_names_it(key: str) -> None:
    """A misspelt clientMessageId would quietly lose the promise that hangs on it."""
    error = refusal(message(eventType="GRAFT", clientMessageId="m1", **{key: "x"}))
    assert error.code == "unknown_key"
    assert key in error.message
    assert error.client_message_id == "m1"


def test_a_refusal_of_data_names_its_message() -> None:
    """So that the sender knows which of its messages it was."""
    assert refusal(with_data(b"1e999")).client_message_id == "m1"


# What the configuration makes of a type


def test_critical_types_are_persisted_and_listed_ones_too() -> None:
    """Critical implies persisted; a type in both lists is critical."""
    both = Intake(critical=["A"], persisted=["A", "B"]).kinds
    assert both == {"A": EventKind("A", True, True), "B": EventKind("B", True)}


def test_only_critical_types_have_a_state_key() -> None:
    """A late joiner is replayed critical events only, so only for those can kept state complete the picture."""
    keys = {name: kind.state_key for name, kind in INTAKE.kinds.items()}
    assert keys == {"GRAFT": "after", "PRUNE": "stepId", "FLAG": None, "NOTE": None}


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"stepId":"a"}', '"a"'),
        (b'{"stepId":"\\u00e9"}', '"é"'),
        (b'{"stepId":""}', '""'),
        (b'{"stepId":7}', "7"),
        (b'{"stepId":-1.5}', "-1.5"),
        (b'{"stepId":1' + b"0" * 30 + b"}", "1" + "0" * 30),
        (b'{"stepId":"a","stepId":"b"}', '"b"'),
        (b'{"stepId":true}', None),
        (b'{"stepId":null}', None),
        (b'{"stepId":["a"]}', None),
        (b'{"stepid":"a"}', None),
        (b'["stepId"]', None),
        (b"null", None),
    ],
)
def test_a_string_or_number_at_the_state_key_names_the_events_place(data: bytes, place: str | None) -> None:
    """Everything else is an event without a place, which is not kept when trimmed."""
    assert taken(with_data(data, "PRUNE")).state_key == place
    assert state_place(INTAKE.kinds, "PRUNE", data) == (None if place is None else ("PRUNE", place))


def test_a_number_and_its_digits_as_text_are_two_places() -> None:
    """Else the state of one would push out that of the other."""
    places = {taken(with_data(data, "PRUNE")).state_key for data in (b'{"stepId":1}', b'{"stepId":"1"}')}
    assert len(places) == 2


@given(json_values)
def test_a_stored_event_has_the_place_that_it_had_when_it_came(value: Any) -> None:
    """After a restart the places of stored events are read from their data again."""
    for data in (value, {"stepId": value}):
        text = json.dumps(data).encode()
        key = taken(with_data(text, "PRUNE")).state_key
        assert state_place(INTAKE.kinds, "PRUNE", text) == (None if key is None else ("PRUNE", key))
        assert state_place(INTAKE.kinds, "FLAG", text) is None
        assert state_place(INTAKE.kinds, "UNLISTED", text) is None


# Messages for the server itself


def test_a_ping_says_when_it_was_sent_and_what_was_processed() -> None:
    """sentAt is any JSON, echoed byte for byte."""
    ping = INTAKE.decode(b'{"eventType":"PING","data":{"sentAt":1.50,"lastSequence":42}}')
    assert isinstance(ping, Ping)
    assert (bytes(ping.sent_at), ping.last_sequence) == (b"1.50", 42)


@pytest.mark.parametrize("text", [b'{"eventType":"PING"}', b'{"eventType":"PING","data":{}}'])
def test_a_ping_needs_no_data(text: bytes) -> None:
    """It is still answered."""
    ping = INTAKE.decode(text)
    assert isinstance(ping, Ping)
    assert (bytes(ping.sent_at), ping.last_sequence) == (b"null", None)


def test_client_health_carries_what_only_the_client_knows() -> None:
    """All of it is optional, and members of later versions are passed over."""
    data = {
        "latencyMs": 12.5,
        "queuedMessages": 3,
        "reconnectionCount": 1,
        "usingFallback": True,
        "transport": "polling",
    }
    full = INTAKE.decode(message(eventType="CLIENT_HEALTH", data={**data, "later": 1}))
    assert full == ClientHealth(12.5, 3, 1, True, "polling")
    assert INTAKE.decode(message(eventType="CLIENT_HEALTH")) == ClientHealth()


def test_auth_carries_a_token() -> None:
    """And nothing but a token."""
    assert INTAKE.decode(message(eventType="AUTH", data={"token": "t"})) == Auth("t")


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("PING", []),
        ("PING", {"lastSequence": -1}),
        ("PING", {"lastSequence": 2**53}),
        ("PING", {"lastSequence": 1.5}),
        ("PING", {"lastSequence": "1"}),
        ("CLIENT_HEALTH", {"latencyMs": -1}),
        ("CLIENT_HEALTH", {"latencyMs": 1e300}),
        ("CLIENT_HEALTH", {"queuedMessages": -1}),
        ("CLIENT_HEALTH", {"reconnectionCount": 10**30}),
        ("CLIENT_HEALTH", {"usingFallback": "yes"}),
        ("CLIENT_HEALTH", {"transport": "x" * 33}),
        ("AUTH", {}),
        ("AUTH", None),
        ("AUTH", {"token": 7}),
    ],
)
def test_control_data_is_held_to_what_can_be_meant(event_type: str, data: Any) -> None:
    """It is kept for as long as the session and added up, so a client cannot fill memory or spoil sums with it."""
    error = refusal(message(eventType=event_type, data=data))
    assert error.code == "invalid_parameter"
    assert event_type in error.message


@pytest.mark.parametrize("data", [b'{"sentAt":1e999}', b'{"sentAt":"\\u0000"}', b"[" * 40 + b"]" * 40])
def test_control_data_keeps_the_rules_of_data(data: bytes) -> None:
    """A PONG would carry it back."""
    assert refusal(b'{"eventType":"PING","data":%s}' % data).code == "invalid_json"


@pytest.mark.parametrize("event_type", ["PING", "CLIENT_HEALTH", "AUTH"])
def test_messages_for_the_server_take_no_client_message_id(event_type: str) -> None:
    """They get no ACK, so an id would promise what is not kept."""
    data: Mapping[str, Any] = {"token": "t"}
    error = refusal(message(eventType=event_type, data=data, clientMessageId="m1"))
    assert (error.code, error.client_message_id) == ("invalid_parameter", "m1")
