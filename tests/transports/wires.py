"""The ways on which a WebSocket reaches collabd, each as a pipe of bytes after an upgrade.

Law of this file: it upgrades and moves bytes; what the bytes mean is peer.py's. Everything has a deadline.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
import time
from typing import NamedTuple, Protocol

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.transports.servers import HOST, Server

DEADLINE_S = 10.0
"""How long a test waits for bytes before it fails; far above what anything here takes."""

_READ_BYTES = 65536
_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
Headers = list[tuple[str, str]]


class Answer(NamedTuple):
    """The server's answer to an upgrade request; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire(Protocol):
    """One connection to a server."""

    def upgrade(self, target: str, headers: Headers) -> Answer:
        """Ask for a WebSocket. `headers` come besides those that RFC 6455 or RFC 8441 require."""

    def send(self, data: bytes) -> None:
        """Send bytes. Raises OSError when the server has cut the connection."""

    def receive(self, deadline: float) -> bytes:
        """Some bytes, b"" at the end. Raises TimeoutError at the deadline (steady seconds)."""

    def stop_sending(self) -> None:
        """Say that no more bytes come, and go on reading."""

    def close(self) -> None:
        """Cut the connection."""


def connect(server: Server, *, alpn: str = "http/1.1", receive_buffer: int = 0) -> socket.socket:
    """A connection to a server, encrypted and verified where the server has a certificate.

    `receive_buffer` is the size in bytes of what the kernel takes for us unasked, 0 for the usual.
    """
    sock = socket.socket(socket.AF_INET)
    sock.settimeout(DEADLINE_S)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect((HOST, server.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if server.authority is None:
        return sock
    context = ssl.create_default_context(cafile=server.authority)
    context.set_alpn_protocols([alpn])
    return context.wrap_socket(sock, server_hostname=HOST)


def receive_some(sock: socket.socket, deadline: float) -> bytes:
    """Some bytes, b"" at the end, however the peer ended."""
    sock.settimeout(max(0.001, deadline - time.monotonic()))
    try:
        return sock.recv(_READ_BYTES)
    except (ConnectionError, ssl.SSLError):
        return b""


def receive_answer(sock: socket.socket) -> tuple[Answer, bytes]:
    """One HTTP/1.1 answer with a content-length, or without a body, and the bytes that came after it."""
    deadline = time.monotonic() + DEADLINE_S
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some_more(sock, deadline, received)
    head, _, rest = received.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", 0))
    while len(rest) < size:
        rest += _some_more(sock, deadline, rest)
    return Answer(int(status_line.split()[1]), headers, rest[:size]), rest[size:]


def _some_more(sock: socket.socket, deadline: float, so_far: bytes) -> bytes:
    data = receive_some(sock, deadline)
    if not data:
        raise ConnectionError(f"the server ended the connection after {so_far!r}")
    return data


def upgrade_request(host: str, target: str, headers: Headers, *, key: str = "dGhlIHNhbXBsZSBub25jZQ==") -> bytes:
    """An HTTP/1.1 request for a WebSocket. A header given replaces the usual one of that name; "" leaves it out."""
    usual = {
        "host": host,
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": key,
        "sec-websocket-version": "13",
    }
    given = {name.lower() for name, _ in headers}
    lines = [f"GET {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in usual.items() if name not in given]
    lines += [f"{name}: {value}" for name, value in headers if value]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Http1Wire:
    """An upgrade as a connection's first request, or after `requests_before` ordinary ones on the same connection."""

    def __init__(self, server: Server, *, requests_before: int = 0, receive_buffer: int = 0) -> None:
        self._host = server.host
        self._sock = connect(server, receive_buffer=receive_buffer)
        self._rest = b""
        for _ in range(requests_before):
            self._sock.sendall(f"GET /actuator/health HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode())
            answer, rest = receive_answer(self._sock)
            assert answer.status == 200
            assert rest == b""

    def upgrade(self, target: str, headers: Headers) -> Answer:
        key = base64.b64encode(os.urandom(16)).decode()
        self._sock.sendall(upgrade_request(self._host, target, headers, key=key))
        answer, self._rest = receive_answer(self._sock)
        if answer.status == 101:
            accept = base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT_SALT).digest()).decode()
            assert answer.headers["sec-websocket-accept"] == accept
            assert answer.headers["upgrade"].lower() == "websocket"
            assert answer.headers["connection"].lower() == "upgrade"
        return answer

    def send(self, data: bytes) -> None:
        self._sock.settimeout(DEADLINE_S)
        self._sock.sendall(data)

    def receive(self, deadline: float) -> bytes:
        data, self._rest = self._rest, b""
        return data or receive_some(self._sock, deadline)

    def stop_sending(self) -> None:
        if isinstance(self._sock, ssl.SSLSocket):
            self.close()  # TLS cannot be closed by halves with Python's ssl
        else:
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()


class Http2Connection:
    """An HTTP/2 connection over TLS, whose streams are WebSockets (RFC 8441)."""

    def __init__(self, server: Server) -> None:
        self.host = server.host
        self.streams: dict[int, Http2Wire] = {}
        self.protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._sock = connect(server, alpn="h2")
        self.protocol.initiate_connection()
        # Room for whatever a server may tell: these tests do not test HTTP/2's flow control.
        self.protocol.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**24})
        self.protocol.increment_flow_control_window(2**24)
        self.flush()
        deadline = time.monotonic() + DEADLINE_S
        while not self.protocol.remote_settings.enable_connect_protocol:
            if not self.pump(deadline):
                raise ConnectionError("the server ended the connection")

    def flush(self) -> None:
        """Send what the protocol has to say."""
        self._sock.settimeout(DEADLINE_S)
        self._sock.sendall(self.protocol.data_to_send())

    def pump(self, deadline: float) -> bool:
        """Take what the server sends next and hand it to its streams; False at the end of the connection."""
        received = receive_some(self._sock, deadline)
        for event in self.protocol.receive_data(received) if received else ():
            if isinstance(event, h2.events.DataReceived):
                self.protocol.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            wire = self.streams.get(getattr(event, "stream_id", None) or 0)
            if wire is not None:
                wire.take(event)
            ended = isinstance(event, h2.events.ConnectionTerminated)
            received = b"" if ended else received
        if received:
            self.flush()
            return True
        for wire in self.streams.values():
            wire.ended = True
        return False

    def close(self) -> None:
        """Cut the connection."""
        self._sock.close()


