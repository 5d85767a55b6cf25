"""Publishing: one message or a batch, with the promises of the WebSocket, and an answer for each message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.asking import Api, accepted, message, refused
from tests.transports.bad_messages import BAD_MESSAGES
from tests.transports.conftest import Join, watched
from tests.transports.servers import daemon

MAX_MESSAGE_BYTES = 65536
MAX_BODY_BYTES = 1024 * 1024
BURST = 5


def test_one_message_is_acknowledged_and_told_to_everyone(api: Api, join: Join, run: str) -> None:
    """With the user of the query, under the next number."""
    watcher = join("watcher")
    answer = api.ask_publish(run, message("GRAFT", {"after": "A"}, "m1"), user="Zoë")
    assert accepted(answer) == {"acks": [{"clientMessageId": "m1", "sequenceNumber": 1, "duplicate": False}]}
    told = watcher.expect("GRAFT")
    assert (told["userId"], told["sequenceNumber"], told["clientMessageId"]) == ("Zoë", 1, "m1")


def test_a_batch_is_acknowledged_in_its_order(api: Api, join: Join, run: str) -> None:
    """Persisted and transient ones; without an id there is no id in the ack."""
    watcher = join("watcher")
    acks = api.publish(
        run,
        message("GRAFT", {"after": "A"}, "m1"),
        message("CURSOR_MOVE", {"nodeId": "n"}, "c1"),
        message("NOTE", "x"),
        message("CLIENT_HEALTH", {"latencyMs": 5}),
        message("MY_OWN"),
        message("FLAG", {"stepId": "s"}, "m2"),
    )
    assert acks == [
        {"clientMessageId": "m1", "sequenceNumber": 1, "duplicate": False},
        {"clientMessageId": "c1", "duplicate": False},
        {"sequenceNumber": 2, "duplicate": False},
        {},
        {"duplicate": False},
        {"clientMessageId": "m2", "sequenceNumber": 3, "duplicate": False},
    ]
    told = [watcher.receive()["eventType"] for _ in range(5)]
    assert sorted(told) == sorted(["GRAFT", "CURSOR_MOVE", "NOTE", "MY_OWN", "FLAG"])
    assert [name for name in told if name in ("GRAFT", "NOTE", "FLAG")] == ["GRAFT", "NOTE", "FLAG"]


def test_an_empty_batch_and_a_full_one_are_fine(api: Api, run: str) -> None:
    """Up to 100 events."""
    assert api.publish(run) == []
    acks = api.publish(run, *(message("GRAFT", {"n": n}, f"m{n}") for n in range(100)))
    assert [ack["sequenceNumber"] for ack in acks] == list(range(1, 101))


def test_a_message_sent_again_is_a_duplicate_whatever_way_it_comes(api: Api, join: Join, run: str) -> None:
    """Published, then over WebSocket, then in a batch twice."""
    graft = message("GRAFT", {"after": "A"}, "m1")
    first = {"clientMessageId": "m1", "sequenceNumber": 1, "duplicate": False}
    again = first | {"duplicate": True}
    assert api.publish(run, graft, graft) == [first, again]
    ann = join("ann")
    ann.receive_replay()
    ann.send("GRAFT", {"after": "A"}, "m1")
    assert ann.expect("ACK")["data"] == again
    assert accepted(api.ask_publish(run, graft)) == {"acks": [again]}
    assert ann.receive_all() == []


def test_an_id_with_other_content_is_a_conflict(api: Api, run: str) -> None:
    """409 for one message, an error among the acks of a batch, and the rest of the batch goes on."""
    api.publish(run, message("GRAFT", {"after": "A"}, "m1"))
    other = message("GRAFT", {"after": "B"}, "m1")
    assert refused(api.ask_publish(run, other), 409, "client_message_id_reused")["clientMessageId"] == "m1"
    error, ack = api.publish(run, other, message("GRAFT", {"after": "C"}, "m2"))
    assert (error["code"], error["clientMessageId"], error["retryable"]) == ("client_message_id_reused", "m1", False)
    assert ack["sequenceNumber"] == 2


@pytest.mark.parametrize("bad", BAD_MESSAGES, ids=lambda bad: bad.name)
def test_a_bad_message_is_refused_with_the_code_it_has_over_websocket(api: Api, bad: tuple[str, bytes, str]) -> None:
    """400, whatever is wrong with it."""
    run = "00000000-0000-4000-8000-000000000bad"
    problem = refused(api.ask_publish(run, bad[1]), 400, bad[2])
    if bad[2] == "unknown_key":
        assert problem["clientMessageId"] == "bad"
    assert api.poll(run)["sequenceNumber"] == 0


def test_bad_messages_in_a_batch_do_not_stop_it(api: Api, run: str) -> None:
    """Each gets its error in its place, and the good ones between them are kept."""
    bad = [bad for bad in BAD_MESSAGES if bad.name.startswith(("type:", "key:", "id:", "control:"))]
    bad += [bad for bad in BAD_MESSAGES if bad.name in ("data: NUL escape", "data: 10^309", "data: 33 deep")]
    good = b'{"eventType":"GRAFT","data":1}'
    for start in range(0, len(bad), 40):
        part = bad[start : start + 40]
        body = b'{"events":[' + b",".join(bad.text + b"," + good for bad in part) + b"]}"
        acks = accepted(api.ask_publish(run, body))["acks"]
        assert [error["code"] for error in acks[::2]] == [bad.code for bad in part]
        assert [ack["sequenceNumber"] for ack in acks[1::2]] == list(range(start + 1, start + len(part) + 1))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"events":[{"eventType":"GRAFT"},]}', "invalid_json"),
        (b'{"events":[{"eventType":"GRAFT"}', "invalid_json"),
        (b'{"events":{"eventType":"GRAFT"}}', "invalid_json"),
        (b'{"events":null}', "invalid_json"),
        (b'{"events":"[]"}', "invalid_json"),
        (b'{"events":[],"userId":"bob"}', "unknown_key"),
        (b'{"events":[],"eventType":"GRAFT"}', "unknown_key"),
        (b'{"events":[' + b",".join([b'{"eventType":"GRAFT"}'] * 101) + b"]}", "invalid_parameter"),
        (b'{"eventType":"GRAFT","data":"\xff"}', "invalid_json"),
        (b'{"events":[{"eventType":"GRAFT","data":"\xed\xa0\x80"}]}', "invalid_json"),
        (b'{"eventType":"GRAFT","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json"),
        (b'{"events":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json"),
        (b"[" * 500_000, "invalid_json"),
        (b'{"a":' * 100_000, "invalid_json"),
        (b"eventType=GRAFT", "invalid_json"),
    ],
    ids=[
        "trailing comma",
        "cut off",
        "events is an object",
        "events is null",
        "events is text",
        "userId beside events",
        "eventType beside events",
        "101 events",
        "invalid UTF-8",
        "a surrogate in UTF-8",
        "100,000 deep in data",
        "100,000 deep in events",
        "500,000 brackets",
        "100,000 objects",
        "a form",
    ],
)
def test_a_bad_body_is_refused_as_a_whole(api: Api, run: str, body: bytes, code: str) -> None:
    """Nothing of it is kept."""
    if code == "invalid_json" and body.startswith(b'{"eventType"') and len(body) > MAX_MESSAGE_BYTES:
        assert api.ask_publish(run, body).json()["code"] in (code, "message_too_big")
    else:
        refused(api.ask_publish(run, body), 400, code)
    assert api.poll(run)["sequenceNumber"] == 0


def test_ping_and_auth_belong_to_a_websocket(api: Api, run: str) -> None:
    """Alone they are refused, in a batch each gets its error."""
    refused(api.ask_publish(run, message("PING", {"sentAt": 1})), 400, "not_over_http")
    refused(api.ask_publish(run, message("AUTH", {"token": "x"})), 400, "not_over_http")
    errors = api.publish(run, message("PING"), message("AUTH", {"token": "x"}))
    assert [error["code"] for error in errors] == ["not_over_http"] * 2


def test_client_health_over_http_is_taken(api: Api, run: str) -> None:
    """A polling client's latency shows in its figures."""
    session = api.poll(run, userId="ann")["sessionId"]
    answer = api.ask_publish(run, message("CLIENT_HEALTH", {"latencyMs": 321.5}), session=session)
    assert accepted(answer) == {"acks": [{}]}
    figures = api.http.get(f"/api/admin/websocket/metrics/{session}").json()
    assert figures["averageLatencyMs"] == 321.5
    assert figures["transport"] == "polling"


