"""Who is there: USER_JOIN, USER_LEAVE and cursors, told to the others and true to the fact."""

from __future__ import annotations

import time

from tests.transports.conftest import GRACE_S, Join


def test_a_users_first_session_is_told_to_the_others_only(join: Join) -> None:
    """A second tab of the same user is news to nobody."""
    ann = join("ann")
    bob = join("bob")
    told = ann.expect("USER_JOIN")
    assert told["userId"] == "bob"
    assert told["isCritical"] is False
    assert "sequenceNumber" not in told
    assert told["data"] == {"userId": "bob", "activeUserCount": 2, "activeUsers": ["ann", "bob"]}
    tab = join("bob")
    assert tab.welcome["activeUserCount"] == 2
    assert ann.receive_all() == bob.receive_all() == tab.receive_all() == []


def test_a_user_who_leaves_is_gone_at_once(join: Join) -> None:
    """Close 1000 means it. Behind ASGI nobody sees the code, and the grace time has to pass."""
    ann, bob = join("ann"), join("bob")
    ann.expect("USER_JOIN")
    started = time.monotonic()
    assert bob.leave(1000).code == 1000
    told = ann.expect("USER_LEAVE")
    reason = "left" if ann.transport.hears_control_frames else "timeout"
    assert told["data"] == {"userId": "bob", "activeUserCount": 1, "activeUsers": ["ann"], "reason": reason}
    assert reason == "left" or time.monotonic() - started >= GRACE_S * 0.9


def test_a_user_who_is_lost_is_gone_after_the_grace_time(join: Join) -> None:
    """So is one who closes with any other code."""
    ann, bob, cid = join("ann"), join("bob"), join("cid")
    started = time.monotonic()
    bob.vanish()
    cid.leave(1001)
    gone = [ann.wait_for("USER_LEAVE")["data"], ann.wait_for("USER_LEAVE")["data"]]
    assert time.monotonic() - started >= GRACE_S * 0.9
    assert sorted(data["userId"] for data in gone) == ["bob", "cid"]
    assert {data["reason"] for data in gone} == {"timeout"}
    assert gone[1]["activeUsers"] == ["ann"]


def test_a_user_is_there_as_long_as_any_session_is(join: Join) -> None:
    """One of two tabs closed is no leave."""
    ann, first, second = join("ann"), join("bob"), join("bob")
    ann.expect("USER_JOIN")
    first.leave(1000)
    ann.send("CURSOR_MOVE", {"nodeId": "n"}, "c")
    assert [ann.receive()["eventType"] for _ in range(2)] in (["CURSOR_MOVE", "ACK"], ["ACK", "CURSOR_MOVE"])
    second.leave(1000)
    assert ann.expect("USER_LEAVE")["data"]["activeUsers"] == ["ann"]


def test_a_newcomer_learns_where_everybody_looks(join: Join) -> None:
    """The last CURSOR_MOVE of each present user; of one who is gone there is none."""
    ann, bob = join("ann"), join("bob")
    for node in ("n1", "n2"):
        ann.send("CURSOR_MOVE", {"nodeId": node})
        bob.wait_for("CURSOR_MOVE")
    bob.send("CURSOR_MOVE", {"nodeId": "n3"})
    ann.wait_for("CURSOR_MOVE")
    assert join("cid").welcome["cursorPositions"]["ann"] == {"nodeId": "n2"}
    bob.leave(1000)
    while ann.wait_for("USER_LEAVE")["data"]["userId"] != "bob":
        pass
    assert join("dan").welcome["cursorPositions"] == {"ann": {"nodeId": "n2"}}


def test_user_names_are_any_text_without_control_characters(join: Join) -> None:
    """They come back as they were given, sorted by code point."""
    names = ['"quoted\\"', "a" * 255, "Zoë 😀", "<b>", "É" * 255]
    peers = [join(name) for name in names]
    assert peers[-1].welcome["activeUsers"] == sorted(names)
    assert [peer.welcome["userId"] for peer in peers] == names
