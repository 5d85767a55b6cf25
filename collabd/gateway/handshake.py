"""The upgrade request, and the answers to it (RFC 6455, section 4.2).

Law of this file: pure. What a well-made request looks like is told right here; whatever else comes is left to the
`websockets` package, which knows why it is none. No extension is ever negotiated: a small compressed frame can hold
megabytes.
"""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from collabd.errors import ProtocolError
from collabd.gateway.strict import Fields, check_head
from collabd.hub.admission import make_caller, selected_subprotocol
from collabd.protocol.addresses import Proxies
from collabd.protocol.prefix import below_prefix
from collabd.protocol.problems import SECURITY_HEADERS, problem_headers, problem_json

SILENT: Final = logging.getLogger("collabd.gateway.websockets")
"""What the package has to say about each connection's mistakes, which nobody wants to read."""
SILENT.setLevel(logging.CRITICAL)

_REQUEST_LINE: Final = re.compile(rb"GET ([!-~]+) HTTP/1\.1")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""What no header's value may have in it (RFC 9110, section 5.5)."""
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
"""Sixteen bytes in base64."""


class Upgrade:
    """One request for a WebSocket: who asks for what, and how it is answered.

    `head` is the request's head, `rest` what came after it already; `refused` is set when RFC 6455 forbids it.
    `prefix` is the path below which a proxy serves the daemon.
    """

    def __init__(
        self,
        head: bytes,
        rest: bytes,
        *,
        peer: str,
        scheme: str,
        proxies: Proxies,
        max_message_bytes: int,
        prefix: str = "",
    ) -> None:
        self.rest = rest
        self.max_message_bytes = max_message_bytes
        self.refused: ProtocolError | None = None
        self._key = ""
        fields: Fields = {}
        target = ""
        try:
            line, fields = check_head(head, len(head)) or (b"", fields)  # its size was looked at while it came
            target, self._key = _common_request(head, line, fields) or _any_request(head)
        except ProtocolError as error:
            self.refused = error
        path, _, self._query = target.partition("?")
        path = unquote(path)
        self.path = below_prefix(path, prefix) or path
        headers = [(name.decode(), value.decode("latin-1")) for name, values in fields.items() for value in values]
        self.caller = make_caller(proxies, "GET", headers, scheme, peer, upgrade=True)

    @property
    def query(self) -> bytes:
        """The raw query."""
        return self._query.encode("latin-1", "replace")

    def accept(self) -> bytes:
        """The 101 answer; frames follow it."""
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(self._key)}",
        ]
        selected = selected_subprotocol(self.caller.headers)
        if selected is not None:
            lines.append(f"Sec-WebSocket-Protocol: {selected}")
        return "\r\n".join([*lines, "", ""]).encode()


def _common_request(head: bytes, request_line: bytes, fields: Fields) -> tuple[str, str] | None:
    """The target and the key of a request as every client makes it, or None where it is another one."""
    line = _REQUEST_LINE.fullmatch(request_line)
    keys = fields.get(b"sec-websocket-key", ())
    if (
        line is None
        or len(keys) != 1
        or not _KEY.fullmatch(keys[0])
        or fields.get(b"sec-websocket-version") != [b"13"]
        or [value.lower() for value in fields.get(b"upgrade", ())] != [b"websocket"]
        or [value.lower() for value in fields.get(b"connection", ())] not in ([b"upgrade"], [b"keep-alive, upgrade"])
        or b"content-length" in fields
        or b"transfer-encoding" in fields
        or _CONTROL.search(head)
    ):
        return None
    return line[1].decode(), keys[0].decode()


def _any_request(head: bytes) -> tuple[str, str]:
    """The target and the key of a request as `websockets` reads it. Raises ProtocolError where it is no upgrade."""
    protocol = ServerProtocol(logger=SILENT)
    protocol.receive_data(head)
    events = protocol.events_received()
    if not events or not isinstance(events[0], Request):
        raise ProtocolError("invalid_parameter", "this is no valid HTTP request")
    request = events[0]
    response = protocol.accept(request)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        text = (response.body or b"").decode().strip().removeprefix("Failed to open a WebSocket connection: ")
        raise ProtocolError("invalid_parameter", f"this is no WebSocket upgrade: {text}")
    return request.path, request.headers["Sec-WebSocket-Key"]


def refusal(error: ProtocolError) -> bytes:
    """A whole plain HTTP answer for a request that is refused, after which the connection is closed."""
    body = problem_json(error)
    headers = problem_headers(error)
    if error.status == HTTPStatus.BAD_REQUEST:
        headers["sec-websocket-version"] = "13"  # what would have been understood (RFC 6455, section 4.4)
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in {**headers, **SECURITY_HEADERS}.items()]
    lines += [f"content-length: {len(body)}", "connection: close", "", ""]
    return "\r\n".join(lines).encode() + body
