"""Listening sockets that the service manager opened and keeps (sd_listen_fds(3)): a restart then refuses nobody.

Law of this file: which sockets are ours and what they are; accepting from them is the gateway's.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from typing import Final, NamedTuple

from collabd.config import is_loopback
from collabd.errors import ConfigError
from collabd.service.notify import Pids

_FIRST: Final = 3
_MOST: Final = 1000


class Handed(NamedTuple):
    """One socket that was handed over, and what the manager calls it (the name of the .socket unit unless set)."""

    sock: socket.socket
    name: str

    @property
    def address(self) -> str:
        """Where it listens: HOST:PORT, or `unix:` and a path."""
        return address_of(self.sock)


def descriptors(environ: Mapping[str, str], pids: Pids) -> dict[int, str]:
    """The descriptors that were handed to this process, and their names; none where they are somebody else's."""
    count = environ.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit() and pids.include(environ.get("LISTEN_PID", ""))):
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    return {_FIRST + each: names[each] if each < len(names) else "" for each in range(min(int(count), _MOST))}


def take_sockets(environ: Mapping[str, str], pids: Pids) -> list[Handed]:
    """The listening sockets that were handed over, in their order. Raises ConfigError for what is none.

    The descriptors are this process's from here on, and no child's.
    """
    return [Handed(_listening_socket(number, name), name) for number, name in descriptors(environ, pids).items()]


def _listening_socket(number: int, name: str) -> socket.socket:
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            raise ConfigError([f"descriptor {number} ({name}) from the service manager is no socket"])
        os.set_inheritable(number, False)
        sock = socket.socket(fileno=number)
    except OSError as error:
        raise ConfigError([f"descriptor {number} ({name}) from the service manager: {error.strerror}"]) from error
    is_stream = sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if not is_stream or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigError(
            [f"descriptor {number} ({name}) is no listening stream socket; its unit needs ListenStream= and Accept=no"]
        )
    return sock


def address_of(sock: socket.socket) -> str:
    """Where a socket listens: HOST:PORT, or `unix:` and its path."""
    if sock.family == socket.AF_UNIX:
        name = sock.getsockname()
        return "unix:" + (name if isinstance(name, str) else "@" + name[1:].decode(errors="replace"))
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def most_open_bind(sockets: list[Handed]) -> str | None:
    """What server.bind would have to be for sockets like these, the one that reaches furthest; None without any.

    Who may come in without a token is decided by where the daemon is reached from, and here that is not server.bind.
    """
    over_tcp = [handed.address for handed in sockets if handed.sock.family != socket.AF_UNIX]
    by_path = [handed.address for handed in sockets if handed.address.startswith("unix:/")]
    beyond = [address for address in over_tcp if not is_loopback(address)]
    return next(iter([*beyond, *over_tcp, *by_path]), None)
