"""Thousands of clients in one thread: sockets in one epoll, their bytes shown to the oracle.

Law of this file: it reads and writes as fast as one thread can, and answers nothing by itself; what the server says
instead of taking somebody in is counted.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from tests.torture.oracle import Broken, View
from tests.transports.frames import CLOSE, TEXT, client_frame, take_frame

_WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


class Member:
    """One client: a socket, what came over it, and the view it is shown to."""

    def __init__(self, view: View, run_id: str) -> None:
        self.view = view
        self.run_id = run_id
        self.sock: socket.socket | ssl.SSLSocket | None = None
        self.close_code: int | None = None
        self.again_at = 0.0
        self.answers = 0
        self._buffer = bytearray()
        self._is_open = False
        self._unsent = b""

    def request(self) -> bytes:
        """The upgrade, from the view's place on."""
        query = {"userId": self.view.who}
        if self.view.session_id is not None:
            query["sessionId"] = self.view.session_id
        if self.view.place is not None:
            query |= {"afterSequence": str(self.view.place.number), "epoch": self.view.place.epoch}
        return (
            f"GET /ws/runs/{self.run_id}/collaboration?{urlencode(query)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ).encode()

    def poll_request(self, wait_ms: int) -> bytes:
        """A poll on a connection that is kept open."""
        query = {"userId": self.view.who, "wait": str(wait_ms), "afterSequence": "0"}
        if self.view.session_id is not None:
            query["sessionId"] = self.view.session_id
        if self.view.place is not None:
            query |= {"afterSequence": str(self.view.place.number), "epoch": self.view.place.epoch}
        path = f"/api/runs/{self.run_id}/collaboration/poll?{urlencode(query)}"
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

    def dial(self, port: int, trust: ssl.SSLContext | None) -> socket.socket:
        """Begin to connect."""
        sock: socket.socket = socket.socket()
        sock.setblocking(False)
        if sock.connect_ex(("127.0.0.1", port)) not in (0, errno.EINPROGRESS):
            raise Broken("loopback refused a connection")
        self.sock, self._buffer, self._is_open, self.close_code = sock, bytearray(), False, None
        self._trust = trust
        return sock

    def write(self, event_type: str, data: object, message_id: str) -> None:
        """Send a message over the WebSocket."""
        message = {"eventType": event_type, "data": data, "clientMessageId": message_id}
        self.say(client_frame(TEXT, json.dumps(message).encode()))

    def say(self, data: bytes) -> None:
        """Send, now or as soon as the socket takes it."""
        self._unsent += data
        self.go_on()

    def go_on(self) -> bool:
        """Write what waits. False while a handshake or the socket holds it up."""
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.do_handshake()
            while self._unsent:
                assert self.sock is not None
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except _WANTS:
            return False
        return True

    def read(self) -> bool:
        """Take what came. False at the end of the connection."""
        assert self.sock is not None
        try:
            while True:
                data = self.sock.recv(65536)
                if not data:
                    return False
                self._buffer += data
        except _WANTS:
            pass
        except ConnectionResetError:
            return False
        finally:
            self._take()
        return True

    def _take(self) -> None:
        while self._buffer.startswith(b"HTTP/1.1 ") and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).decode()
            status = int(head.split(" ")[1])
            if status == 101:
                self._is_open = True
                del self._buffer[: end + 4]
                break
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
            whole = end + 4 + int(headers["content-length"])
            if len(self._buffer) < whole:
                return
            body = json.loads(self._buffer[end + 4 : whole])
            del self._buffer[:whole]
            if status == 200:
                self.view.poll(body)
                self.answers += 1
            elif status == 503 and "retry-after" in headers:
                self.again_at = time.monotonic() + float(headers["retry-after"])
            else:
                raise Broken(f"{self.view.who} was answered {status}: {head} {body}")
        while self._is_open and (frame := take_frame(self._buffer)):
            if frame.opcode == CLOSE:
                self.close_code = int.from_bytes(frame.payload[:2])
            elif frame.opcode == TEXT:
                self._take_message(json.loads(frame.payload))

    def _take_message(self, message: dict[str, Any]) -> None:
        kind = message["eventType"]
        if kind == "WELCOME":
            self.view.welcome(message["data"])
        elif kind == "ERROR":
            raise Broken(f"{self.view.who} was refused: {message}")
        elif kind not in ("ACK", "DRAIN"):
            self.view.event(message)


class Crowd:
    """Members who act at once."""

    def __init__(self, members: Iterable[Member]) -> None:
        self.members = list(members)
        self.ended: Counter[str] = Counter()
        """Connections that ended, by close code, `refused` or `lost`."""
        self._epoll = select.epoll()
        self._by_fd: dict[int, Member] = {}

    def dial(self, port: int, trust: ssl.SSLContext | None, say: Callable[[Member], bytes]) -> None:
        """Everybody connects at the same moment, and says this once connected."""
        for member in self.members:
            self._dial(member, port, trust, say)

    def _dial(self, member: Member, port: int, trust: ssl.SSLContext | None, say: Callable[[Member], bytes]) -> None:
        sock = member.dial(port, trust)
        member._unsent = say(member)
        self._by_fd[sock.fileno()] = member
        self._epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        self._again = (port, trust, say)

    def run_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Move bytes until `done`. Raises Broken when that takes longer."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                behind = sum(member.view.place is None for member in self.members)
                raise Broken(
                    f"not done after {seconds:g} s; {behind} of {len(self.members)} have no place, {self.ended}"
                )
            for fd, events in self._epoll.poll(0.05):
                self._move(self._by_fd[fd], fd, events)
            self._dial_again()

    def _move(self, member: Member, fd: int, events: int) -> None:
        if events & select.EPOLLOUT:
            if member._trust is not None and not isinstance(member.sock, ssl.SSLSocket):
                assert member.sock is not None
                self._epoll.unregister(fd)
                member.sock = member._trust.wrap_socket(
                    member.sock, server_hostname="127.0.0.1", do_handshake_on_connect=False
                )
                self._epoll.register(member.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
                fd = member.sock.fileno()
            if member.go_on():
                self._epoll.modify(fd, select.EPOLLIN)
            elif isinstance(member.sock, ssl.SSLSocket):
                self._epoll.modify(fd, select.EPOLLIN)  # the handshake goes on when the server has answered
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            if isinstance(member.sock, ssl.SSLSocket) and member._unsent and not member.go_on():
                return
            if not member.read():
                self._end(member, fd)

    def _end(self, member: Member, fd: int) -> None:
        self._epoll.unregister(fd)
        del self._by_fd[fd]
        assert member.sock is not None
        member.sock.close()
        member.sock = None
        member.view.lost()
        why = "refused" if member.again_at else "lost" if member.close_code is None else str(member.close_code)
        self.ended[why] += 1

    def _dial_again(self) -> None:
        """Who was told to come later comes later."""
        now = time.monotonic()
        for member in self.members:
            if member.again_at and member.sock is None and now >= member.again_at:
                member.again_at = 0.0
                self._dial(member, *self._again)

    def close(self) -> None:
        """Everybody is gone, without a word."""
        for fd, member in list(self._by_fd.items()):
            self._end(member, fd)
        self._epoll.close()
