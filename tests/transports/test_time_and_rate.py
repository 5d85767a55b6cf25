"""What needs time or a limit: heartbeats, dead peers, and the rate of messages, on a daemon with short settings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.transports.conftest import Join, joining, make_transport, watched
from tests.transports.peer import Message, Transport
from tests.transports.servers import Server, daemon

pytestmark = pytest.mark.slow
HEARTBEAT_S: Final = 0.2
BURST: Final = 20
OVER: Final = 10
RATE: Final = 20


@pytest.fixture(scope="module")
def quick_daemon(directory: Path) -> Iterator[Server]:
    """A daemon that loses patience soon."""
    settings = {
        "WEBSOCKET__HEARTBEAT_INTERVAL_S": str(HEARTBEAT_S),
        "PRESENCE__GRACE_S": "0.3",
        "LIMITS__MESSAGES_PER_SECOND": str(RATE),
        "LIMITS__MESSAGE_BURST": str(BURST),
    }
    with daemon(directory / "quick", settings) as server:
        yield from watched(server)


@pytest.fixture(params=["plain", "kept-alive"])
def transport(request: pytest.FixtureRequest, quick_daemon: Server) -> Transport:
    """Both kinds of session code, on the quick daemon."""
    return make_transport(request.param, quick_daemon)


@pytest.fixture
def join(transport: Transport, run: str) -> Iterator[Join]:
    """Brings clients into the test's run."""
    with joining(transport, run) as bring_in:
        yield bring_in


def test_the_server_pings_where_it_can_hear_pongs(join: Join) -> None:
    """Behind ASGI it cannot, and does not; WELCOME tells everyone the interval."""
    ann = join("ann")
    assert ann.welcome["heartbeatIntervalMs"] == HEARTBEAT_S * 1000
    with pytest.raises(TimeoutError):
        ann.receive(timeout_s=HEARTBEAT_S * 4)
    assert len(set(ann.pings)) == len(ann.pings)
    assert (len(ann.pings) >= 3) == ann.transport.hears_control_frames


def test_a_peer_that_is_dead_is_closed_with_4000_and_leaves_after_its_grace(join: Join) -> None:
    """After twice the interval without a byte. Behind ASGI that takes a client that has PINGed once."""
    dead = join("dead")
    dead.answers_pings = False
    dead.send("PING", {"sentAt": 1})
    started = time.monotonic()
    assert dead.wait_closed().code == 4000
    assert HEARTBEAT_S * 2 <= time.monotonic() - started < HEARTBEAT_S * 4 + 1
    watcher = join("watcher")
    assert watcher.welcome["activeUsers"] == ["dead", "watcher"]
    assert watcher.expect("USER_LEAVE")["data"]["reason"] == "timeout"


def test_messages_over_the_rate_are_refused_with_when_to_come_again(join: Join) -> None:
    """And the sender's order holds: later persisted messages wait until the first refused one has come again."""
    ann = join("ann")
    for number in range(BURST + OVER):
        ann.send("GRAFT", {"after": "A"}, f"m{number}")
    errors: list[Message] = []
    acked = 0
    while len(errors) + acked < BURST + OVER:
        message = ann.receive()
        acked += message["eventType"] == "ACK"
        errors += [message["data"]] if message["eventType"] == "ERROR" else []
    assert 0 < len(errors) <= OVER
    first = acked
    assert [error["clientMessageId"] for error in errors] == [f"m{number}" for number in range(first, BURST + OVER)]
    assert errors[0]["code"] == "rate_limited"
    assert errors[0]["retryable"] is True
    assert 0 < errors[0]["retryAfterMs"] <= 1000 / RATE + 1
    with pytest.raises(TimeoutError):
        ann.wait_for("nothing", timeout_s=BURST / RATE)
    ann.send("GRAFT", {"after": "A"}, "out-of-turn")
    refused = ann.wait_for("ERROR")["data"]
    assert (refused["code"], refused["clientMessageId"]) == ("rate_limited", "out-of-turn")
    for number in range(first, BURST + OVER):
        assert ann.tell("GRAFT", {"after": "A"}, f"m{number}")[1]["sequenceNumber"] == number + 1


def test_a_client_that_never_stops_is_closed_with_4429(join: Join) -> None:
    """After 200 refusals."""
    ann = join("ann")
    try:
        for _ in range(BURST + 400):
            ann.send("CURSOR_MOVE", {"nodeId": "n"})
    except OSError:
        pass  # it was cut while it sent
    assert ann.wait_closed().code == 4429
