"""HTTP to a daemon that listens on a Unix socket. Law of this file: the way there, nothing about what is asked."""

from __future__ import annotations

import socket
import urllib.request
from functools import partial
from http.client import HTTPConnection
from typing import Any


class UnixConnection(HTTPConnection):
    """An HTTP connection to the socket at `path`, whatever the host is called."""

    def __init__(self, path: str, host: str = "localhost", **options: Any) -> None:
        super().__init__(host, **options)
        self._path = path

    def connect(self) -> None:
        """Connect. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class UnixHandler(urllib.request.HTTPHandler):
    """Has urllib ask every http URL through the socket at `path`."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def http_open(self, req: urllib.request.Request) -> Any:
        """Ask."""
        return self.do_open(partial(UnixConnection, self._path), req)
