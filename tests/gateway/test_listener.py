"""Accepting when the system has no file descriptor left."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from collabd.gateway.listener import Accepted, SocketListener, serve_connections


class Short(SocketListener):
    """A listener that cannot accept for a while."""

    def __init__(self, sock: socket.socket, failures: int, number: int) -> None:
        super().__init__(sock)
        self.failures = failures
        self._errno = number

    async def accept(self) -> Accepted:
        """The next connection, after the shortage."""
        if self.failures:
            self.failures -= 1
            raise OSError(self._errno, "no")
        return await super().accept()


async def _room() -> None:
    pass


async def _serve(listener: Short, handled: trio.Event) -> None:
    async def handle(_: Accepted) -> None:
        handled.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connections, listener, handle, _room, nursery)
        await handled.wait()
        nursery.cancel_scope.cancel()


@pytest.fixture
def listening() -> Any:
    """A listening socket with somebody in its queue."""
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.create_connection(sock.getsockname()):
        yield sock


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_a_shortage_is_said_once_a_minute_and_passes(
    autojump_clock: MockClock, listening: socket.socket, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """Not ten times a second with a traceback, as a library would; whoever waited is served after it."""
    listener = Short(listening, failures=1100, number=number)  # two minutes less ten seconds
    with caplog.at_level(logging.INFO):
        await _serve(listener, trio.Event())
    assert listener.failures == 0
    assert len(caplog.records) == 2
    assert "LimitNOFILE" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_listening_socket_that_fails_is_no_shortage(listening: socket.socket) -> None:
    """That ends the daemon, with a reason."""
    with pytest.raises(ExceptionGroup) as raised:
        await _serve(Short(listening, failures=1, number=errno.EBADF), trio.Event())
    assert raised.group_contains(OSError, match="no")
