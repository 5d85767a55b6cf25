"""Telling the service manager how the daemon is (sd_notify(3)): one datagram of NAME=VALUE lines each time.

Law of this file: no Trio; whom to tell is read from an environment that is given.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

_SEND_TIMEOUT_S: Final = 1.0
_MOST_ANCESTORS: Final = 8


class Pids(NamedTuple):
    """The process numbers that mean this daemon: `own`, and those of the loaders that started it."""

    own: int
    loaders: frozenset[int] = frozenset()

    def include(self, text: str) -> bool:
        """Whether a process number from the environment means this daemon."""
        return text.isascii() and text.isdigit() and int(text) in {self.own, *self.loaders}


def this_process() -> Pids:
    """The numbers of this process.

    The single-file build runs as a child of its loader, and it is the loader that the service manager started.
    Elsewhere a parent's number means the parent: what was meant for it is none of ours.
    """
    own = os.getpid()
    return Pids(own, frozenset(_ancestors(own)) if getattr(sys, "frozen", False) else frozenset())


def _ancestors(pid: int) -> list[int]:
    """The parents of a process, up to the first that is not to be seen (proc(5), ppid of /proc/PID/stat)."""
    found: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        while len(found) < _MOST_ANCESTORS:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                # The name in parentheses may itself hold blanks and parentheses.
                pid = int(file.read().rpartition(")")[2].split()[1])
            if pid <= 1:
                break
            found.append(pid)
    return found


class ServiceManager(NamedTuple):
    """Whom to tell. `address` is empty where nobody asks; `watchdog_s` (seconds) is 0 without a watchdog.

    Below a loader no MAINPID is told: of a main process that is not its child systemd hears neither that it ended nor
    with which status, starts nothing again, and kills it at a stop without asking it first (seen with systemd 252).
    """

    address: str = ""
    watchdog_s: float = 0

    def tell(self, *assignments: str) -> None:
        """Send assignments such as READY=1. A manager that went away is no reason to stop serving."""
        if not self.address:
            return
        # An abstract socket's name begins with a zero byte, which is written as @ (unix(7)).
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
            sock.settimeout(_SEND_TIMEOUT_S)
            sock.sendto(datagram(assignments), address)

    def ready(self, status: str) -> None:
        """Serving: after the start, and after a reload whatever came of it."""
        self.tell("READY=1", f"STATUS={status}")

    def reloading(self, now_us: int | None = None) -> None:
        """A reload has begun; `ready` ends it. `now_us`: CLOCK_MONOTONIC in microseconds, that clock if not given."""
        if now_us is None:
            now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.tell("RELOADING=1", f"MONOTONIC_USEC={now_us}", "STATUS=reading the configuration again")

    def stopping(self, status: str) -> None:
        """On the way out."""
        self.tell("STOPPING=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self.tell(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self.tell("WATCHDOG=1")


def datagram(assignments: tuple[str, ...]) -> bytes:
    """The bytes of one message: a line for each assignment, and no way for a value to begin another one."""
    return "\n".join(" ".join(assignment.splitlines()) for assignment in assignments).encode()


def find_manager(environ: Mapping[str, str], pids: Pids) -> ServiceManager:
    """The service manager that the environment names; one that is never told anything where it names none."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return ServiceManager()
    return ServiceManager(address, _watchdog_s(environ, pids))


def _watchdog_s(environ: Mapping[str, str], pids: Pids) -> float:
    """The watchdog's time in seconds; 0 where there is none, or where it is another process's to feed."""
    text, owner = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pids.own))
    if not (text.isascii() and text.isdigit() and pids.include(owner)):
        return 0
    return int(text) / 1_000_000
