"""Several WebSockets on one HTTP/2 connection: what ends one of them leaves the others alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.transports.conftest import joining, make_transport
from tests.transports.frames import BINARY, CLOSE, TEXT, client_frame, close_payload, take_frame
from tests.transports.peer import new_run, socket_target
from tests.transports.servers import Server
from tests.transports.wires import DEADLINE_S, Http2Wire


@pytest.fixture
def pair(tls_daemon: Server) -> Iterator[tuple[Http2Wire, Http2Wire]]:
    """Two WebSockets in one run, on one connection."""
    first = Http2Wire(tls_daemon)
    run = new_run()
    assert first.upgrade(socket_target(run, userId="ann"), []).status == 200
    second = first.another()
    assert second.upgrade(socket_target(run, userId="bob"), []).status == 200
    yield first, second
    first.close()


def read_until(wire: Http2Wire, part: bytes) -> None:
    """Read frames until one has this in it."""
    buffer = bytearray()
    deadline = time.monotonic() + DEADLINE_S
    while True:
        frame = take_frame(buffer)
        if frame is None:
            data = wire.receive(deadline)
            assert data, f"the stream ended before {part!r} came"
            buffer += data
        elif part in frame.payload:
            return


@pytest.mark.parametrize(
    "end",
    [
        client_frame(BINARY, b"x" * 70_000) + client_frame(TEXT, b"x") * 50,
        client_frame(TEXT, b"\xff") + client_frame(TEXT, b"x") * 50,
        client_frame(CLOSE, close_payload(1000)) + client_frame(TEXT, b"x") * 50,
    ],
    ids=["too big", "invalid UTF-8", "closed"],
)
def test_a_stream_that_the_server_ends_does_not_end_the_others(pair: tuple[Http2Wire, Http2Wire], end: bytes) -> None:
    """Bytes for it may still be on their way; they are passed over, and the connection goes on."""
    first, second = pair
    read_until(second, b"WELCOME")
    for start in range(0, len(end), 1000):
        first.send_even_after_the_end(end[start : start + 1000])
    second.send(client_frame(TEXT, b'{"eventType":"GRAFT","data":"still here"}'))
    read_until(second, b"still here")
    third = first.another()
    assert third.upgrade(socket_target(new_run(), userId="cid"), []).status == 200


def test_a_stream_that_the_client_ends_is_a_lost_connection(tls_daemon: Server) -> None:
    """Without a close frame the user is gone after the grace time, though the HTTP/2 connection goes on."""
    run = new_run()
    with joining(make_transport("tls", tls_daemon), run) as join:
        watcher = join("watcher")
        wire = Http2Wire(tls_daemon)
        wire.upgrade(socket_target(run, userId="ann"), [])
        watcher.expect("USER_JOIN")
        wire.stop_sending()
        assert watcher.expect("USER_LEAVE")["data"]["reason"] == "timeout"
        wire.close()


@pytest.mark.parametrize(
    "name", ["sec-websocket-protocol", "sec-websocket-extensions", "sec-websocket-version", "origin"]
)
def test_bytes_that_are_no_ascii_in_a_header_end_one_connection_at_most(tls_daemon: Server, name: str) -> None:
    """They ended the process once; here they are refused or ignored, and everybody else goes on."""
    with joining(make_transport("http2", tls_daemon), new_run()) as join:
        bystander = join("bystander")
        wire = Http2Wire(tls_daemon)
        with suppress(ConnectionError):
            assert wire.upgrade(socket_target(new_run(), userId="ann"), [(name, "ÿ")]).status < 500
        wire.close()
        bystander.tell("GRAFT", {"after": "A"}, "m1")
        join("newcomer")


def test_frames_before_the_answer_end_one_stream_at_most(pair: tuple[Http2Wire, Http2Wire]) -> None:
    """No client may send them; the other streams of the connection go on."""
    first, second = pair
    early = first.another()
    early.upgrade_and_send(socket_target(new_run(), userId="early"), client_frame(TEXT, b"x") * 20)
    second.send(client_frame(TEXT, b'{"eventType":"GRAFT","data":"still here"}'))
    read_until(second, b"still here")
