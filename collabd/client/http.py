"""One HTTP request at a time, over a stream of its own.

Law of this file: bytes over Trio streams with h11, which trio-websocket brings along anyway: no pool, no redirects,
no cookies, no compression. A poll every two seconds needs no more, and any stream will do, so that tests need no
sockets. It knows statuses and problem+json (RFC 9457), not what they mean to the client (reconnect.py).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import h11
import trio

from collabd import __version__
from collabd.client.address import Address
from collabd.client.errors import NotCollabd, ServerUnreachable
from collabd.client.settings import REQUEST_TIMEOUT_S

#: Opens a stream to a server; raises OSError.
Dial = Callable[[Address], Awaitable[trio.abc.Stream]]

_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_CHUNK: Final = 65_536


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer; `code` and `message` are problem+json's, `seconds` how long it took."""

    status: int
    body: bytes
    retry_after_s: float | None
    seconds: float = 0.0

    @property
    def problem(self) -> tuple[str | None, str]:
        """The `code` of collabd's problem details (None: it has none) and what it says."""
        try:
            details = json.loads(self.body)
        except (ValueError, RecursionError):
            return None, ""
        code = details.get("code") if isinstance(details, dict) else None
        if not isinstance(code, str):
            return None, ""
        return code, str(details.get("message") or details.get("detail") or details.get("title") or code)


def tcp_dial(ssl_context: ssl.SSLContext | None = None) -> Dial:
    """Dial over TCP, with TLS where the address asks for it (`ssl_context` None: the system's trust)."""

    async def dial(address: Address) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(address.host, address.port)
        if not address.is_secure:
            return stream
        secured = trio.SSLStream(
            stream, ssl_context or ssl.create_default_context(), server_hostname=address.host, https_compatible=True
        )
        try:
            await secured.do_handshake()
        except BaseException as error:
            await trio.aclose_forcefully(stream)
            if isinstance(error, trio.BrokenResourceError):
                raise OSError(f"TLS failed: {error.__cause__ or error}") from error
            raise
        return secured

    return dial


async def request(
    dial: Dial,
    address: Address,
    method: str,
    target: str,
    *,
    token: str | None = None,
    body: str | None = None,
    timeout_s: float = REQUEST_TIMEOUT_S,
) -> Answer:
    """Ask, and read the whole answer. Raises ServerUnreachable (no answer) or NotCollabd (no HTTP)."""
    started = trio.current_time()
    try:
        with trio.fail_after(timeout_s):
            stream = await dial(address)
            try:
                answer = await _exchange(stream, _head(address, method, target, token, body), (body or "").encode())
            finally:
                await trio.aclose_forcefully(stream)
    except trio.TooSlowError:
        raise ServerUnreachable(str(address), f"no answer within {timeout_s:g} s") from None
    except (OSError, trio.BrokenResourceError) as error:
        raise ServerUnreachable(str(address), describe(error)) from error
    except h11.RemoteProtocolError as error:
        raise NotCollabd(str(address), f"it does not speak HTTP: {error}") from error
    return Answer(answer.status, answer.body, answer.retry_after_s, trio.current_time() - started)


def describe(error: BaseException) -> str:
    """An operating system's error in few words."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return text or type(cause).__name__


def bearer(token: str | None) -> list[tuple[bytes, bytes]]:
    """The header that carries a token."""
    return [] if token is None else [(b"Authorization", b"Bearer " + token.encode("ascii", "replace"))]


def _head(address: Address, method: str, target: str, token: str | None, body: str | None) -> h11.Request:
    headers = [
        (b"Host", address.host_header.encode()),
        (b"User-Agent", f"collabd-client/{__version__}".encode()),
        (b"Accept", b"application/json"),
        (b"Connection", b"close"),
        *bearer(token),
    ]
    if body is not None:
        headers += [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body.encode()))]
    return h11.Request(method=method, target=target, headers=headers)


async def _exchange(stream: trio.abc.Stream, head: h11.Request, body: bytes) -> Answer:
    connection = h11.Connection(h11.CLIENT)
    sent = connection.send(head) or b""
    if body:
        sent += connection.send(h11.Data(data=body)) or b""
    sent += connection.send(h11.EndOfMessage()) or b""
    with suppress(trio.BrokenResourceError):  # a server may answer and close before it read all: the answer says why
        await stream.send_all(sent)
    response: h11.Response | None = None
    received = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_CHUNK)))
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            received += event.data
            if len(received) > _MAX_ANSWER_BYTES:
                raise h11.RemoteProtocolError("its answer has no end")
        elif isinstance(event, h11.EndOfMessage):
            break
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("the connection ended in the middle of the answer")
    assert response is not None
    return Answer(response.status_code, bytes(received), read_retry_after(list(response.headers)))


def read_retry_after(headers: list[tuple[bytes, bytes]]) -> float | None:
    """Retry-After in seconds (RFC 9110, section 10.2.3); None where it is absent or a date."""
    for name, value in headers:
        if name.lower() == b"retry-after" and value.strip().isdigit():
            return float(value)
    return None
