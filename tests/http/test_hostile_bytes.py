"""Bytes that no honest client sends: each gets an answer or an end, and the daemon and everyone else go on.

Seven of them ended a Quart-Trio process on Hypercorn 0.18 with one request; they are kept as regression tests, on a
connection's first request and on a kept-alive one, plain and encrypted.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.http.asking import Api
from tests.transports.conftest import joining, make_transport, watched
from tests.transports.frames import TEXT, client_frame
from tests.transports.peer import Peer, new_run
from tests.transports.servers import Server, daemon, make_certificate
from tests.transports.wires import DEADLINE_S, connect, receive_answer, receive_some, upgrade_request

HANDSHAKE_TIMEOUT_S: Final = 0.5
MAX_HEAD_BYTES: Final = 4096
SETTINGS: Final = {
    "SERVER__HANDSHAKE_TIMEOUT_S": str(HANDSHAKE_TIMEOUT_S),
    "LIMITS__REQUEST_HEAD_MAX_BYTES": str(MAX_HEAD_BYTES),
    "LIMITS__MESSAGES_PER_SECOND": "0",
}
TARGET: Final = "/ws/runs/00000000-0000-4000-8000-000000000007/collaboration?userId=mallory"
FRAME: Final = client_frame(TEXT, b'{"eventType":"CURSOR_MOVE","data":1}')


def head(request_line: str, *headers: str) -> bytes:
    """A request's head; characters above 0x7F are single bytes."""
    return "\r\n".join([request_line, "host: 127.0.0.1", *headers, "", ""]).encode("latin-1")


def upgrade(*headers: tuple[str, str]) -> bytes:
    """An upgrade request with some headers added or replaced."""
    return upgrade_request("127.0.0.1", TARGET, list(headers))


KILLERS: Final = {
    "0xFF in Sec-WebSocket-Extensions": upgrade(("Sec-WebSocket-Extensions", "\xff")),
    "0xFF in Sec-WebSocket-Protocol": upgrade(("Sec-WebSocket-Protocol", "\xff")),
    "0xFF in Connection": upgrade(("Connection", "Upgrade, \xff")),
    "frames before the accept": upgrade() + FRAME * 3,
    "a body with a length": upgrade(("Content-Length", "5")) + b"hello",
    "a chunked body": upgrade(("Transfer-Encoding", "chunked")) + b"5\r\nhello\r\n0\r\n\r\n",
    "h2c with half its settings": head(
        "GET / HTTP/1.1", "connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABkAA"
    ),
}