def test_a_message_over_the_limit_is_too_big(api: Api, run: str) -> None:
    """The limit is the WebSocket's, and counts bytes; the largest allowed goes through."""
    head, tail = b'{"eventType":"GRAFT","data":"', b'"}'
    largest = head + "é".encode() * ((MAX_MESSAGE_BYTES - len(head + tail)) // 2) + tail
    accepted(api.ask_publish(run, largest + b" " * (MAX_MESSAGE_BYTES - len(largest))))
    refused(api.ask_publish(run, largest + b" " * (MAX_MESSAGE_BYTES + 1 - len(largest))), 413, "message_too_big")
    too_big = message("GRAFT", "x" * MAX_MESSAGE_BYTES, "m1")
    error, ack = api.publish(run, too_big, message("GRAFT", 1, "m2"))
    assert error["code"] == "message_too_big"
    assert ack["sequenceNumber"] == 2


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 5 * MAX_BODY_BYTES])
@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_a_body_over_a_megabyte_is_too_big(api: Api, run: str, size: int, chunked: bool) -> None:
    """However it is sent; and the answer reaches the client, though it was still sending."""
    body = b'{"events":[]' + b" " * (size - 13) + b"}"

    def pieces() -> Iterator[bytes]:
        for start in range(0, size, 65536):
            yield body[start : start + 65536]

    for _ in range(8):
        content = pieces() if chunked else body
        answer = api.http.post(f"/api/runs/{run}/collaboration/events?userId=ann", content=content)
        refused(answer, 413, "message_too_big")
        # On the same connection where it was kept, else on a new one: a client must not be left waiting.
        assert api.publish(run) == []


