"""Messages, addresses, tokens, presence and health: values in, values out."""

from __future__ import annotations

import base64
import json

import pytest

from collabd.client import errors
from collabd.client.address import Place, check_run_id, check_user_id, parse_url
from collabd.client.health import Health, delivery_rate
from collabd.client.messages import (
    Ack,
    Malformed,
    Position,
    check_data,
    check_event_type,
    encode_message,
    parse_object,
    read_answer,
    read_event,
    read_snapshot,
    read_welcome,
)
from collabd.client.people import People
from collabd.client.tokens import expiry_of, renewal_due_in
from tests.client.building import event, snapshot

RUN = "8f14e45f-ceea-467f-9c2b-0a1b2c3d4e5f"


def nested(depth: int) -> object:
    """Lists in lists."""
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "data",
    [
        object(),
        {1: 2},
        {"a": {1, 2}},
        b"bytes",
        float("nan"),
        [float("inf")],
        10**400,
        "\ud800",
        {"\0": 1},
        nested(33),
        nested(100_000),
    ],
)
def test_data_that_not_every_receiver_can_read_is_refused_before_it_is_queued(data: object) -> None:
    """R11: what one client may send must never make another client's parser fail."""
    with pytest.raises(errors.UnserialisableData):
        check_data(data)


def test_data_that_contains_itself_is_refused() -> None:
    """R11."""
    data: list[object] = []
    data.append(data)
    with pytest.raises(errors.UnserialisableData, match="contains itself"):
        check_data(data)


@pytest.mark.parametrize("data", [None, True, 1.5, 10**300, "ü😀", {"a": [1, {"b": ()}]}, nested(32)])
def test_json_data_is_accepted(data: object) -> None:
    """R11: and goes out as text that every parser reads."""
    check_data(data)
    assert "data" in json.loads(encode_message("FLAG", data, "id"))


@pytest.mark.parametrize("name", ["", "graft", "1A", "A" * 51, "A-B", "Ä", "A\n", "PING", "WELCOME", "USER_JOIN"])
def test_an_event_type_that_is_misspelt_or_reserved_is_refused(name: str) -> None:
    """R11."""
    with pytest.raises(errors.InvalidEventType):
        check_event_type(name)


def test_a_message_without_an_id_has_no_such_key() -> None:
    """R10: unknown or null keys are errors to the server."""
    assert json.loads(encode_message("CURSOR_MOVE", 1, None)) == {"eventType": "CURSOR_MOVE", "data": 1}


@pytest.mark.parametrize(
    ("url", "text", "target"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "/api/client-config"),
        ("ws://h", "http://h", "/api/client-config"),
        ("wss://h:8443/team a/", "https://h:8443/team%20a", "/team%20a/api/client-config"),
        ("https://[::1]:9", "https://[::1]:9", "/api/client-config"),
    ],
)
def test_a_server_url_may_have_a_prefix_and_any_of_four_schemes(url: str, text: str, target: str) -> None:
    """R41."""
    place = Place(parse_url(url), RUN, "ann")
    assert (str(place.address), place.client_config()) == (text, target)


@pytest.mark.parametrize("url", ["", "h:80", "ftp://h", "http://", "http://h?x=1", "http://u@h", "http://h:99999"])
def test_a_wrong_url_is_an_error_that_shows_a_right_one(url: str) -> None:
    """Errors by name: invalid_url."""
    with pytest.raises(errors.InvalidUrl, match="http://127.0.0.1:8080"):  # noqa: RUF043
        parse_url(url)


def test_run_ids_are_uuids_in_either_case() -> None:
    """R41: the canonical form is lower-case."""
    assert check_run_id(RUN.upper()) == RUN
    for wrong in ("", "x", RUN.replace("-", ""), RUN + "\n", "{" + RUN + "}"):
        with pytest.raises(errors.InvalidRunId):
            check_run_id(wrong)


def test_user_ids_are_1_to_255_characters_without_controls() -> None:
    """Errors by name: invalid_user_id."""
    assert check_user_id("ü" * 255) == "ü" * 255
    for wrong in ("", "a" * 256, "a\nb", "\x7f", "\ud800"):
        with pytest.raises(errors.InvalidUserId):
            check_user_id(wrong)


def test_targets_say_who_asks_and_from_where() -> None:
    """R41, R64, R72, R76: identity, position and tries stand in the query, each where it belongs."""
    place = Place(parse_url("http://h"), RUN, "a b&c")
    run, socket = f"/api/runs/{RUN}/collaboration", f"/ws/runs/{RUN}/collaboration"
    assert place.socket(None, 0) == f"{socket}?userId=a+b%26c"
    place.session_id = "s1"
    position = Position("e/1", 7)
    assert (
        place.socket(position, 2)
        == f"{socket}?userId=a+b%26c&sessionId=s1&afterSequence=7&epoch=e%2F1&reconnectAttempt=2"
    )
    assert place.poll(None, 1) == f"{run}/poll?userId=a+b%26c&sessionId=s1&limit=1"
    assert place.events() == f"{run}/events?userId=a+b%26c&sessionId=s1"
    assert place.replay(8, 100) == f"{run}/replay?fromSequence=8&limit=100"


