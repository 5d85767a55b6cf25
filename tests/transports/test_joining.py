"""Joining and coming back: WELCOME, the late joiner's replay, and resuming from a position."""

from __future__ import annotations

import time

from tests.transports.conftest import HEARTBEAT_S, RETENTION, Join

WELCOME_KEYS = {
    "sessionId",
    "runId",
    "userId",
    "epoch",
    "sequenceNumber",
    "oldestSequence",
    "recovered",
    "replayCount",
    "runState",
    "activeUsers",
    "activeUserCount",
    "cursorPositions",
    "serverTime",
    "heartbeatIntervalMs",
    "maxMessageBytes",
}


def test_the_first_welcome_describes_an_empty_run(join: Join, run: str) -> None:
    """Every field of docs/protocol.md stands in it, resetReason only where a resume was asked."""
    before = time.time() * 1000 - 1
    welcome = join("ann").welcome
    assert welcome.keys() == WELCOME_KEYS
    assert before <= welcome["serverTime"] <= time.time() * 1000 + 1
    assert len(welcome["sessionId"]) >= 22
    assert welcome["epoch"]
    fixed = {name: welcome[name] for name in WELCOME_KEYS - {"sessionId", "epoch", "serverTime"}}
    assert fixed == {
        "runId": run,
        "userId": "ann",
        "sequenceNumber": 0,
        "oldestSequence": 1,
        "recovered": False,
        "replayCount": 0,
        "runState": [],
        "activeUsers": ["ann"],
        "activeUserCount": 1,
        "cursorPositions": {},
        "heartbeatIntervalMs": HEARTBEAT_S * 1000,
        "maxMessageBytes": 65536,
    }


def test_a_run_id_in_upper_case_names_the_same_run(join: Join, run: str) -> None:
    """It is accepted, and sent back in its canonical form."""
    join("ann")
    welcome = join("bob", run=run.upper()).welcome
    assert welcome["runId"] == run
    assert welcome["activeUsers"] == ["ann", "bob"]


def test_a_late_joiner_sees_every_critical_event_once_and_no_other(join: Join) -> None:
    """The replay is the retained critical events in order, and what comes after it is live."""
    ann = join("ann")
    ann.send("GRAFT", {"after": "A"}, "g1")
    ann.send("NOTE", "persisted, not critical", "n1")
    ann.send("CURSOR_MOVE", {"nodeId": "n"}, "c1")
    ann.send("FLAG", {"stepId": "s", "note": "x"}, "f1")
    ann.wait_told("f1")
    bob = join("bob")
    assert bob.welcome["sequenceNumber"] == 3
    assert bob.welcome["oldestSequence"] == 1
    replayed = bob.receive_replay()
    assert [(event["sequenceNumber"], event["clientMessageId"]) for event in replayed] == [(1, "g1"), (3, "f1")]
    assert all(event["isCritical"] for event in replayed)
    ann.send("PRUNE", {"stepId": "s", "isPruned": True})
    assert bob.expect("PRUNE")["sequenceNumber"] == 4


def test_a_client_that_comes_back_gets_exactly_what_it_missed(join: Join) -> None:
    """Every persisted event after its position, critical or not, under the same session id; then live ones."""
    ann = join("ann")
    first = join("bob")
    ann.send("GRAFT", {"after": "A"}, "m1")
    position = first.wait_for("GRAFT")["sequenceNumber"]
    first.vanish()
    for number in range(2, 6):
        ann.send("NOTE", number, f"m{number}")
    ann.wait_told("m5")
    welcome = first.welcome
    again = join("bob", sessionId=welcome["sessionId"], epoch=welcome["epoch"], afterSequence=position)
    assert again.welcome["recovered"] is True
    assert "resetReason" not in again.welcome
    assert again.welcome["sessionId"] == welcome["sessionId"]
    assert again.welcome["runState"] == []
    assert again.welcome["replayCount"] == 4
    assert [event["data"] for event in again.receive_replay()] == [2, 3, 4, 5]
    ann.send("NOTE", 6)
    assert again.expect("NOTE")["sequenceNumber"] == 6


def test_resuming_from_the_head_replays_nothing(join: Join) -> None:
    """A position at the head is whole already."""
    ann = join("ann")
    ann.tell("GRAFT", {"after": "A"}, "m1")
    bob = join("bob", epoch=ann.welcome["epoch"], afterSequence=1)
    assert (bob.welcome["recovered"], bob.welcome["replayCount"]) == (True, 0)


def test_another_epoch_is_a_reset(join: Join) -> None:
    """Numbers of another history mean nothing: the client is told so and gets the late joiner's replay."""
    ann = join("ann")
    ann.tell("GRAFT", {"after": "A"}, "m1")
    bob = join("bob", epoch="another", afterSequence=1)
    assert (bob.welcome["recovered"], bob.welcome["resetReason"]) == (False, "epoch_changed")
    assert [event["sequenceNumber"] for event in bob.receive_replay()] == [1]


def test_a_position_ahead_of_the_log_is_a_reset(join: Join) -> None:
    """The log has never been there, so the client has seen another one."""
    ann = join("ann")
    bob = join("bob", epoch=ann.welcome["epoch"], afterSequence=1)
    assert (bob.welcome["recovered"], bob.welcome["resetReason"]) == (False, "ahead_of_log")


def test_a_trimmed_position_is_a_reset_with_the_state_that_was_trimmed(join: Join) -> None:
    """Below the oldest retained number, a resume would leave a hole; runState and the replay make the state whole."""
    ann = join("ann")
    for number in range(1, RETENTION + 4):
        ann.send("GRAFT", {"after": f"step {number % 7}", "n": number}, f"m{number}")
    ann.wait_told(f"m{RETENTION + 3}")
    epoch = ann.welcome["epoch"]
    bob = join("bob", epoch=epoch, afterSequence=2)
    assert bob.welcome["oldestSequence"] == 4
    assert (bob.welcome["recovered"], bob.welcome["resetReason"]) == (False, "trimmed")
    assert [event["sequenceNumber"] for event in bob.receive_replay()] == list(range(4, RETENTION + 4))
    assert [event["data"]["n"] for event in bob.welcome["runState"]] == [1, 2, 3]
    edge = join("cid", epoch=epoch, afterSequence=3)
    assert edge.welcome["recovered"] is True
    assert edge.welcome["runState"] == []
    assert [event["sequenceNumber"] for event in edge.receive_replay()] == list(range(4, RETENTION + 4))


def test_anothers_session_id_is_quietly_replaced(join: Join) -> None:
    """A session is valid only for its run and user, and nobody learns whether it exists."""
    ann = join("ann")
    for session_id in (ann.welcome["sessionId"], "unknown", "", "no session id: é", "x" * 500):
        bob = join("bob", sessionId=session_id)
        assert bob.welcome["sessionId"] not in (session_id, ann.welcome["sessionId"])
    ann.send("PING", {"sentAt": 1})
    ann.wait_for("PONG")


def test_a_newer_connection_of_a_session_replaces_the_older(join: Join) -> None:
    """The older is closed with 4009; the user neither left nor came."""
    watcher = join("watcher")
    old = join("ann")
    watcher.expect("USER_JOIN")
    new = join("ann", sessionId=old.welcome["sessionId"])
    assert new.welcome["sessionId"] == old.welcome["sessionId"]
    assert old.wait_closed().code == 4009
    new.send("CURSOR_MOVE", {"nodeId": "n"})
    watcher.expect("CURSOR_MOVE")
