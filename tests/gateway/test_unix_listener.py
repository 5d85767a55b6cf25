"""Listening on a Unix socket: who may have the path, and what becomes of the file."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from collabd.gateway.unix_listener import open_unix_listener


async def test_clients_reach_it_and_the_file_goes_with_it(tmp_path: Path) -> None:
    """Whoever reaches the directory; the peer has no address."""
    path = tmp_path / "c.sock"
    listener = open_unix_listener(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        accepted = await listener.accept()
        assert accepted.client == ("", 0)
        await accepted.aclose()
    await listener.aclose()
    assert not path.exists()


async def test_what_a_killed_daemon_left_is_replaced(tmp_path: Path) -> None:
    """A socket file nobody listens on."""
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = open_unix_listener(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    await listener.aclose()


async def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    """Two daemons never share a path without knowing."""
    path = tmp_path / "c.sock"
    listener = open_unix_listener(path)
    with pytest.raises(OSError, match="in use"):
        open_unix_listener(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    await listener.aclose()


async def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """However the path got into the configuration."""
    path = tmp_path / "notes.txt"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        open_unix_listener(path)
    assert path.read_text() == "precious"


async def test_a_file_of_the_next_daemon_is_left_to_it(tmp_path: Path) -> None:
    """One that ends late takes away only its own."""
    path = tmp_path / "c.sock"
    first = open_unix_listener(path)
    path.unlink()
    second = open_unix_listener(path)
    await first.aclose()
    assert path.exists()
    await second.aclose()