class Http2Wire:
    """A WebSocket as one stream of an HTTP/2 connection, of its own where none is given."""

    def __init__(self, server: Server, connection: Http2Connection | None = None) -> None:
        self._server = server
        self._connection = connection or Http2Connection(server)
        self._protocol = self._connection.protocol
        self._stream = 0
        self._data = bytearray()
        self._answer: Answer | None = None
        self.ended = False

    def another(self) -> Http2Wire:
        """Another stream of the same connection."""
        return Http2Wire(self._server, self._connection)

    def upgrade(self, target: str, headers: Headers) -> Answer:
        self._ask(target, headers)
        deadline = time.monotonic() + DEADLINE_S
        while self._answer is None or (self._answer.status != 200 and not self.ended):
            if not self._connection.pump(deadline) and self._answer is None:
                raise ConnectionError("the server ended the connection")
        if self._answer.status != 200:
            body, self._data = bytes(self._data), bytearray()
            return self._answer._replace(body=body)
        return self._answer

    def upgrade_and_send(self, target: str, data: bytes) -> None:
        """Ask for a WebSocket and send without waiting for the answer, which no client may."""
        self._ask(target, [])
        self._protocol.send_data(self._stream, data)
        self._connection.flush()

    def _ask(self, target: str, headers: Headers) -> None:
        self._stream = self._protocol.get_next_available_stream_id()
        self._connection.streams[self._stream] = self
        usual = {
            ":method": "CONNECT",
            ":protocol": "websocket",
            ":scheme": "https",
            ":path": target,
            ":authority": self._connection.host,
            "sec-websocket-version": "13",
        }
        given = {name.lower() for name, _ in headers}
        all_headers = [(name, value) for name, value in usual.items() if name not in given]
        all_headers += [(name.lower(), value) for name, value in headers if value and name.lower() != "host"]
        self._protocol.send_headers(self._stream, all_headers)
        self._connection.flush()

    def send(self, data: bytes) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while data and not self.ended:
            room = min(self._protocol.local_flow_control_window(self._stream), self._protocol.max_outbound_frame_size)
            if room:
                self._protocol.send_data(self._stream, data[:room])
                data = data[room:]
                self._connection.flush()
            else:
                self._connection.pump(deadline)
        if data:
            raise BrokenPipeError("the server ended the stream")

    def send_even_after_the_end(self, data: bytes) -> None:
        """Send without looking whether the server has ended the stream, as a client does whose bytes cross with it."""
        deadline = time.monotonic() + DEADLINE_S
        while not self.ended and self._protocol.local_flow_control_window(self._stream) < len(data):
            self._connection.pump(deadline)
        if not self.ended:
            self._protocol.send_data(self._stream, data)
            self._connection.flush()

    def receive(self, deadline: float) -> bytes:
        while not self._data and not self.ended:
            self._connection.pump(deadline)
        data, self._data = bytes(self._data), bytearray()
        return data

    def stop_sending(self) -> None:
        self._protocol.end_stream(self._stream)
        self._connection.flush()

    def close(self) -> None:
        self._connection.close()

    def take(self, event: h2.events.Event) -> None:
        """Take what happened on this stream."""
        if isinstance(event, h2.events.ResponseReceived):
            headers = {str(name): str(value) for name, value in event.headers or []}
            self._answer = Answer(int(headers.pop(":status")), headers, b"")
        elif isinstance(event, h2.events.DataReceived):
            self._data += event.data or b""
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            self.ended = True
