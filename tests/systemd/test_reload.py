"""`systemctl reload` under a real systemd: a good file is put in force, a broken one fails and changes nothing."""

from __future__ import annotations

import json

import pytest

from tests.support.booted import Booted
from tests.systemd.conftest import CONFIG

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def polling_interval(machine: Booted) -> int:
    """A setting as clients see it."""
    interval: int = json.loads(machine.get("/api/client-config")[1])["pollingIntervalMs"]
    return interval


def test_a_changed_file_is_put_in_force_without_a_restart(machine: Booted) -> None:
    """What needs a restart is named in the log and in the status."""
    machine.write(CONFIG, "[client]\npolling_interval_ms = 3000\n")
    machine.run("systemctl", "start", "collabd")
    pid = machine.show("collabd", "MainPID")
    assert polling_interval(machine) == 3000
    machine.write(CONFIG, "[client]\npolling_interval_ms = 4000\n[presence]\ngrace_s = 1\n")
    machine.run("systemctl", "reload", "collabd")
    machine.until(lambda: polling_interval(machine) == 4000, "the new value is told to clients")
    assert machine.show("collabd", "MainPID") == pid
    machine.until(lambda: "presence.grace_s need a restart" in machine.show("collabd", "StatusText"), "the status says")
    assert "presence.grace_s was changed, and needs a restart" in machine.journal()
    assert machine.show("collabd", "ActiveState") == "active"


def test_a_broken_file_fails_the_reload_and_changes_nothing(machine: Booted) -> None:
    """`systemctl reload` says so by its exit status, and the daemon goes on as it was."""
    machine.write(CONFIG, "[client]\npolling_interval_ms = 3000\n")
    machine.run("systemctl", "start", "collabd")
    pid = machine.show("collabd", "MainPID")
    machine.write(CONFIG, "[client]\npolling_interval_ms = 4000\nmessage_retry_limit = 0\n")
    assert machine.run("systemctl", "reload", "collabd", check=False).returncode != 0
    assert "message_retry_limit: must be a whole number from 1" in machine.journal()
    assert polling_interval(machine) == 3000
    assert (machine.show("collabd", "ActiveState"), machine.show("collabd", "MainPID")) == ("active", pid)
