"""One booted systemd for the tests of a module; each test begins with the units as they are shipped and no data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.booted import Booted, booted

UNITS = ("collabd.service", "collabd.socket")
DROP_IN = "/etc/systemd/system/collabd.service.d/of-this-test.conf"
SOCKET_DROP_IN = "/etc/systemd/system/collabd.socket.d/of-this-test.conf"
CONFIG = "/etc/collabd/collabd.toml"


@pytest.fixture(scope="module")
def shared_machine() -> Iterator[Booted]:
    """Booted once, which takes a second or two."""
    with booted() as machine:
        yield machine


@pytest.fixture
def machine(shared_machine: Booted) -> Iterator[Booted]:
    """The machine as new; afterwards nothing of collabd runs, whatever the test left."""
    yield shared_machine
    shared_machine.run("systemctl", "stop", *UNITS, check=False)
    data = ["/etc/collabd", "/etc/credstore", "/var/lib/collabd", "/var/lib/private/collabd"]
    shared_machine.run("rm", "-rf", *data, DROP_IN, SOCKET_DROP_IN)
    shared_machine.run("systemctl", "daemon-reload")
    shared_machine.run("systemctl", "reset-failed", *UNITS, check=False)
    # Each test reads its own journal.
    shared_machine.run("journalctl", "--rotate", check=False)
    shared_machine.run("journalctl", "--vacuum-time=1us", check=False)
