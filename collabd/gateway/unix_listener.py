"""Listening on a Unix socket, for a proxy on the same machine. Law of this file: who may have the path, and when."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from collabd.gateway.listener import BACKLOG, SocketListener

_MODE: Final = 0o666
"""As open as a port on loopback. Who shall not reach it is kept out by the directory's mode."""


class UnixListener(SocketListener):
    """A listening Unix socket that takes its file away when it is closed, if it still is its own."""

    def __init__(self, sock: socket.socket, path: Path) -> None:
        super().__init__(sock)
        self._path = path
        self._identity = _identity(path)

    async def aclose(self) -> None:
        """Remove the file and stop listening."""
        if self._identity is not None and _identity(self._path) == self._identity:
            self._path.unlink(missing_ok=True)
        await super().aclose()


def open_unix_listener(path: Path) -> UnixListener:
    """Listen at a path. A socket that nobody listens on any more is replaced, anything else is left alone.

    Raises OSError: EADDRINUSE where somebody listens, EEXIST where something else stands there.
    """
    _make_way(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(os.fspath(path))
        os.chmod(path, _MODE)
        sock.listen(BACKLOG)
        return UnixListener(sock, path)
    except OSError:
        sock.close()
        raise


def _make_way(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "something that is no socket stands there", os.fspath(path))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is somebody too
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # what a killed daemon left
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), os.fspath(path))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
