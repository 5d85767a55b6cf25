"""The upgrade request as the websockets package reads it, and the answers to it.

Law of this file: pure. No extension is ever negotiated: a small compressed frame can hold megabytes.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from websockets.http11 import Request
from websockets.protocol import Protocol, Side
from websockets.server import ServerProtocol

from collabd.errors import ProtocolError
from collabd.gateway.strict import check_head
from collabd.hub.admission import make_caller, selected_subprotocol
from collabd.protocol.addresses import Proxies
from collabd.protocol.prefix import below_prefix
from collabd.protocol.problems import SECURITY_HEADERS, problem_headers, problem_json

_SILENT: Final = logging.getLogger("collabd.gateway.websockets")
_SILENT.setLevel(logging.CRITICAL)


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
        self._max_message_bytes = max_message_bytes
        self._protocol = ServerProtocol(logger=_SILENT)
        self._protocol.receive_data(head)
        events = self._protocol.events_received()
        self.refused = _fault_of(head)
        self.path = self._query = ""
        request: Request | None = None
        if not events or not isinstance(events[0], Request):
            self.refused = self.refused or ProtocolError("invalid_parameter", "this is no valid HTTP request")
        else:
            request = events[0]
            path, _, self._query = request.path.partition("?")
            path = unquote(path)
            self.path = below_prefix(path, prefix) or path
        headers = request.headers.raw_items() if request else ()
        self.caller = make_caller(proxies, "GET", headers, scheme, peer, upgrade=True)
        if request:
            self._accept(request)

    @property
    def query(self) -> bytes:
        """The raw query."""
        return self._query.encode("latin-1", "replace")

    def _accept(self, request: Request) -> None:
        response = self._protocol.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            text = (response.body or b"").decode().strip().removeprefix("Failed to open a WebSocket connection: ")
            self.refused = self.refused or ProtocolError("invalid_parameter", f"this is no WebSocket upgrade: {text}")
            return
        selected = selected_subprotocol(self.caller.headers)
        if selected is not None:
            response.headers["Sec-WebSocket-Protocol"] = selected
        self._response = response

    def accept(self) -> bytes:
        """The 101 answer; frames follow it."""
        return self._response.serialize()

    def frame_protocol(self) -> Protocol:
        """What reads the frames after it; the protocol that read the request would keep that, headers and all."""
        return Protocol(Side.SERVER, max_size=self._max_message_bytes, logger=_SILENT)


def _fault_of(head: bytes) -> ProtocolError | None:
    try:
        check_head(head, len(head))  # its size was looked at while it came
    except ProtocolError as error:
        return error
    return None


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
