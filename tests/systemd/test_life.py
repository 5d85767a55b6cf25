"""The service under a real systemd: from start to stop, and what brings it back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.booted import Booted, require_systemd
from tests.systemd.conftest import CONFIG, DROP_IN

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PACKAGING = Path(__file__).parents[2] / "packaging"
EVENT = {"eventType": "GRAFT", "data": {"after": "A"}, "clientMessageId": "m1"}
RUN = "/api/runs/2f0d8c9e-6c2f-4d5c-9d61-9a6c0d3c6f11/collaboration"


def main_pid(machine: Booted) -> int:
    """The daemon's process number as the machine sees it."""
    return int(machine.show("collabd", "MainPID"))


def started(machine: Booted, drop_in: str = "", config: str = "") -> int:
    """Start the service with a drop-in or configuration of this test; answers its process number."""
    if drop_in:
        machine.write(DROP_IN, drop_in)
        machine.run("systemctl", "daemon-reload")
    if config:
        machine.write(CONFIG, config)
    machine.run("systemctl", "start", "collabd")
    return main_pid(machine)


def test_the_units_are_valid(machine: Booted) -> None:
    """`systemd-analyze verify` has nothing to say, about the drop-in either."""
    machine.write(DROP_IN, (PACKAGING / "collabd.service.d" / "private-network.conf").read_text())
    units = [f"/etc/systemd/system/{name}" for name in ("collabd.service", "collabd.socket")]
    done = machine.run("systemd-analyze", "verify", "--man=no", *units)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(("drop_in", "most"), [("", 1.2), ("private-network.conf", 0.4)])
def test_the_sandbox_is_rated_as_the_docs_say(tmp_path: Path, drop_in: str, most: float) -> None:
    """Whoever takes a line out of the unit sees it here."""
    require_systemd()
    shutil.copy(PACKAGING / "collabd.service", tmp_path)
    if drop_in:
        (tmp_path / "collabd.service.d").mkdir()
        shutil.copy(PACKAGING / "collabd.service.d" / drop_in, tmp_path / "collabd.service.d")
    rate = ["systemd-analyze", "security", "--offline=yes", str(tmp_path / "collabd.service")]
    rating = subprocess.run(rate, capture_output=True, text=True).stdout
    level = re.search(r"Overall exposure level for collabd.service: ([\d.]+)", rating)
    assert level is not None, rating
    assert float(level[1]) <= most, rating


def test_every_line_of_the_sandbox_has_its_reason() -> None:
    """A setting stands below a comment, or below another setting that does."""
    for unit in ("collabd.service", "collabd.socket", "collabd.service.d/private-network.conf"):
        lines = (PACKAGING / unit).read_text().split("[Service]" if "service" in unit else "[Socket]")[1].splitlines()
        paragraphs = [block.strip().splitlines() for block in "\n".join(lines).split("\n\n")]
        assert [block[0] for block in paragraphs if not block[0].startswith(("#", "[", "Type", "PrivateNetwork"))] == []


def test_it_is_started_when_it_serves(machine: Booted) -> None:
    """`systemctl start` returns at READY; the status line says what goes on."""
    started(machine)
    assert machine.get("/actuator/health") == (200, b'{"status":"UP"}')
    assert machine.show("collabd", "ActiveState") == "active"
    assert machine.show("collabd", "StatusText") == "serving 0 sessions in 0 runs"
    assert machine.get(f"{RUN}/poll?userId=ann")[0] == 200
    status = "serving 1 session (1 polling) in 1 run"
    machine.until(lambda: machine.show("collabd", "StatusText") == status, "the status follows")


def test_it_works_in_its_sandbox(machine: Booted) -> None:
    """As a user that exists for it alone; it stores, measures itself, and its files are nobody else's."""
    pid = started(machine)
    status = (machine.root / f"proc/{pid}/status").read_text()
    assert int(re.findall(r"^Uid:\s+(\d+)", status, re.MULTILINE)[0]) >= 61184, "one of the dynamic users"
    assert "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
    assert machine.post(f"{RUN}/events?userId=ann", EVENT)[0] == 200
    figures = machine.get("/metrics")[1].decode()
    assert "process_resident_memory_bytes" in figures
    assert "process_open_fds" in figures
    directory = machine.run("stat", "-L", "-c", "%a", "/var/lib/collabd").stdout.strip()
    assert directory == "700"
    machine.run("systemctl", "restart", "collabd")
    replayed = json.loads(machine.get(f"{RUN}/replay")[1])
    assert [event["clientMessageId"] for event in replayed["events"]] == ["m1"]


