"""What needs room: messages near a high limit, receivers that do not keep up, and clients that come back in time.

On a daemon with large messages, outboxes that are small beside them, and the grace time of fifteen seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.http.asking import Api
from tests.transports.conftest import Join, joining, make_transport, watched
from tests.transports.frames import TEXT, take_frame
from tests.transports.peer import Peer, Transport, socket_target
from tests.transports.servers import Server, daemon
from tests.transports.wires import DEADLINE_S, Http1Wire

pytestmark = pytest.mark.slow
MAX_MESSAGE_BYTES: Final = 1024 * 1024
OUTBOX_BYTES: Final = MAX_MESSAGE_BYTES + 4096
EVENTS: Final = 120
"""Twelve megabytes in all: more than kernel and outbox take for a client that does not read."""


@pytest.fixture(scope="module")
def large_daemon(directory: Path) -> Iterator[Server]:
    """Large messages, small outboxes."""
    settings = {
        "WEBSOCKET__MAX_MESSAGE_BYTES": str(MAX_MESSAGE_BYTES),
        "WEBSOCKET__OUTBOX_MAX_BYTES": str(OUTBOX_BYTES),
        "LIMITS__MESSAGES_PER_SECOND": "0",
        "LIMITS__BYTES_PER_SECOND": "0",
    }
    with daemon(directory / "large", settings) as server:
        yield from watched(server)


@pytest.fixture(params=["plain", "kept-alive"])
def transport(request: pytest.FixtureRequest, large_daemon: Server) -> Transport:
    """Both kinds of session code."""
    return make_transport(request.param, large_daemon)


@pytest.fixture
def join(transport: Transport, run: str) -> Iterator[Join]:
    """Brings clients into the test's run."""
    with joining(transport, run) as bring_in:
        yield bring_in


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 500_000,
        b"1" + b"0" * 500_000,
        b'"' + b"\\ud800" * 100_000 + b'"',
        b"[" + b"1e999," * 100_000 + b"1]",
    ],
    ids=["100,000 lists", "100,000 objects", "500,000 brackets", "10^500,000", "100,000 surrogates", "100,000 x 1e999"],
)
def test_what_is_bad_stays_bad_when_it_is_large(join: Join, data: bytes) -> None:
    """It is refused as quickly as a small one, and the connection stays open."""
    ann = join("ann")
    ann.send_text(b'{"eventType":"GRAFT","data":' + data + b',"clientMessageId":"bad"}')
    assert ann.expect("ERROR", timeout_s=5)["data"]["code"] == "invalid_json"
    assert ann.tell("GRAFT", 1, "good")[1]["sequenceNumber"] == 1


def test_the_largest_message_goes_through_whole(join: Join) -> None:
    """To the sender, to others, and to who comes late."""
    ann, bob = join("ann"), join("bob")
    text = json.dumps({"eventType": "GRAFT", "data": "", "clientMessageId": "m1"})
    filler = "x" * (MAX_MESSAGE_BYTES - len(text))
    ann.send_text(text.replace('"data": ""', f'"data": "{filler}"'))
    assert ann.wait_told("m1")[0]["data"] == filler
    assert bob.wait_for("GRAFT")["data"] == filler
    assert join("late").receive_replay()[0]["data"] == filler


def test_a_slow_reader_is_closed_with_4008_hurts_nobody_and_resumes(join: Join, transport: Transport, run: str) -> None:
    """Its queue is bounded; what it missed comes when it comes back."""
    writer, watcher = join("writer"), join("watcher")
    before = int(transport.name == "kept-alive")
    slow_way = partial(Http1Wire, transport.server, requests_before=before, receive_buffer=4096)
    slow = Peer(transport._replace(open_wire=slow_way), socket_target(run, userId="slow"))
    session = slow.welcome["sessionId"]
    for number in range(1, EVENTS + 1):
        writer.send("GRAFT", {"n": number, "filler": "x" * 100_000}, f"m{number}")
        if number % 5 == 0:
            writer.wait_told(f"m{number}")
            assert [watcher.wait_for("GRAFT")["sequenceNumber"] for _ in range(5)] == list(
                range(number - 4, number + 1)
            )
    with Api(transport.server) as api:
        deadline = time.monotonic() + DEADLINE_S
        while (code := api.http.get(f"/api/admin/websocket/metrics/{session}").json()["closeCode"]) is None:
            assert time.monotonic() < deadline, "nothing was ever too much for it"
        assert code == 4008
    seen = read_to_the_end(slow)
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) < EVENTS
    again = join("slow", sessionId=session, epoch=slow.welcome["epoch"], afterSequence=len(seen))
    assert again.welcome["recovered"] is True
    assert [event["sequenceNumber"] for event in again.receive_replay()] == list(range(len(seen) + 1, EVENTS + 1))


def read_to_the_end(peer: Peer) -> list[int]:
    """The numbers of all events that reach a client that was cut off, perhaps in the middle of one."""
    numbers: list[int] = []
    buffer = bytearray()
    deadline = time.monotonic() + DEADLINE_S
    while data := peer.wire.receive(deadline):
        buffer += data
        while (frame := take_frame(buffer)) is not None:
            if frame.opcode == TEXT and b'"GRAFT"' in frame.payload[:30]:
                numbers.append(json.loads(frame.payload)["sequenceNumber"])
    return numbers


def test_a_reload_is_neither_a_leave_nor_a_join(join: Join) -> None:
    """A user who comes back within the grace time was there all along, with the old session id or without."""
    ann, bob = join("ann"), join("bob")
    ann.expect("USER_JOIN")
    for session in (bob.welcome["sessionId"], None, None):
        bob.vanish()
        bob = join("bob") if session is None else join("bob", sessionId=session)
        assert bob.welcome["activeUsers"] == ["ann", "bob"]
        assert (bob.welcome["sessionId"] == session) == (session is not None)
    bob.tell("GRAFT", {"after": "A"}, "m1")
    assert ann.expect("GRAFT")["userId"] == "bob"
    assert ann.receive_all() == []
