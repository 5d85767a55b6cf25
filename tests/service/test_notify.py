"""What the service manager is told, and by which environment the daemon knows that it is meant."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from collabd.service import notify
from collabd.service.notify import Pids, ServiceManager, datagram, find_manager

SELF = Pids(42)
IN_A_LOADER = Pids(42, frozenset({41, 40}))


def listening(address: str) -> socket.socket:
    """A manager's end."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(10)
    sock.bind(address)
    return sock


def test_without_a_manager_nothing_is_told() -> None:
    """A daemon in a terminal."""
    manager = find_manager({}, SELF)
    assert manager == ServiceManager()
    manager.ready("serving")


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_each_message_is_one_datagram(kind: str, tmp_path: Path) -> None:
    """To a path or to an abstract socket, written with @."""
    name = str(tmp_path / "notify") if kind == "path" else f"@collabd-test-{os.getpid()}"
    with listening(name if kind == "path" else "\0" + name[1:]) as heard:
        manager = find_manager({"NOTIFY_SOCKET": name}, SELF)
        manager.ready("serving 0 sessions")
        assert heard.recv(1000) == b"READY=1\nSTATUS=serving 0 sessions"
        manager.alive()
        assert heard.recv(1000) == b"WATCHDOG=1"
        manager.stopping("stopping")
        assert heard.recv(1000) == b"STOPPING=1\nSTATUS=stopping"


def test_a_reload_says_when_it_began(tmp_path: Path) -> None:
    """By the monotonic clock in microseconds, which is how systemd tells it from an earlier one."""
    with listening(str(tmp_path / "notify")) as heard:
        manager = find_manager({"NOTIFY_SOCKET": str(tmp_path / "notify")}, SELF)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        manager.reloading()
        first, second, _ = heard.recv(1000).decode().split("\n")
        assert first == "RELOADING=1"
        assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(1) // 1000


def test_a_manager_that_went_away_stops_nothing(tmp_path: Path) -> None:
    """Serving is the daemon's business."""
    find_manager({"NOTIFY_SOCKET": str(tmp_path / "gone")}, SELF).ready("serving")


def test_a_value_cannot_begin_another_assignment() -> None:
    """A line end in a text would."""
    assert datagram(("STATUS=a\nMAINPID=1\rb",)) == b"STATUS=a MAINPID=1 b"


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "42"}, 60),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "43"}, 0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "41"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({}, 0),
    ],
)
def test_the_watchdog_is_fed_by_the_process_it_is_meant_for(environ: dict[str, str], seconds: float) -> None:
    """Not by a child of it that inherited the variables."""
    assert find_manager({"NOTIFY_SOCKET": "/run/n", **environ}, SELF).watchdog_s == seconds


def test_in_the_single_file_build_the_loaders_variables_are_the_daemons() -> None:
    """It is the loader that the watchdog was promised to."""
    environ = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "41"}
    assert find_manager(environ, IN_A_LOADER) == ServiceManager("/run/n", 1.0)


def test_loaders_are_looked_for_only_in_the_single_file_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere a parent's variables are the parent's."""
    assert notify.this_process() == Pids(os.getpid())
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    found = notify.this_process()
    assert found.own == os.getpid()
    assert os.getppid() in found.loaders or os.getppid() <= 1
