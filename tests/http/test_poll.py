"""Polling: the same events and presence as over WebSocket, one answer at a time."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.http.asking import Api, message
from tests.http.conftest import GRACE_S, POLLING_INTERVAL_MS, RETENTION
from tests.transports.conftest import Join
from tests.transports.peer import new_run

KEYS = {
    "runId",
    "userId",
    "sessionId",
    "epoch",
    "sequenceNumber",
    "oldestSequence",
    "recovered",
    "resetReason",
    "runState",
    "events",
    "hasMore",
    "activeUsers",
    "cursorPositions",
    "nextPollMs",
}


def numbers(answer: dict[str, Any]) -> list[int]:
    """The sequence numbers of an answer's events."""
    return [event["sequenceNumber"] for event in answer["events"]]


def test_an_unknown_run_is_empty_and_stays_unknown(api: Api, run: str) -> None:
    """An anonymous read has no session, is no presence, and creates nothing."""
    answer = api.poll(run)
    assert answer.pop("epoch")
    assert answer == {
        "runId": run,
        "userId": None,
        "sessionId": None,
        "sequenceNumber": 0,
        "oldestSequence": 1,
        "recovered": False,
        "resetReason": None,
        "runState": [],
        "events": [],
        "hasMore": False,
        "activeUsers": [],
        "cursorPositions": {},
        "nextPollMs": POLLING_INTERVAL_MS,
    }
    assert run not in api.http.get("/api/runs?limit=1000").text


def test_a_poll_has_every_field_and_the_events_as_they_are_told_live(api: Api, join: Join, run: str) -> None:
    """The envelope is the same, byte for byte; transient events show as presence and cursors only."""
    watcher = join("watcher")
    watcher.send("CURSOR_MOVE", {"nodeId": "n1"})
    told, _ = watcher.tell("GRAFT", {"after": "é", "n": 1.0}, "m1")
    answer = api.ask_poll(run, userId="ann")
    assert answer.json().keys() == KEYS
    body = answer.json()
    assert body["events"] == [told]
    assert '"data":{"after": "\\u00e9", "n": 1.0}' in answer.text
    assert body["activeUsers"] == ["ann", "watcher"]
    assert body["cursorPositions"] == {"watcher": {"nodeId": "n1"}}
    assert (body["userId"], body["runId"], body["sequenceNumber"]) == ("ann", run, 1)
    assert body["epoch"] == watcher.welcome["epoch"]


def test_persisted_events_come_in_order_from_the_position_on(api: Api, run: str) -> None:
    """Critical or not; from there, `recovered` says that nothing is missing."""
    api.write(run, 3)
    api.write(run, 2, "NOTE")
    assert numbers(api.poll(run)) == [1, 2, 3, 4, 5]
    first = api.poll(run, afterSequence=0)
    assert (first["recovered"], first["resetReason"], numbers(first)) == (False, None, [1, 2, 3, 4, 5])
    later = api.poll(run, afterSequence=3, epoch=first["epoch"])
    assert (later["recovered"], later["resetReason"], numbers(later)) == (True, None, [4, 5])
    assert later["sequenceNumber"] == 5
    level = api.poll(run, afterSequence=5)
    assert (level["recovered"], level["events"], level["hasMore"]) == (True, [], False)


def test_another_epoch_is_a_reset(api: Api, run: str) -> None:
    """Everything retained comes, and why."""
    api.write(run, 2)
    answer = api.poll(run, afterSequence=1, epoch="another")
    assert (answer["recovered"], answer["resetReason"], numbers(answer)) == (False, "epoch_changed", [1, 2])


def test_a_position_ahead_of_the_log_is_a_reset(api: Api, run: str) -> None:
    """Also on a run that does not exist: it has never been there."""
    api.write(run, 2)
    answer = api.poll(run, afterSequence=3)
    assert (answer["recovered"], answer["resetReason"], numbers(answer)) == (False, "ahead_of_log", [1, 2])
    assert api.poll(new_run(), afterSequence=3)["resetReason"] == "ahead_of_log"


def test_a_trimmed_position_is_a_reset_with_the_state_that_was_trimmed(api: Api, run: str) -> None:
    """From the start is never `trimmed`: that is what it asks for; both get runState."""
    api.write(run, RETENTION + 3)
    for after, reason in ((1, "trimmed"), (2, "trimmed"), (0, None)):
        answer = api.poll(run, afterSequence=after)
        assert (answer["recovered"], answer["resetReason"]) == (False, reason)
        assert [event["sequenceNumber"] for event in answer["runState"]] == [1, 2, 3]
        assert answer["oldestSequence"] == 4
        assert numbers(answer) == list(range(4, RETENTION + 4))
    edge = api.poll(run, afterSequence=3)
    assert (edge["recovered"], edge["resetReason"], edge["runState"]) == (True, None, [])


