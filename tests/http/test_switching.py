"""One session over two transports: WebSocket, polling and back, while nothing is lost or doubled."""

from __future__ import annotations

import threading
from typing import Any

from tests.http.asking import Api, message
from tests.transports.conftest import Join

EVENTS = 120


def test_a_session_that_switches_back_and_forth_sees_every_event_once(api: Api, join: Join, run: str) -> None:
    """Under one sessionId, while another user writes all the time; nobody sees it leave or come."""
    writer = join("writer")
    client = join("ann")
    writer.expect("USER_JOIN")
    session, epoch = client.welcome["sessionId"], client.welcome["epoch"]
    enough = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not enough.is_set():
            api.publish(run, message("GRAFT", {"n": written}, f"w{written}"), user="writer")
            written += 1

    thread = threading.Thread(target=write)
    thread.start()
    seen: list[dict[str, Any]] = []
    try:
        while len(seen) < EVENTS:
            seen += [client.wait_for("GRAFT") for _ in range(3)]
            client.vanish()
            for _ in range(2):
                after = seen[-1]["sequenceNumber"]
                answer = api.poll(run, userId="ann", sessionId=session, epoch=epoch, afterSequence=after, wait=1000)
                assert (answer["recovered"], answer["sessionId"]) == (True, session)
                seen += answer["events"]
            after = seen[-1]["sequenceNumber"]
            client = join("ann", sessionId=session, epoch=epoch, afterSequence=after)
            assert (client.welcome["recovered"], client.welcome["sessionId"]) == (True, session)
    finally:
        enough.set()
        thread.join()
    assert [event["sequenceNumber"] for event in seen] == list(range(1, len(seen) + 1))
    assert [event["data"]["n"] for event in seen] == list(range(len(seen)))
    presence = [told for told in writer.receive_all() if told["eventType"].startswith("USER_")]
    assert presence == []


def test_a_poll_does_not_replace_a_websocket(api: Api, join: Join, run: str) -> None:
    """A client may ask while its socket still stands; the socket goes on."""
    client = join("ann")
    session = client.welcome["sessionId"]
    assert api.poll(run, userId="ann", sessionId=session)["sessionId"] == session
    client.tell("GRAFT", {"after": "A"}, "m1")
    (row,) = api.http.get(f"/api/admin/websocket/connections/{run}").json()["connections"]
    assert (row["sessionId"], row["transport"]) == (session, "websocket")


def test_a_message_whose_ack_was_lost_is_published_without_a_second_event(api: Api, join: Join, run: str) -> None:
    """Sent over WebSocket, sent again over HTTP, and again over a new WebSocket."""
    watcher, client = join("watcher"), join("ann")
    watcher.expect("USER_JOIN")
    client.send("GRAFT", {"after": "A"}, "m1")
    client.vanish()
    again = message("GRAFT", {"after": "A"}, "m1")
    (ack,) = api.publish(run, again)
    assert ack["sequenceNumber"] == 1
    client = join("ann", sessionId=client.welcome["sessionId"])
    client.receive_replay()
    client.send("GRAFT", {"after": "A"}, "m1")
    assert client.expect("ACK")["data"] == {"clientMessageId": "m1", "sequenceNumber": 1, "duplicate": True}
    assert [told["sequenceNumber"] for told in watcher.receive_all() if told["eventType"] == "GRAFT"] == [1]


def test_operators_see_each_switch(api: Api, join: Join, run: str) -> None:
    """The transport of a session is what it uses now; its figures go on."""
    client = join("ann")
    session = client.welcome["sessionId"]
    client.tell("GRAFT", {"after": "A"}, "m1")
    figures = api.http.get(f"/api/admin/websocket/metrics/{session}").json()
    assert (figures["transport"], figures["messagesReceived"], figures["disconnectedAt"]) == ("websocket", 1, None)
    client.leave()
    api.poll(run, userId="ann", sessionId=session)
    figures = api.http.get(f"/api/admin/websocket/metrics/{session}").json()
    assert (figures["transport"], figures["messagesReceived"], figures["disconnectedAt"]) == ("polling", 1, None)
    join("ann", sessionId=session)
    figures = api.http.get(f"/api/admin/websocket/metrics/{session}").json()
    assert (figures["transport"], figures["reconnectionCount"]) == ("websocket", 1)
