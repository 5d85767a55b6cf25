"""SIGTERM: what waits is committed and told, everyone is asked to come back later, and the end is not put off."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.transports.conftest import SERVER_OF, SETTINGS, joining, make_transport
from tests.transports.peer import Closed, Message, Peer, Refused, new_run
from tests.transports.servers import daemon, hypercorn_alone, make_certificate
from tests.transports.wires import connect

pytestmark = pytest.mark.slow
STARTERS: dict[str, Any] = {
    "plain_daemon": lambda directory: daemon(directory / "server", SETTINGS),
    "tls_daemon": lambda directory: daemon(directory / "server", SETTINGS, certificate=make_certificate(directory)),
    "hypercorn": lambda directory: hypercorn_alone(directory / "server", SETTINGS),
}


def last_words(peer: Peer) -> tuple[list[Message], Closed]:
    """All messages to the end, and how it ended."""
    messages: list[Message] = []
    while True:
        try:
            messages.append(peer.receive())
        except Closed as closed:
            peer.wire.close()
            return messages, closed


@pytest.mark.parametrize("kind", STARTERS)
def test_a_stop_says_when_to_come_back_and_keeps_what_was_sent(kind: str, tmp_path: Path) -> None:
    """Each session gets what was committed, then DRAIN, then 1012; nobody is told that the others leave."""
    with STARTERS[kind](tmp_path) as server, ExitStack() as stack:
        names = [name for name, owner in SERVER_OF.items() if owner == kind]
        run = new_run()
        peers = [
            stack.enter_context(joining(make_transport(name, server), run))(f"{name} {number}")
            for name in names
            for number in range(3)
        ]
        peers[0].send("GRAFT", {"after": "A"}, "m1")
        peers[0].send("PING", {"sentAt": 1})
        peers[0].wait_for("PONG")  # so it is submitted, committed or not
        server.terminate()
        for peer in peers:
            messages, closed = last_words(peer)
            if not peer.transport.drains:
                assert closed.code is None
                continue
            assert closed.code == 1012
            assert messages[-1]["eventType"] == "DRAIN"
            assert 500 <= messages[-1]["data"]["retryAfterMs"] <= 2000 + 2 * len(peers)
            assert all(message["eventType"] != "USER_LEAVE" for message in messages)
            assert [message["sequenceNumber"] for message in messages if message["eventType"] == "GRAFT"] in ([1], [])
        assert server.wait_stopped() == 0
    with STARTERS[kind](tmp_path) as server, joining(make_transport(names[0], server), run) as join:
        assert join("ann").welcome["sequenceNumber"] == 1


def test_while_draining_everything_else_is_refused_with_503(tmp_path: Path) -> None:
    """Joins, polls, publishes and replays, and readiness says so; a poll that waits is answered at once."""
    with daemon(tmp_path / "server", SETTINGS) as server, ExitStack() as stack:
        transport = make_transport("plain", server)
        run = new_run()
        busy = stack.enter_context(joining(transport, run))("busy")
        http = stack.enter_context(httpx.Client(base_url=server.url))
        http.get("/api/client-config")
        waited: list[httpx.Response] = []
        poll = f"/api/runs/{run}/collaboration/poll"
        waiting = threading.Thread(
            target=lambda: waited.append(httpx.get(f"{server.url}{poll}", params={"userId": "ann", "wait": "30000"}))
        )
        waiting.start()
        busy.wait_for("USER_JOIN")
        server.terminate()
        busy.wait_for("DRAIN")  # and its close frame stays unanswered, which holds the stop up for a moment
        with pytest.raises(Refused) as caught:
            Peer(transport, "/no/such/path?userId=")
        assert (caught.value.status, caught.value.problem["code"]) == (503, "draining")
        assert int(caught.value.headers["retry-after"]) >= 1
        for answer in (
            http.get("/api/runs/no-uuid/collaboration/poll"),
            http.get(f"/api/runs/{run}/collaboration/replay"),
            http.post(f"/api/runs/{run}/collaboration/events", content=b"{"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "draining")
            assert int(answer.headers["retry-after"]) >= 1
        assert http.get("/actuator/health/readiness").status_code == 503
        assert http.get("/actuator/health/liveness").status_code == 200
        waiting.join()
        assert waited[0].status_code == 200
        busy.vanish()
        assert server.wait_stopped() == 0


def test_peers_that_do_not_read_do_not_put_the_end_off(tmp_path: Path) -> None:
    """Neither a WebSocket, nor one behind Hypercorn, nor an HTTP answer that nobody takes, nor a silent connection."""
    settings = SETTINGS | {"SERVER__DRAIN_TIMEOUT_S": "1", "WEBSOCKET__OUTBOX_MAX_BYTES": "1000000000"}
    with daemon(tmp_path / "server", settings) as server, ExitStack() as stack:
        run = new_run()
        silent = stack.enter_context(connect(server))
        half = stack.enter_context(connect(server))
        half.sendall(b"GET / HTTP/1.1\r\n")
        for name in ("plain", "kept-alive"):
            stack.enter_context(joining(make_transport(name, server), run))(f"deaf {name}")
        writer = stack.enter_context(joining(make_transport("plain", server), run))("writer")
        for number in range(300):
            writer.send("GRAFT", "x" * 60_000, f"m{number}")
            writer.wait_told(f"m{number}")
        deaf_http = stack.enter_context(connect(server))
        request = f"GET /api/runs/{run}/collaboration/poll HTTP/1.1\r\nhost: {server.host}\r\n\r\n"
        deaf_http.sendall(request.encode() * 20)
        started = time.monotonic()
        server.terminate()
        assert server.wait_stopped() == 0
        assert time.monotonic() - started < 4
        assert silent.recv(1) == b""


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """An operator who asks twice means it."""
    with daemon(tmp_path / "server", SETTINGS) as server, ExitStack() as stack:
        busy = stack.enter_context(joining(make_transport("plain", server), new_run()))("busy")
        started = time.monotonic()
        server.terminate()
        busy.wait_for("DRAIN")
        server.terminate()
        assert server.wait_stopped() == 0
        assert time.monotonic() - started < 1.5