def test_a_limit_is_kept_and_has_more_says_so(api: Api, run: str) -> None:
    """Going on from the last event's number gives every event once."""
    api.write(run, 25)
    seen: list[int] = []
    for _ in range(3):
        answer = api.poll(run, afterSequence=seen[-1] if seen else 0, limit=10)
        seen += numbers(answer)
        assert answer["hasMore"] == (seen[-1] < 25)
    assert seen == list(range(1, 26))


@pytest.mark.parametrize("after", [0, 40])
def test_an_answer_stops_at_about_a_megabyte(api: Api, run: str, after: int) -> None:
    """Read from disk (the ring is small here): hasMore, and nothing is skipped."""
    for number in range(60):
        api.publish(run, message("NOTE", "x" * 60_000, f"m{number}"))
    seen: list[int] = []
    sizes = []
    has_more = True
    while has_more:
        response = api.ask_poll(run, afterSequence=seen[-1] if seen else after)
        answer = response.json()
        has_more = answer["hasMore"]
        sizes.append(len(response.content))
        seen += numbers(answer)
    assert seen == list(range(after + 1, 61))
    assert max(sizes) < 1024 * 1024 + 70_000


def test_a_user_who_polls_without_a_session_has_one_implicit_session(api: Api, run: str) -> None:
    """The same at each poll, another for another user; a session id that is not its own is quietly replaced."""
    ann = [api.poll(run, userId="ann")["sessionId"] for _ in range(3)]
    assert len(set(ann)) == 1
    bob = api.poll(run, userId="bob", sessionId=ann[0])["sessionId"]
    assert bob not in (None, ann[0])
    assert api.poll(run, userId="bob", sessionId=bob)["sessionId"] == bob
    assert api.poll(run, userId="bob", sessionId="no such session")["sessionId"] not in (ann[0], None)


@pytest.mark.real_time
def test_a_user_who_polls_is_present_and_gone_after_its_time(api: Api, join: Join, run: str) -> None:
    """Until nextPollMs and the grace time after its last poll."""
    watcher = join("watcher")
    api.poll(run, userId="ann")
    assert watcher.expect("USER_JOIN")["data"]["activeUsers"] == ["ann", "watcher"]
    time.sleep(POLLING_INTERVAL_MS / 1000)
    for _ in range(3):
        assert api.poll(run, userId="ann")["activeUsers"] == ["ann", "watcher"]
    polled = time.monotonic()
    gone = watcher.expect("USER_LEAVE")["data"]
    elapsed = time.monotonic() - polled
    assert gone == {"userId": "ann", "activeUserCount": 1, "activeUsers": ["watcher"], "reason": "timeout"}
    assert elapsed >= (POLLING_INTERVAL_MS / 1000 + GRACE_S) * 0.9


def test_a_waiting_poll_is_answered_by_a_persisted_event(api: Api, join: Join, run: str) -> None:
    """At once, with the event."""
    watcher = join("watcher")
    answer = api.poll_meanwhile(run, userId="ann", wait=10_000)
    watcher.expect("USER_JOIN")
    started = time.monotonic()
    watcher.tell("GRAFT", {"after": "A"}, "m1")
    assert numbers(answer.result()) == [1]
    assert time.monotonic() - started < 2


def test_a_waiting_poll_is_answered_by_a_change_of_presence(api: Api, join: Join, run: str) -> None:
    """With who is there now, and no event."""
    watcher = join("watcher")
    answer = api.poll_meanwhile(run, userId="ann", wait=10_000)
    watcher.expect("USER_JOIN")
    join("bob")
    assert (answer.result()["activeUsers"], answer.result()["events"]) == (["ann", "bob", "watcher"], [])


def test_a_waiting_poll_is_not_answered_by_a_cursor(api: Api, join: Join, run: str) -> None:
    """They are many; the poll that is answered for another reason brings the last."""
    watcher = join("watcher")
    answer = api.poll_meanwhile(run, userId="ann", wait=300)
    watcher.expect("USER_JOIN")
    started = time.monotonic()
    watcher.tell("CURSOR_MOVE", {"nodeId": "n1"}, "c1")
    assert answer.result()["cursorPositions"] == {"watcher": {"nodeId": "n1"}}
    assert time.monotonic() - started > 0.2


def test_a_poll_does_not_wait_where_there_is_something_already(api: Api, run: str) -> None:
    """Events after the position, or a reset, are news enough."""
    api.write(run, 1)
    started = time.monotonic()
    assert numbers(api.poll(run, wait=10_000)) == [1]
    assert api.poll(run, afterSequence=1, epoch="another", wait=10_000)["resetReason"] == "epoch_changed"
    assert time.monotonic() - started < 2


def test_a_waiting_poll_ends_empty_when_its_time_is_over(api: Api, run: str) -> None:
    """An anonymous one on a run that exists waits too; one who waits longer than the grace time stays present."""
    api.write(run, 1)
    started = time.monotonic()
    assert api.poll(run, afterSequence=1, wait=200)["events"] == []
    assert time.monotonic() - started >= 0.19
    answer = api.poll(run, afterSequence=1, wait=round(1000 * GRACE_S + POLLING_INTERVAL_MS + 200), userId="ann")
    assert answer["activeUsers"] == ["ann"]