WELCOME = {
    "eventType": "WELCOME",
    "data": {
        "sessionId": "s1",
        "epoch": "e1",
        "sequenceNumber": 3,
        "recovered": False,
        "replayCount": 0,
        "runState": [],
        "activeUsers": ["ann"],
        "cursorPositions": {},
        "serverTime": 1000,
        "heartbeatIntervalMs": 10000,
        "maxMessageBytes": 65536,
    },
}


def test_a_welcome_that_lacks_what_the_rules_need_is_no_collabd() -> None:
    """R42, R45."""
    assert read_welcome(WELCOME).snapshot.epoch == "e1"
    for name in ("sessionId", "epoch", "sequenceNumber", "replayCount", "serverTime", "heartbeatIntervalMs"):
        data = {key: value for key, value in WELCOME["data"].items() if key != name}  # type: ignore[attr-defined]
        with pytest.raises(Malformed, match=name):
            read_welcome({"eventType": "WELCOME", "data": data})
    with pytest.raises(Malformed, match="not WELCOME"):
        read_welcome({"eventType": "HELLO"})


@pytest.mark.parametrize("text", ["", "[]", "nope", "1", "[" * 100_000])
def test_an_answer_that_is_no_json_object_is_malformed(text: str) -> None:
    """R45: whatever answers there."""
    with pytest.raises(Malformed):
        parse_object(text)


def test_unknown_fields_of_the_server_are_ignored_and_wrong_ones_are_not() -> None:
    """A newer server may say more; a number that is a text is no collabd."""
    assert read_event({"eventType": "X", "sequenceNumber": 3, "new": 1}).sequence_number == 3
    for wrong in ({"eventType": "X", "sequenceNumber": "3"}, {"eventType": "X", "sequenceNumber": True}, {}):
        with pytest.raises(Malformed):
            read_event(wrong)
    with pytest.raises(Malformed, match="without a number"):
        read_snapshot({"epoch": "e", "sequenceNumber": 1, "events": [{"eventType": "X"}]})


def test_an_event_knows_its_envelope() -> None:
    """What `collabd tail --json` prints is what the server sent."""
    sent = {
        "eventType": "GRAFT",
        "userId": "ann",
        "timestamp": 5,
        "sequenceNumber": 1,
        "data": None,
        "isCritical": True,
        "clientMessageId": "m",
    }
    assert read_event(sent).envelope() == sent


def test_acks_of_transient_events_have_no_number() -> None:
    """R12."""
    assert read_answer({"clientMessageId": "m", "duplicate": False}) == Ack("m", None, False)


def test_people_come_and_go() -> None:
    """R83, R84: joins add, leaves remove user and cursor, a list replaces."""
    people = People()
    people.replace(snapshot(0, users=("bob", "ann"), cursors={"bob": {"nodeId": "n"}}))
    assert people.active_users == ("ann", "bob")
    assert people.note(event(None, "CURSOR_MOVE", {"nodeId": "m"}, "ann"))
    assert people.note(event(None, "USER_JOIN", {"userId": "cid"}))
    assert people.note(event(None, "USER_LEAVE", {"userId": "bob", "reason": "left"}))
    assert not people.note(event(None, "OTHER"))
    assert (people.active_users, people.cursor_positions) == (("ann", "cid"), {"ann": {"nodeId": "m"}})
    people.note(event(None, "USER_JOIN", {"userId": "dan", "activeUsers": ["dan"]}))
    assert list(people.active_users) == ["dan"]


def token(claims: object) -> str:
    """Something that looks like a JWT."""
    return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


@pytest.mark.parametrize("text", ["", "opaque", "a.b", "a.!.c", "a.####.c", token([]), token({}), token({"exp": "1"})])
def test_a_token_without_a_readable_end_has_none(text: str) -> None:
    """R52: then only the server knows."""
    assert expiry_of(text) is None


def test_a_token_is_renewed_a_minute_or_a_fifth_of_its_life_before_its_end() -> None:
    """R52: whichever is shorter, by the server's clock."""
    assert expiry_of(token({"exp": 4000})) == 4000.0
    assert renewal_due_in(4000, 400) == 3540
    assert renewal_due_in(4000, 3900) == 80
    assert renewal_due_in(4000, 5000) == 0


def test_health_is_healthy_on_a_quick_websocket_that_delivers() -> None:
    """R81, R82."""
    well = Health("live", "websocket", 20.4, 1, 1.0, 0, "memory")
    assert well.is_healthy
    assert not Health("live", "websocket", 1001.0, 1, 1.0, 0, "memory").is_healthy
    assert not Health("live", "websocket", None, 1, 0.94, 0, "memory").is_healthy
    polling = Health("polling", "polling", None, 1, 1.0, 2, "memory")
    assert (polling.is_healthy, polling.using_fallback) == (False, True)
    assert well.report()["latencyMs"] == 20
    assert "latencyMs" not in polling.report()
    assert (delivery_rate(0, 0), delivery_rate(3, 1)) == (1.0, 0.75)
