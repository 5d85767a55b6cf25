"""Sockets that the service manager hands over: whose they are, what they may be, and who may come in through them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from collabd.errors import ConfigError
from collabd.service import activation
from collabd.service.activation import Handed, descriptors, most_open_bind, take_sockets
from collabd.service.notify import Pids

SELF = Pids(42)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {}),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "42"}, {3: ""}),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "42", "LISTEN_FDNAMES": "web:unix"}, {3: "web", 4: "unix"}),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "42", "LISTEN_FDNAMES": "web"}, {3: "web", 4: ""}),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "41"}, {}),
        ({"LISTEN_FDS": "1"}, {}),
        ({"LISTEN_FDS": "-1", "LISTEN_PID": "42"}, {}),
        ({"LISTEN_FDS": "0", "LISTEN_PID": "42"}, {}),
    ],
)
def test_descriptors_are_taken_only_by_whom_they_are_for(environ: dict[str, str], expected: dict[int, str]) -> None:
    """A program between systemd and collabd may leave its own variables behind."""
    assert descriptors(environ, SELF) == expected


def test_the_single_file_build_takes_what_its_loader_was_given() -> None:
    """The loader passes descriptors on, under its own process number."""
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "41", "LISTEN_FDNAMES": "collabd.socket"}
    assert descriptors(environ, Pids(42, frozenset({41}))) == {3: "collabd.socket"}


def test_a_descriptor_that_is_no_socket_is_an_error_of_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in words, with exit status 2."""
    reading, writing = os.pipe()
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "42", "LISTEN_FDNAMES": "fifo"}
    monkeypatch.setattr(activation, "_FIRST", reading)
    with pytest.raises(ConfigError, match=r"fifo.* is no socket"):
        take_sockets(environ, SELF)
    os.close(reading)
    os.close(writing)
    with pytest.raises(ConfigError, match="Bad file descriptor"):
        take_sockets(environ, SELF)


@pytest.mark.parametrize(
    ("addresses", "bind"),
    [
        ([], None),
        (["127.0.0.1"], "127.0.0.1"),
        (["127.0.0.1", "0.0.0.0", "127.0.0.1"], "0.0.0.0"),
        (["::1"], "::1"),
    ],
)
def test_the_socket_that_reaches_furthest_decides(addresses: list[str], bind: str | None) -> None:
    """Open mode on loopback must not be open to the world because a unit listens there too."""
    sockets = [socket.create_server((each, 0), family=_family(each)) for each in addresses]
    try:
        found = most_open_bind([Handed(each, "") for each in sockets])
    finally:
        for each in sockets:
            each.close()
    assert (found or "").rpartition(":")[0].strip("[]") == (bind or "")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


# The daemon itself, started as systemd would: descriptors from 3 on, LISTEN_PID its own.
START = """
import os, sys
fds = [int(each) for each in sys.argv[1].split(",")]
for fd in fds: os.dup2(fd, fd + 500)
for number, fd in enumerate(fds): os.dup2(fd + 500, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES="collabd.socket")
os.execv(sys.executable, [sys.executable, "-m", "collabd", "serve", *sys.argv[2:]])
"""


def started(tmp_path: Path, *sockets: socket.socket) -> subprocess.Popen[str]:
    """`collabd serve` with these sockets."""
    for sock in sockets:
        sock.set_inheritable(True)
    numbers = [sock.fileno() for sock in sockets]
    return subprocess.Popen(
        [sys.executable, "-c", START, ",".join(map(str, numbers)), "--data-dir", str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=numbers,
        env={name: value for name, value in os.environ.items() if not name.startswith("COLLABD_")},
    )


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    """A listening socket on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.mark.e2e
def test_the_daemon_serves_on_the_sockets_it_was_handed(tmp_path: Path, tcp: socket.socket) -> None:
    """TCP and Unix at once; a connection from before the start is answered after it, and one after the end waits."""
    port = tcp.getsockname()[1]
    early = socket.create_connection(("127.0.0.1", port))
    early.sendall(b"GET /api/client-config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "collabd.sock"))
        unix.listen()
        with started(tmp_path, tcp, unix) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == f"collabd is ready at http://127.0.0.1:{port}\n"
                assert early.recv(15) == b"HTTP/1.1 200 \r\n"
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(tmp_path / "collabd.sock"))
                    client.sendall(b"GET /actuator/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    assert client.recv(15) == b"HTTP/1.1 200 \r\n"
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/actuator/health", timeout=90) as answer:
                    assert answer.status == 200
                process.terminate()
                assert process.wait(90) == 0
            finally:
                process.kill()
                early.close()
        late = socket.create_connection(("127.0.0.1", port), timeout=90)
        late.close()


@pytest.mark.e2e
def test_a_socket_that_reaches_beyond_this_machine_is_held_to_the_rules_of_bind(tmp_path: Path) -> None:
    """Open mode behind it is refused, with exit status 2, though server.bind is loopback."""
    with socket.create_server(("0.0.0.0", 0)) as everywhere, started(tmp_path, everywhere) as process:
        _, said = process.communicate(timeout=90)
        assert process.returncode == 2
        assert "socket from the service manager" in said
        assert "auth.allow_open" in said


@pytest.mark.e2e
def test_a_socket_that_does_not_listen_is_refused_in_words(tmp_path: Path) -> None:
    """Accept=yes in the unit, say."""
    ours, theirs = socket.socketpair()
    with ours, theirs, started(tmp_path, theirs) as process:
        _, said = process.communicate(timeout=90)
        assert process.returncode == 2
        assert "Accept=no" in said
