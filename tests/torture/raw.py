"""The least client there can be: raw bytes to the daemon and back, so that thousands of connections cost little.

Law of this file: it moves messages and knows nothing of what they mean.
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec
import trio

GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, EOFError)
"""What the end of a daemon looks like to its clients."""

_UPGRADE = (
    "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Refused(Exception):
    """The daemon answered with another status than was hoped for."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:300]!r}")
        self.status = status


class Closed(EOFError):
    """The daemon closed the WebSocket with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


async def _connect(port: int) -> trio.SocketStream:
    sock = trio.socket.socket()
    try:
        await sock.connect(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


class _Buffered:
    """A stream, and what was read of it and not taken."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = bytearray()

    async def more(self) -> None:
        data = await self.stream.receive_some(262144)
        if not data:
            raise EOFError("the connection came to its end")
        self.buffer += data

    async def head(self) -> tuple[int, bytes]:
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            await self.more()
        head = bytes(self.buffer[:end]).lower()
        del self.buffer[: end + 4]
        return int(head[9:12]), head


class WebSocket:
    """One WebSocket: whole text messages out and in."""

    def __init__(self, buffered: _Buffered) -> None:
        self._in = buffered

    @classmethod
    async def open(cls, port: int, target: str) -> WebSocket:
        """Connect and upgrade. Raises Refused, and what GONE lists."""
        buffered = _Buffered(await _connect(port))
        await buffered.stream.send_all(_UPGRADE.format(target=target).encode())
        status, head = await buffered.head()
        if status != 101:
            raise Refused(status, head + bytes(buffered.buffer))
        return cls(buffered)

    async def send(self, *messages: Any) -> None:
        """Send messages, each as JSON in a text frame, all in one write."""
        await self._in.stream.send_all(b"".join(frame(1, msgspec.json.encode(message)) for message in messages))

    async def receive(self) -> list[dict[str, Any]]:
        """The messages that have come, at least one. Raises Closed, and what GONE lists."""
        while True:
            messages = self._take()
            if messages:
                return messages
            await self._in.more()

    def _take(self) -> list[dict[str, Any]]:
        buffer, at, messages = self._in.buffer, 0, []
        while (bounds := _bounds(buffer, at)) is not None:
            opcode, (start, at) = buffer[at] & 15, bounds
            payload = bytes(buffer[start:at])
            if opcode == 1:
                messages.append(msgspec.json.decode(payload))
            elif opcode == 8 and not messages:
                _end(payload)
            elif opcode == 8:  # what came before it is given first
                at = start - 2
                break
        del buffer[:at]
        return messages

    async def leave(self) -> None:
        """Close with 1000, and wait for the answer."""
        await self._in.stream.send_all(frame(8, b"\x03\xe8"))
        try:
            while True:
                await self.receive()
        except EOFError:
            pass
        await self._in.stream.aclose()

    def cut(self) -> None:
        """Close the connection without a word."""
        self._in.stream.socket.close()


def _end(payload: bytes) -> NoReturn:
    raise Closed(int.from_bytes(payload[:2], "big") if payload else 1005)


def _bounds(buffer: bytearray, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at this place begins and ends, None while it has not come whole."""
    if len(buffer) < at + 2:
        return None
    size, start = buffer[at + 1], at + 2
    if size >= 126:
        extra = 2 if size == 126 else 8
        size = int.from_bytes(buffer[start : start + extra], "big") if len(buffer) >= start + extra else 1 << 62
        start += extra
    return (start, start + size) if len(buffer) >= start + size else None


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame, masked with zeros: the bytes stay as they are (RFC 6455, section 5.3)."""
    size = len(payload)
    if size < 126:
        head = bytes((128 | opcode, 128 | size))
    elif size < 65536:
        head = bytes((128 | opcode, 254)) + size.to_bytes(2, "big")
    else:
        head = bytes((128 | opcode, 255)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


class Http:
    """Requests over one kept-alive connection."""

    def __init__(self, buffered: _Buffered) -> None:
        self._in = buffered

    @classmethod
    async def open(cls, port: int) -> Http:
        """Connect. Raises what GONE lists."""
        return cls(_Buffered(await _connect(port)))

    async def ask(self, target: str, body: Any = None) -> Any:
        """GET, or POST of JSON; the JSON answer. Raises Refused for any status but 200, and what GONE lists."""
        content = b"" if body is None else msgspec.json.encode(body)
        method = "GET" if body is None else "POST"
        head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n"
        await self._in.stream.send_all(head.encode() + content)
        status, answer = await self._in.head()
        size = int(answer.partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(self._in.buffer) < size:
            await self._in.more()
        text = bytes(self._in.buffer[:size])
        del self._in.buffer[:size]
        if status != 200:
            raise Refused(status, text)
        return msgspec.json.decode(text)

    def cut(self) -> None:
        """Close the connection."""
        self._in.stream.socket.close()
