"""The edge of HTTP, the same on every way in: a first request, a kept connection, an upgrade, TLS, HTTP/2."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx
import pytest

from tests.gateway.test_strict import BAD
from tests.transports.frames import PING, client_frame
from tests.transports.servers import Server, daemon, make_certificate
from tests.transports.wires import DEADLINE_S, Answer, connect, receive_answer, receive_some, upgrade_request

LIMIT = 4096
RUN = "00000000-0000-4000-8000-000000000009"
EVENTS = f"/api/runs/{RUN}/collaboration/events?userId=ann"
TARGET = f"/ws/runs/{RUN}/collaboration?userId=ann"
SETTINGS = {
    "LIMITS__REQUEST_HEAD_MAX_BYTES": str(LIMIT),
    "SERVER__WRITE_TIMEOUT_S": "1",
    "LIMITS__MESSAGES_PER_SECOND": "10",
    "LIMITS__MESSAGE_BURST": "50",
}
OPEN = {**SETTINGS, "LIMITS__MESSAGES_PER_SECOND": "0"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A plain daemon."""
    with daemon(tmp_path_factory.mktemp("plain"), SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A daemon with TLS, in which everybody may publish as much as they like."""
    directory = tmp_path_factory.mktemp("encrypted")
    with daemon(directory, OPEN, certificate=make_certificate(directory)) as server:
        yield server


WAYS = ["plain", "plain kept", "encrypted", "encrypted kept"]


@pytest.fixture(params=WAYS)
def sock(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A connection on which HTTP/1.1 is spoken; kept: one request was answered on it."""
    kind, _, kept = request.param.partition(" ")
    with connect(request.getfixturevalue(kind)) as opened:
        if kept:
            opened.sendall(b"GET /actuator/health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert receive_answer(opened)[0].status == 200
        yield opened


def assert_refused(answer: Answer, status: int, code: str) -> None:
    """A refusal like any other: RFC 9457, every security header, nothing about the server."""
    assert (answer.status, json.loads(answer.body)["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"]
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("sock", "lines"),
    [(way, lines) for way in WAYS for lines in list(BAD.values())[:: 1 if way == "plain kept" else 5]],
    indirect=["sock"],
)
def test_what_could_smuggle_a_request_is_refused(sock: socket.socket, lines: bytes) -> None:
    """And nothing that follows on the connection is answered."""
    start = f"POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\n".encode()
    sock.sendall(start + lines + b"\r\n\r\n0\r\n\r\nGET /actuator/health HTTP/1.1\r\nhost: localhost\r\n\r\n")
    answer, rest = receive_answer(sock)
    assert_refused(answer, 400, "invalid_parameter")
    assert answer.headers["connection"] == "close"
    sock.settimeout(DEADLINE_S)
    assert rest + receive_some(sock, time.monotonic() + DEADLINE_S) == b""


@pytest.mark.parametrize("lines", [BAD["a bare line feed"], BAD["a folded line"], BAD["two hosts"]])
def test_an_upgrade_is_held_to_the_same(sock: socket.socket, lines: bytes) -> None:
    """Whether the gateway reads it or Hypercorn."""
    request = upgrade_request("localhost", TARGET, [])
    sock.sendall(request.removesuffix(b"\r\n") + lines + b"\r\n\r\n")
    assert_refused(receive_answer(sock)[0], 400, "invalid_parameter")


@pytest.mark.parametrize("change", [("Sec-WebSocket-Version", "7"), ("Sec-WebSocket-Key", ""), ("Content-Length", "5")])
def test_every_refused_upgrade_says_why(sock: socket.socket, change: tuple[str, str]) -> None:
    """As problem+json, Hypercorn's own refusals too."""
    sock.sendall(upgrade_request("localhost", TARGET, [change]))
    assert_refused(receive_answer(sock)[0], 400, "invalid_parameter")


@pytest.mark.parametrize("request_line", [f"GET {TARGET}", "GET /actuator/health"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_the_limit_on_heads_is_one_and_the_same(sock: socket.socket, request_line: str, pieces: int) -> None:
    """413 above it, whatever is asked for and however it comes."""
    upgrade = "upgrade: websocket\r\n" if "/ws/" in request_line else ""
    start = f"{request_line} HTTP/1.1\r\nhost: localhost\r\n{upgrade}filler: "
    end = "\r\n\r\n"
    for size, status in ((LIMIT, None), (LIMIT + 1, 413)):
        text = (start + "x" * (size - len(start) - len(end)) + end).encode()
        if status is None and "/ws/" not in request_line:
            sock.sendall(text)
            assert receive_answer(sock)[0].status == 200
        if status is not None:
            for each in range(pieces):
                sock.sendall(text[each * len(text) // pieces : (each + 1) * len(text) // pieces])
            assert_refused(receive_answer(sock)[0], 413, "message_too_big")


def test_a_request_needs_a_host_unless_it_is_of_http_1_0(sock: socket.socket) -> None:
    """An old monitor may ask for health without one."""
    sock.sendall(b"GET /actuator/health HTTP/1.0\r\n\r\n")
    assert receive_answer(sock)[0].body == b'{"status":"UP"}'


@pytest.mark.parametrize("host", ["", "host:\r\n", "host: \r\n"])
def test_http_1_1_needs_a_host_that_says_something(sock: socket.socket, host: str) -> None:
    """On every way."""
    sock.sendall(f"GET /actuator/health HTTP/1.1\r\n{host}\r\n".encode())
    assert_refused(receive_answer(sock)[0], 400, "invalid_parameter")


@pytest.mark.parametrize("upgrade", [False, True])
def test_what_is_asked_for_begins_with_a_slash(sock: socket.socket, upgrade: bool) -> None:
    """Whoever would read it."""
    request = upgrade_request("localhost", "?a", [])
    sock.sendall(request if upgrade else b"GET ?a HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert_refused(receive_answer(sock)[0], 400, "invalid_parameter")


def test_an_answer_to_a_body_nobody_reads_arrives(sock: socket.socket) -> None:
    """The connection is not reset under it, though megabytes are still on their way."""
    size = 6_000_000
    sock.sendall(f"POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n".encode())
    sock.sendall(b" " * size)
    assert_refused(receive_answer(sock)[0], 413, "message_too_big")


def test_pings_count_as_messages_where_hypercorn_reads(plain: Server) -> None:
    """Past the burst the client is closed with 4429."""
    with connect(plain) as sock:
        sock.sendall(b"GET /actuator/health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        receive_answer(sock)
        sock.sendall(upgrade_request("localhost", TARGET, []))
        receive_answer(sock)
        sock.sendall(client_frame(PING, b"x") * 200)
        received, deadline = b"", time.monotonic() + DEADLINE_S
        while data := receive_some(sock, deadline):
            received += data
    assert received.count(b"\x8a\x01x") < 80
    assert (4429).to_bytes(2, "big") + b"too many pings" in received


# HTTP/2 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


class Http2Peer:
    """A client of HTTP/2 that opens its windows as it likes."""

    def __init__(self, server: Server, *, window: int = 65_535) -> None:
        self.sock = connect(server, alpn="h2")
        config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.flush()

    def flush(self) -> None:
        """Send what is to be sent."""
        self.sock.sendall(self.connection.data_to_send())

    def ask(
        self, path: str, *more: tuple[str, str], method: str = "GET", authority: str = "localhost", end: bool = True
    ) -> int:
        """Send a request's head; answers its stream."""
        stream_id: int = self.connection.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path), *more]
        self.connection.send_headers(stream_id, head, end_stream=end)
        self.flush()
        return stream_id

    def events(self, seconds: float = DEADLINE_S) -> Iterator[Any]:
        """What comes, until the deadline or the end."""
        deadline = time.monotonic() + seconds
        try:
            while data := receive_some(self.sock, deadline):
                yield from self.connection.receive_data(data)
                self.flush()
        except (TimeoutError, OSError, ssl.SSLError):
            return

    def answer(self, stream_id: int) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one answer."""
        headers: dict[str, str] = {}
        body = b""
        for event in self.events():
            if getattr(event, "stream_id", None) != stream_id:
                continue
            if isinstance(event, h2.events.ResponseReceived):
                headers = {_text(name): _text(value) for name, value in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                return int(headers[":status"]), headers, body
        raise AssertionError("no answer came")

    def close(self) -> None:
        """Cut the connection."""
        self.sock.close()


def held_kib(server: Server) -> int:
    """What the daemon's memory is, in KiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@pytest.fixture(scope="module")
def large_run(encrypted: Server) -> str:
    """A run whose poll fills an answer."""
    assert encrypted.authority is not None
    context = ssl.create_default_context(cafile=encrypted.authority)
    run = "00000000-0000-4000-8000-000000000010"
    with httpx.Client(base_url=encrypted.url, verify=context, timeout=DEADLINE_S) as http:
        events = [{"eventType": "GRAFT", "data": {"after": str(n), "text": "x" * 9_500}} for n in range(100)]
        path = f"/api/runs/{run}/collaboration/events?userId=ann"
        assert http.post(path, json={"events": events}).status_code == 200
    return f"/api/runs/{run}/collaboration/poll"


def test_http2_has_the_same_limit_on_heads(encrypted: Server) -> None:
    """413 for a head above it, and the connection goes on."""
    peer = Http2Peer(encrypted)
    status, headers, body = peer.answer(peer.ask("/actuator/health", ("filler", "x" * LIMIT)))
    assert_refused(Answer(status, headers, body), 413, "message_too_big")
    assert peer.answer(peer.ask("/actuator/health"))[0] == 200
    peer.close()


def test_http2_needs_an_authority(encrypted: Server) -> None:
    """One that says something."""
    peer = Http2Peer(encrypted)
    status, headers, body = peer.answer(peer.ask("/actuator/health", authority=""))
    assert_refused(Answer(status, headers, body), 400, "invalid_parameter")
    peer.close()


@pytest.mark.parametrize("path", ["?a", "a", "http://"])
def test_http2_asks_for_what_begins_with_a_slash(encrypted: Server, path: str) -> None:
    """A 400, and the connection goes on."""
    peer = Http2Peer(encrypted)
    status, headers, body = peer.answer(peer.ask(path))
    assert_refused(Answer(status, headers, body), 400, "invalid_parameter")
    assert peer.answer(peer.ask("/actuator/health"))[0] == 200
    peer.close()


def test_a_client_that_shuts_its_windows_is_held_a_bounded_amount(encrypted: Server, large_run: str) -> None:
    """Most of what it asked for is not kept, and others are served; nor is any of it kept for ever."""
    before = held_kib(encrypted)
    peers = [Http2Peer(encrypted, window=0) for _ in range(3)]
    for peer in peers:
        for _ in range(40):
            peer.ask(large_run)
    for peer in peers:
        # Each stream is answered with a head and then a reset: too much waits already, or it has waited too long.
        waiting = 40
        for event in peer.events(60):
            waiting -= isinstance(event, h2.events.StreamReset)
            if not waiting:
                break
        assert not waiting
    assert held_kib(encrypted) - before < 120_000
    for peer in peers:
        peer.close()


def test_a_client_that_reads_gets_all_it_asked_for(encrypted: Server, large_run: str) -> None:
    """Through windows of the usual size."""
    assert encrypted.authority is not None
    context = ssl.create_default_context(cafile=encrypted.authority)
    with httpx.Client(base_url=encrypted.url, verify=context, timeout=DEADLINE_S, http2=True) as http:
        for _ in range(20):
            answer = http.get(large_run)
            assert (answer.http_version, len(answer.json()["events"])) == ("HTTP/2", 100)


def test_bodies_under_way_are_acknowledged_only_so_far(encrypted: Server) -> None:
    """Past two megabytes a connection's windows stay shut until a request ends; then it goes on."""
    peer = Http2Peer(encrypted)
    size = 1_000_000
    left = {peer.ask(EVENTS, ("content-length", str(size)), method="POST", end=False): size for _ in range(8)}
    for _ in peer.events(2):
        for stream_id in left:
            room = min(peer.connection.local_flow_control_window(stream_id), 16_384, left[stream_id])
            if room > 0:
                peer.connection.send_data(stream_id, b" " * room)
                left[stream_id] -= room
        peer.flush()
    assert 1_500_000 < 8 * size - sum(left.values()) < 2_500_000
    streams = list(left)
    peer.connection.reset_stream(streams[0])
    peer.connection.reset_stream(streams[1])
    peer.flush()
    assert peer.answer(peer.ask("/actuator/health"))[0] == 200
    assert peer.connection.outbound_flow_control_window > 0
    peer.close()