def test_a_body_of_exactly_a_megabyte_is_read(api: Api, run: str) -> None:
    """The limit is what is allowed."""
    body = b'{"events":[]' + b" " * (MAX_BODY_BYTES - 13) + b"}"
    assert len(body) == MAX_BODY_BYTES
    assert accepted(api.ask_publish(run, body)) == {"acks": []}


def test_a_publish_needs_a_user(api: Api, run: str) -> None:
    """And a valid one."""
    refused(api.ask_publish(run, message("GRAFT"), user=None), 400, "user_required")
    refused(api.ask_publish(run, message("GRAFT"), user=""), 400, "invalid_parameter")
    refused(api.ask_publish(run, message("GRAFT"), user="x" * 256), 400, "invalid_parameter")
    refused(api.ask_publish("no-uuid", message("GRAFT")), 400, "invalid_parameter")


def test_anothers_session_is_not_taken_for_ones_own(api: Api, join: Join, run: str) -> None:
    """The event is the user's of the query; the session's figures stay untouched."""
    bob = join("bob")
    api.ask_publish(run, message("CLIENT_HEALTH", {"latencyMs": 9999}), session=bob.welcome["sessionId"])
    figures = api.http.get(f"/api/admin/websocket/metrics/{bob.welcome['sessionId']}").json()
    assert figures["messagesReceived"] == 0


def test_a_batch_stops_at_its_first_retryable_failure(tmp_path: Path) -> None:
    """The rest is not attempted, so that the sender's order holds; sent again from there, all arrive in order."""
    settings = {"LIMITS__MESSAGES_PER_SECOND": "20", "LIMITS__MESSAGE_BURST": str(BURST)}
    with daemon(tmp_path, settings) as server, Api(server) as api:
        for _ in watched(server):
            run = "00000000-0000-4000-8000-000000000001"
            events = [message("GRAFT", {"n": n}, f"m{n}") for n in range(BURST + 3)]
            acks = api.publish(run, *events)
            assert [ack["sequenceNumber"] for ack in acks[:BURST]] == list(range(1, BURST + 1))
            assert (acks[BURST]["code"], acks[BURST]["retryable"]) == ("rate_limited", True)
            assert 0 < acks[BURST]["retryAfterMs"] <= 50
            assert [ack["code"] for ack in acks[BURST + 1 :]] == ["not_attempted"] * 2
            assert all(ack["retryable"] for ack in acks[BURST + 1 :])
            problem = refused(api.ask_publish(run, events[-1]), 429, "rate_limited")
            assert problem["clientMessageId"] == "m7"
            assert problem["retryAfterMs"] > 0
            assert api.poll(run)["sequenceNumber"] == BURST
