"""Socket activation under a real systemd: a restart under load refuses nobody, over TCP and over a Unix socket."""

from __future__ import annotations

import threading
from functools import partial
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support.booted import Booted
from tests.systemd.conftest import DROP_IN, SOCKET_DROP_IN

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PACKAGING = Path(__file__).parents[2] / "packaging"
TCP = ("127.0.0.1", 8080)
UNIX = "/var/collabd-test.sock"  # not below /run: there the machine has a file system of its own
CLIENTS = 4
RESTARTS = 2


class Load:
    """Clients that connect, ask and close, again and again, until told to stop."""

    def __init__(self, machine: Booted, addresses: list[tuple[str, int] | str]) -> None:
        self._machine = machine
        self._done = threading.Event()
        self.answered = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(each,)) for each in addresses]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def has_answered(self, requests: int) -> bool:
        """Whether so many requests have come to an end."""
        return self.answered >= requests

    def _ask(self, address: tuple[str, int] | str) -> None:
        while not self._done.wait(0.01):
            try:
                status, body = self._machine.get("/api/client-config", address)
                if status != 200:
                    self.failures.append(f"{status} {body!r}")
            except (OSError, HTTPException) as error:
                self.failures.append(repr(error))
            self.answered += 1


def test_a_restart_under_load_refuses_nobody(machine: Booted) -> None:
    """Connections of the moment in between wait in systemd's queue, and all are answered."""
    machine.write(SOCKET_DROP_IN, f"[Socket]\nListenStream={UNIX}\nSocketMode=0666\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "collabd.socket")
    assert machine.show("collabd", "ActiveState") == "inactive"
    with Load(machine, [TCP, UNIX] * (CLIENTS // 2)) as load:
        machine.until(lambda: load.answered >= CLIENTS, "the first who connects starts it")
        for _ in range(RESTARTS):
            machine.run("systemctl", "restart", "collabd")
            goal = load.answered + 10 * CLIENTS
            machine.until(partial(load.has_answered, goal), "clients are answered again")
    assert load.failures == []
    assert machine.show("collabd", "NRestarts") == "0"
    assert "from the service manager (collabd.socket)" in machine.journal()


def test_without_a_network_it_serves_what_it_was_handed(machine: Booted) -> None:
    """The drop-in that is shipped: no interface but a loopback of its own, and clients notice nothing."""
    machine.write(DROP_IN, (PACKAGING / "collabd.service.d" / "private-network.conf").read_text())
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "collabd.socket")
    assert machine.get("/actuator/health") == (200, b'{"status":"UP"}')
    assert machine.get("/api/runs/a/collaboration/poll?userId=ann")[0] in (200, 400)
    pid = machine.show("collabd", "MainPID")
    own, machines = (machine.run("readlink", f"/proc/{each}/ns/net").stdout for each in (pid, "1"))
    assert own != machines
