"""The short way of reading an upgrade beside the `websockets` package alone: both let in the same requests."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Request
from websockets.server import ServerProtocol

from collabd.gateway.handshake import Upgrade, _any_request, _common_request
from collabd.gateway.strict import check_head
from collabd.protocol.addresses import Proxies

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The example of RFC 6455, section 1.3."""


def head_of(line: str, fields: list[tuple[str, str]]) -> bytes:
    """A request's head."""
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1")


def upgrade_of(head: bytes) -> Upgrade:
    """What the gateway makes of it."""
    return Upgrade(head, b"", peer="192.0.2.1", scheme="http", proxies=Proxies(()), max_message_bytes=1000)


def accept_of_websockets(head: bytes) -> str | None:
    """The accepting header of the package's own answer, None where it refuses."""
    protocol = ServerProtocol(logger=logging.getLogger("collabd.gateway.websockets"))
    protocol.receive_data(head)
    events = protocol.events_received()
    if not events or not isinstance(events[0], Request):
        return None
    return protocol.accept(events[0]).headers.get("Sec-WebSocket-Accept")


def one_of(*values: str) -> st.SearchStrategy[list[str]]:
    """A header that has mostly one of these values, and now and then none, or two."""
    value = st.sampled_from(values)
    return st.one_of(*[value.map(lambda one: [one])] * 4, st.just([]), st.lists(value, min_size=2, max_size=2))


FIELDS = st.fixed_dictionaries(
    {
        "Host": st.just(["collabd.example"]),
        "Upgrade": one_of("websocket", "WebSocket", "websocket ", "h2c", "websocket, h2c", ""),
        "Connection": one_of("Upgrade", "upgrade", "keep-alive, Upgrade", "keep-alive", "close, upgrade,", ""),
        "Sec-WebSocket-Key": one_of(KEY, "AAAAAAAAAAAAAAAAAAAAAB==", "AAAA", KEY[:-1], "é" * 24, ""),
        "Sec-WebSocket-Version": one_of("13", "8", "13, 8", "013"),
        "Content-Length": st.sampled_from([[], [], [], ["0"], ["3"]]),
        "Cookie": st.sampled_from([[], [], ["a=b"], ["a\x01b"], ["a\x7fb"], ["a\tb"], ["\xff"]]),
    }
)
LINES = st.sampled_from(
    ["GET /ws HTTP/1.1"] * 6
    + ["GET /ws HTTP/1.0", "POST /ws HTTP/1.1", "GET /w s HTTP/1.1", "GET  HTTP/1.1", "GET /\xe9 HTTP/1.1", "GET /ws"]
)


@given(line=LINES, fields=FIELDS)
def test_the_same_requests_are_let_in_as_by_websockets_alone(line: str, fields: dict[str, list[str]]) -> None:
    """The short way refuses nothing by itself, and lets in nothing that the package would not."""
    head = head_of(line, [(name, value) for name, values in fields.items() for value in values])
    expected = accept_of_websockets(head)
    upgrade = upgrade_of(head)
    if expected is None:
        assert upgrade.refused is not None
    elif upgrade.refused is None:
        assert f"\r\nSec-WebSocket-Accept: {expected}\r\n".encode() in upgrade.accept()
    else:
        assert upgrade.refused.message.startswith(("a request must have one Host", "Content-Length"))


@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade"])
def test_what_clients_send_takes_the_short_way(connection: str) -> None:
    """Browsers, this project's clients and the usual libraries; the answer is that of the RFC's example."""
    fields = [
        ("Host", "collabd.example"),
        ("Connection", connection),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "collabd.v1, bearer.secret"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ]
    head = head_of("GET /ws/runs/1?userId=%C3%A9 HTTP/1.1", fields)
    checked = check_head(head, len(head))
    assert checked is not None
    assert _common_request(head, *checked) == _any_request(head) == ("/ws/runs/1?userId=%C3%A9", KEY)
    upgrade = upgrade_of(head)
    assert (upgrade.path, upgrade.query) == ("/ws/runs/1", b"userId=%C3%A9")
    assert upgrade.accept() == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\nSec-WebSocket-Protocol: collabd.v1\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cookie", "a\x01b"),
        ("Cookie", "a\x7fb"),
        ("Content-Length", "3"),
        ("Transfer-Encoding", "chunked"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
        ("Upgrade", "websocket"),
    ],
)
def test_one_header_too_many_is_seen_on_the_short_way(name: str, value: str) -> None:
    """Each is refused by the package alone too."""
    fields = [
        ("Host", "collabd.example"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
    assert upgrade_of(head_of("GET / HTTP/1.1", fields)).refused is None
    head = head_of("GET / HTTP/1.1", [*fields, (name, value)])
    assert accept_of_websockets(head) is None
    assert upgrade_of(head).refused is not None