def test_a_stop_is_within_its_bound(machine: Booted) -> None:
    """With a poll that waits and a peer that has said nothing; the service ends by itself, with status 0."""
    started(machine, config="[server]\ndrain_timeout_s = 5\n")
    with machine.connect(("127.0.0.1", 8080)) as silent, machine.connect(("127.0.0.1", 8080)) as polling:
        polling.sendall(f"GET {RUN}/poll?wait=30000 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        silent.sendall(b"GET")
        begun = time.monotonic()
        machine.run("systemctl", "stop", "collabd")
        assert time.monotonic() - begun < 25, "below TimeoutStopSec, at which it would be killed"
    assert machine.show("collabd", "Result") == "success"
    assert machine.show("collabd", "ExecMainStatus") == "0"


def test_killed_it_comes_back_with_what_it_acknowledged(machine: Booted) -> None:
    """kill -9; systemd starts it again."""
    before = started(machine)
    assert machine.post(f"{RUN}/events?userId=ann", EVENT)[0] == 200
    machine.run("systemctl", "kill", "--signal=KILL", "collabd")
    machine.until(lambda: machine.show("collabd", "NRestarts") == "1", "systemd starts it again")
    machine.until(lambda: machine.show("collabd", "ActiveState") == "active", "it serves again")
    assert main_pid(machine) != before
    assert len(json.loads(machine.get(f"{RUN}/replay")[1])["events"]) == 1


def test_what_only_a_person_can_mend_is_not_tried_again(machine: Booted) -> None:
    """Exit status 2: a configuration with errors. The start fails, and so it stays."""
    machine.write(CONFIG, "[limits]\nconections = 1\n")
    assert machine.run("systemctl", "start", "collabd", check=False).returncode != 0
    assert machine.show("collabd", "ExecMainStatus") == "2"
    assert machine.show("collabd", "ActiveState") == "failed", "not waiting for the next attempt"
    assert machine.show("collabd", "NRestarts") == "0"
    assert 'did you mean "connections"' in machine.journal()


def test_what_may_pass_is_tried_again(machine: Booted) -> None:
    """Exit status 1: the port is taken. It serves as soon as it is free."""
    taken = machine.listen(("127.0.0.1", 8080))
    try:
        machine.write(DROP_IN, "[Service]\nRestartSec=200ms\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "--no-block", "collabd")
        machine.until(lambda: int(machine.show("collabd", "NRestarts")) >= 1, "systemd tries again")
        assert machine.show("collabd", "ExecMainStatus") in ("0", "1")
        assert "is another collabd running" in machine.journal()
    finally:
        taken.close()
    machine.until(lambda: machine.show("collabd", "ActiveState") == "active", "it serves")


def test_a_daemon_that_is_stuck_is_ended_and_started_again(machine: Booted) -> None:
    """SIGSTOP stands in for an event loop that does not turn: the watchdog is not fed, and says so."""
    before = started(machine, "[Service]\nWatchdogSec=3\nRestartSec=100ms\n")
    time.sleep(4)
    assert main_pid(machine) == before, "fed, it is left alone"
    machine.run("kill", "-STOP", str(before))
    machine.until(lambda: machine.show("collabd", "NRestarts") != "0", "the watchdog ends it")
    machine.until(lambda: machine.show("collabd", "ActiveState") == "active", "it is started again")
    assert main_pid(machine) != before
    assert "Watchdog timeout" in machine.journal()
    assert "Fatal Python error: Aborted" in machine.journal(), "it says where it was stuck"


def test_secrets_are_handed_over_by_systemd(machine: Booted) -> None:
    """Files of root's that the service's user could not read; nobody else gets in."""
    machine.write("/etc/credstore/collabd.admin-token", "an-admin-token-of-systemd\n", 0o600)
    machine.write("/etc/credstore/collabd.token-key", "a-secret-of-at-least-thirty-two-bytes\n", 0o600)
    started(machine, config='[auth]\nmode = "jwt"\n[server]\npublic_url = "https://collab.example"\n')
    assert machine.get("/metrics")[0] == 401
    assert machine.get("/metrics", token="an-admin-token-of-systemd")[0] == 200
    assert not (machine.root / "var/lib/private/collabd/admin.token").exists()
    machine.run("systemctl", "reload", "collabd")
    machine.until(lambda: "keys and tokens were read again" in machine.journal(), "the reload is done")


LOADER = """#!/bin/sh
# What the single-file build does: the daemon is a child of what systemd started, is passed SIGTERM alone, and its
# status is passed on.
PYTHONPATH=/opt/collabd:/opt/libraries LD_LIBRARY_PATH=/opt/python/lib
export PYTHONPATH LD_LIBRARY_PATH
PYTHON -P -c 'import sys; sys.frozen = True; from collabd.cli import main; main()' "$@" &
daemon=$!
trap 'kill -TERM $daemon' TERM
wait $daemon
status=$?
[ $status -lt 128 ] || { wait $daemon; status=$?; }
exit $status
"""


def test_a_daemon_below_a_loader_is_served_as_well(machine: Booted) -> None:
    """The single-file build: it says READY, takes the sockets, feeds the watchdog, reloads, drains and comes back."""
    python = machine.run("sh", "-c", "echo /opt/python/bin/python3.*[0-9]").stdout.split()[0]
    machine.write("/usr/bin/collabd-loader", LOADER.replace("PYTHON -P", f"{python} -P"), 0o755)
    unit = "[Service]\nExecStart=\nExecStart=/usr/bin/collabd-loader serve\nWatchdogSec=3\nRestartSec=100ms\n"
    machine.write(DROP_IN, unit)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "collabd.socket")
    assert machine.get("/actuator/health")[0] == 200
    assert "from the service manager (collabd.socket)" in machine.journal()
    pid = main_pid(machine)
    time.sleep(4)
    assert main_pid(machine) == pid, "its watchdog is fed"
    machine.run("systemctl", "reload", "collabd")
    machine.until(lambda: "keys and tokens were read again" in machine.journal(), "the reload is done")
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "collabd")
    machine.until(lambda: machine.show("collabd", "NRestarts") == "1", "systemd starts it again")
    assert machine.get("/actuator/health")[0] == 200
    machine.run("systemctl", "stop", "collabd.socket", "collabd")
    assert machine.show("collabd", "Result") == "success"
    assert "collabd.daemon: stopped" in machine.journal()
    assert "second signal" not in machine.journal()