NO_REQUESTS: Final = {
    "HTTP/2 on a plain port": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "TLS on a plain port": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x07" * 200 + b"\r\n\r\n",
    "zeros": b"\x00" * 100 + b"\r\n\r\n",
    "0xFF": b"\xff" * 100 + b"\r\n\r\n",
    "empty lines": b"\r\n\r\n\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\n\r\n",
    "HTTP/3": b"GET / HTTP/3.0\r\nhost: x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": head("GET / HTTP/1.1", "host: other"),
    "space before the colon": head("GET / HTTP/1.1", "name : value"),
    "folded header": head("GET / HTTP/1.1", "name: value\r\n folded"),
    "NUL in a header": head("GET / HTTP/1.1", "name: a\x00b"),
    "bare line feeds": b"GET / HTTP/1.1\nhost: x\n\n",
    "0xFF in the target": b"GET /\xff HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "0xFF in the query": b"GET /api/runs?limit=\xff HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "space in the target": b"GET / / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "an asterisk": head("GET * HTTP/1.1"),
    "another server's address": head("GET http://evil.example/ HTTP/1.1"),
    "a tunnel": head("CONNECT evil.example:443 HTTP/1.1"),
    "a length and chunks": head("POST / HTTP/1.1", "content-length: 3", "transfer-encoding: chunked") + b"0\r\n\r\n",
    "two lengths": head("POST / HTTP/1.1", "content-length: 3", "content-length: 4") + b"abc",
    "a length below zero": head("POST / HTTP/1.1", "content-length: -1"),
    "a huge length": head("POST / HTTP/1.1", "content-length: 99999999999999999999999999"),
    "a chunk of no size": head("POST /api/runs HTTP/1.1", "transfer-encoding: chunked") + b"xyz\r\n\r\n",
    "a huge chunk": head("POST /api/runs HTTP/1.1", "transfer-encoding: chunked") + b"f" * 100 + b"\r\n",
    "unknown encoding": head("POST /api/runs HTTP/1.1", "transfer-encoding: gzip") + b"x",
    "unknown expectation": head("POST /api/runs HTTP/1.1", "content-length: 0", "expect: the-spanish-inquisition"),
    "an upgrade by POST": upgrade().replace(b"GET ", b"POST ", 1),
    "an upgrade of HTTP/1.0": upgrade().replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "an upgrade to two things": upgrade(("Upgrade", "websocket, h2c")),
    "0xFF in the key": upgrade(("Sec-WebSocket-Key", "\xff" * 24)),
    "0xFF in the version": upgrade(("Sec-WebSocket-Version", "\xff")),
    "0xFF in Origin": upgrade(("Origin", "\xff")),
    "0xFF in Authorization": upgrade(("Authorization", "Bearer \xff")),
    "0xFF in Host": upgrade(("Host", "\xff")),
    "an upgrade to 0xFF": upgrade(("Upgrade", "websocket\xff")),
    "half a percent sign": upgrade().replace(b"userId=mallory", b"userId=%F", 1),
    "a run of percent signs": upgrade().replace(b"/runs/0", b"/runs/%ff%fe%00", 1),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A plain daemon with little patience."""
    with daemon(tmp_path_factory.mktemp("plain"), SETTINGS) as server:
        yield from watched(server)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with TLS."""
    directory = tmp_path_factory.mktemp("encrypted")
    with daemon(directory, SETTINGS, certificate=make_certificate(directory)) as server:
        yield from watched(server)


@pytest.fixture(params=["plain", "encrypted"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each in turn."""
    asked: Server = request.getfixturevalue(request.param)
    return asked


@pytest.fixture
def bystander(server: Server) -> Iterator[Peer]:
    """Somebody who has nothing to do with it all, and must not notice."""
    transport = make_transport("plain", server)
    with joining(transport, new_run()) as join:
        peer = join("bystander")
        yield peer
        peer.tell("GRAFT", {"after": "A"}, "m1")
    assert server.is_alive()
    with joining(transport, new_run()) as join:
        join("newcomer")


def open_connection(server: Server, *, kept_alive: bool) -> socket.socket:
    """A connection, on which one request may have been answered already."""
    sock = connect(server)
    if kept_alive:
        sock.sendall(head("GET /actuator/health HTTP/1.1"))
        assert receive_answer(sock)[0].status == 200
    return sock


def what_comes(sock: socket.socket, wait_s: float) -> bytes:
    """All that the server says until it ends the connection, or says nothing more for a while."""
    received = b""
    deadline = time.monotonic() + wait_s
    try:
        while data := receive_some(sock, deadline):
            received += data
    except TimeoutError:
        pass
    return received


def assert_harmless(answer: bytes) -> None:
    """Nothing of the server's inside shows, and it does not call the fault its own."""
    assert b"Traceback" not in answer
    assert not answer.startswith(b"HTTP/1.1 50") or answer.startswith(b"HTTP/1.1 501 "), answer
    assert b"server: " not in answer.lower()


@pytest.mark.parametrize("kept_alive", [False, True], ids=["first", "kept-alive"])
@pytest.mark.parametrize("killer", KILLERS.values(), ids=KILLERS.keys())
def test_what_once_ended_the_process_ends_one_connection_at_most(
    server: Server, bystander: Peer, killer: bytes, kept_alive: bool
) -> None:
    """One unauthenticated request was enough. (h2c is ignored, and answered as what it is: HTTP/1.1.)"""
    with open_connection(server, kept_alive=kept_alive) as sock:
        sock.sendall(killer)
        assert_harmless(what_comes(sock, 0.1))
        with suppress(OSError):  # it may have been cut already
            sock.sendall(FRAME)


@pytest.mark.parametrize("kept_alive", [False, True], ids=["first", "kept-alive"])
@pytest.mark.parametrize("bad", NO_REQUESTS.values(), ids=NO_REQUESTS.keys())
def test_what_is_no_request_is_refused_or_cut(plain: Server, bad: bytes, kept_alive: bool) -> None:
    """And the next connection is served."""
    with open_connection(plain, kept_alive=kept_alive) as sock:
        sock.sendall(bad)
        sock.shutdown(socket.SHUT_WR)
        answer = what_comes(sock, 2)
        assert_harmless(answer)
        assert b"101 Switching" not in answer or b"websocket" in answer.lower()
    with open_connection(plain, kept_alive=True):
        pass


def test_the_bad_requests_leave_nobody_behind(plain: Server) -> None:
    """Connections that ended are not counted as there."""
    with Api(plain) as api:
        deadline = time.monotonic() + DEADLINE_S
        while api.http.get("/api/admin/websocket/connections").json()["totalConnections"]:
            assert time.monotonic() < deadline


@pytest.mark.parametrize("kept_alive", [False, True], ids=["first", "kept-alive"])
def test_h2c_is_ignored(plain: Server, kept_alive: bool) -> None:
    """A valid offer too: the answer is HTTP/1.1's (RFC 9110, section 7.8)."""
    offer = ("connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__")
    with open_connection(plain, kept_alive=kept_alive) as sock:
        sock.sendall(head("GET /actuator/health HTTP/1.1", *offer))
        answer, _ = receive_answer(sock)
        assert (answer.status, answer.body) == (200, b'{"status":"UP"}')


@pytest.mark.parametrize("kept_alive", [False, True], ids=["first", "kept-alive"])
def test_http2_on_a_plain_port_is_refused(plain: Server, kept_alive: bool) -> None:
    """With a 400 that says where it is spoken, behind another request as no method of ours; then it is cut."""
    with open_connection(plain, kept_alive=kept_alive) as sock:
        sock.sendall(NO_REQUESTS["HTTP/2 on a plain port"])
        answer = what_comes(sock, DEADLINE_S)
        assert answer.startswith(b"HTTP/1.1 405 " if kept_alive else b"HTTP/1.1 400 ")
        assert kept_alive or b"HTTP/2 is spoken over TLS only" in answer


@pytest.mark.parametrize("kept_alive", [False, True], ids=["first", "kept-alive"])
@pytest.mark.parametrize("finished", [False, True], ids=["endless", "finished"])
@pytest.mark.parametrize("kind", ["http", "upgrade"])
def test_a_head_that_is_too_large_is_refused(
    server: Server, bystander: Peer, kept_alive: bool, finished: bool, kind: str
) -> None:
    """Without reading on; the limit is a setting."""
    start = upgrade() if kind == "upgrade" else head("GET /actuator/health HTTP/1.1")
    too_large = start[:-2] + b"x-filler: " + b"x" * (MAX_HEAD_BYTES + 1) + (b"\r\n\r\n" if finished else b"")
    with open_connection(server, kept_alive=kept_alive) as sock:
        sock.sendall(too_large)
        answer = what_comes(sock, DEADLINE_S)
        assert answer.split(b" ")[1] in (b"413", b"431"), answer


def test_a_head_just_below_the_limit_is_read(plain: Server) -> None:
    """The limit is what is allowed."""
    filler = "x" * (MAX_HEAD_BYTES - 100)
    with open_connection(plain, kept_alive=False) as sock:
        sock.sendall(head("GET /actuator/health HTTP/1.1", f"x-filler: {filler}"))
        assert receive_answer(sock)[0].status == 200


@pytest.mark.real_time
@pytest.mark.parametrize("first_bytes", [b"", b"G", b"GET / HTTP/1.1\r\nhost: x\r\n"], ids=["none", "one", "half"])
def test_a_silent_connection_is_cut_at_the_deadline(plain: Server, first_bytes: bytes) -> None:
    """So is one that sends a byte now and then: the whole head has one deadline."""
    started = time.monotonic()
    with connect(plain) as sock:
        sock.sendall(first_bytes)
        try:
            while time.monotonic() - started < 5:
                sock.settimeout(0.1)
                try:
                    if not sock.recv(1000):
                        break
                except TimeoutError:
                    sock.sendall(b"x" if first_bytes else b"")
        except ConnectionError:
            pass
    assert HANDSHAKE_TIMEOUT_S * 0.9 <= time.monotonic() - started < 3


@pytest.mark.parametrize(
    "first_bytes", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"], ids=["none", "half", "plain"]
)
def test_a_silent_or_false_tls_handshake_is_cut(encrypted: Server, first_bytes: bytes) -> None:
    """At the same deadline, or at once where it is no TLS."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", encrypted.port), timeout=DEADLINE_S) as sock:
        sock.sendall(first_bytes)
        what_comes(sock, DEADLINE_S)
    assert time.monotonic() - started < 3


def test_after_tls_a_silent_connection_is_cut_too(encrypted: Server) -> None:
    """The handshake is not the request."""
    started = time.monotonic()
    with connect(encrypted) as sock:
        assert what_comes(sock, DEADLINE_S) == b""
    assert time.monotonic() - started < 3


def test_old_tls_is_refused(encrypted: Server) -> None:
    """TLS 1.2 at least."""
    context = ssl.create_default_context(cafile=encrypted.authority)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", encrypted.port), timeout=DEADLINE_S) as sock,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(sock, server_hostname="127.0.0.1")


def test_hundreds_of_half_handshakes_hold_up_nobody(plain: Server) -> None:
    """They wait for their deadline, and everyone else is served meanwhile."""
    socks = [connect(plain) for _ in range(300)]
    try:
        for sock in socks:
            sock.sendall(b"GET / HTTP/1.1\r\n")
        started = time.monotonic()
        with joining(make_transport("plain", plain), new_run()) as join:
            join("ann").tell("GRAFT", {"after": "A"}, "m1")
        assert time.monotonic() - started < 1
    finally:
        for sock in socks:
            sock.close()


def open_sockets(server: Server) -> int:
    """How many sockets the process has."""
    descriptors = Path(f"/proc/{server.process.pid}/fd")
    kinds = []
    for descriptor in descriptors.iterdir():
        with suppress(FileNotFoundError):
            kinds.append(os.readlink(descriptor))
    return sum(kind.startswith("socket:") for kind in kinds)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "request_bytes",
    [head("GET /actuator/health HTTP/1.1"), KILLERS["h2c with half its settings"], NO_REQUESTS["a tunnel"]],
    ids=["ordinary", "h2c", "tunnel"],
)
def test_the_socket_of_a_client_that_is_gone_is_let_go(server: Server, request_bytes: bytes) -> None:
    """At once, and not after the keep-alive timeout: a minute of short visits would take every descriptor."""
    before = open_sockets(server)
    for _ in range(20):
        with open_connection(server, kept_alive=True) as sock:
            sock.sendall(request_bytes)
            receive_answer(sock)
    deadline = time.monotonic() + DEADLINE_S
    while open_sockets(server) > before:
        assert time.monotonic() < deadline


def test_an_answer_before_the_end_of_the_body_ends_the_connection(server: Server) -> None:
    """Nothing can follow on it, and it must not stay open with nobody to serve it."""
    size = 3_000_000
    start = head(f"POST /api/runs/{new_run()}/collaboration/events?userId=ann HTTP/1.1", f"content-length: {size}")
    for _ in range(8):
        with connect(server) as sock:
            with suppress(OSError):
                sock.sendall(start + b" " * size)
            answer, _ = receive_answer(sock)
            assert (answer.status, answer.headers["connection"]) == (413, "close")
            assert what_comes(sock, DEADLINE_S) == b""
            assert receive_some(sock, time.monotonic() + 1) == b""


@pytest.mark.parametrize("kept_alive", [False, True], ids=["first", "kept-alive"])
@pytest.mark.parametrize("host", ["127..0.0.1", f"{'x' * 64}.example", ".", "xn--0.example"])
@pytest.mark.parametrize("path", ["/api/runs", "/nowhere", "/actuator/health"])
def test_a_host_that_is_no_name_is_refused_like_an_unknown_one(
    plain: Server, path: str, host: str, kept_alive: bool
) -> None:
    """An empty or too long label once made it a fault of the server, with a traceback in its log."""
    with open_connection(plain, kept_alive=kept_alive) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer, _ = receive_answer(sock)
    assert answer.status in (400, 403), answer
