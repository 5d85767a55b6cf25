"""HTTP/1.1 as Hypercorn speaks it, made strict.

Law of this file: with the other http modules the only one that knows Hypercorn's inside. What was measured of
Hypercorn 0.18 on h11 0.16 and is put right here: bare line feeds, folded headers and a length beside chunks are taken
for requests; heads that come whole are not counted; an offer to change to h2c is followed; refusals are empty.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import h11
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import Body, EndBody, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol

from collabd.errors import ProtocolError
from collabd.gateway.http_socket import make_careful, without_extensions
from collabd.gateway.refusals import is_bare, refusal_for, refusal_of
from collabd.gateway.strict import check_head

_DROPPED_HEADER: Final = b"sec-websocket-extensions"


class _StrictConnection(h11.Connection):
    """h11 that looks at each head before it reads it."""

    def __init__(self, max_head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=max_head_bytes)
        self._max_head_bytes = max_head_bytes
        self.fault: ProtocolError | None = None

    def next_event(self) -> Any:
        """The next event. Raises h11.RemoteProtocolError; then `fault` says what is wrong with the head."""
        if self.their_state is h11.IDLE:
            received, _ = self.trailing_data
            try:
                check_head(received, self._max_head_bytes)
            except ProtocolError as error:
                self.fault = error
                raise h11.RemoteProtocolError(error.message, error_status_hint=error.status) from error
        return super().next_event()


class StrictH11(H11Protocol):
    """HTTP/1.1 that stays HTTP/1.1: an offer to change to h2c is ignored (RFC 9110, section 7.8).

    An answer's head waits for its body, so that a short answer is one write and not three.
    """

    _held = b""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._strict = _StrictConnection(self.config.h11_max_incomplete_size)
        self.connection = self._strict

    @property
    def has_more_to_come(self) -> bool:
        """Whether the client may still be sending what nobody will read."""
        return self._strict.their_state in (h11.SEND_BODY, h11.ERROR) or self.has_bad_head

    @property
    def has_bad_head(self) -> bool:
        """Whether it sent a head that was refused."""
        return self._strict.fault is not None

    async def _check_protocol(self, event: h11.Request) -> None:
        return

    async def _create_stream(self, request: h11.Request) -> None:
        names = {name for name, value in request.headers if value != b"0"}
        if b"upgrade" in names and names & {b"content-length", b"transfer-encoding"}:
            # h11 switches protocols only behind a request without a body.
            await self._send_error_response(HTTPStatus.BAD_REQUEST)
            await self.send(Closed())
            return
        if _DROPPED_HEADER in names:
            request = h11.Request(
                method=request.method,
                target=request.target,
                http_version=request.http_version,
                headers=without_extensions(request.headers),
            )
        await super()._create_stream(request)
        make_careful(self.stream)

    async def stream_send(self, event: Any) -> None:
        """Pass on what a stream sends; a refusal that says nothing is given its words."""
        if isinstance(event, Response) and is_bare(event.status_code, event.headers):
            refusal = refusal_for(event.status_code, upgrade=True)
            headers = [*refusal.headers, (b"connection", b"close")]
            await super().stream_send(Response(stream_id=STREAM_ID, headers=headers, status_code=refusal.status))
            event = Body(stream_id=STREAM_ID, data=refusal.body)
        await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        fault = self._strict.fault
        refusal = refusal_for(status_code) if fault is None else refusal_of(fault)
        headers = [*refusal.headers, (b"connection", b"close")]
        await super().stream_send(Response(stream_id=STREAM_ID, headers=headers, status_code=refusal.status))
        await super().stream_send(Body(stream_id=STREAM_ID, data=refusal.body))
        await super().stream_send(EndBody(stream_id=STREAM_ID))

    async def _send_h11_event(self, event: Any) -> None:
        if isinstance(event, h11.Response) and self.connection.their_state is h11.SEND_BODY:
            # Answered before the request was read to its end, as what is too big is: nothing can follow it
            # (RFC 9112, section 9.6), so the client should not try.
            event = h11.Response(status_code=event.status_code, headers=[*event.headers, (b"connection", b"close")])
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response):
            self._held = data
            return
        data, self._held = self._held + data, b""
        if data:
            await self.send(RawData(data=data))
