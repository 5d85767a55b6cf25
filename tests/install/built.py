"""What the tests of the install routes share: products as `packaging/build.py` builds them, and a look at a server.

Nothing here imports packaging/: a build is started as a person starts it, and keeps what it made until sources change.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[2]
RUN = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d"
LONG_S = 900  # a busy machine builds slowly, and may wait for another process that builds the same


def build(target: str) -> Path:
    """Build one target, if its sources have changed; where it is."""
    command = [sys.executable, str(ROOT / "packaging" / "build.py"), target]
    return ROOT / run(command).splitlines()[-1].split()[0]


def run(
    command: list[str], *, status: int = 0, environment: Mapping[str, str] | None = None, place: Path = ROOT
) -> str:
    """Run a command to its end; its standard output, and where it is to fail what it said as an error."""
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert done.returncode == status, f"{command} left with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if status == 0 else done.stdout + done.stderr


def needs(is_there: bool, what: str) -> None:
    """Skip a test, loudly, for what this machine does not have; in CI that is a failure."""
    if not is_there:
        message = f"NOT TESTED: this needs {what}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


def serves_pages_and_runs(daemon: Daemon) -> None:
    """Look at the page, and let an event be kept."""
    with urllib.request.urlopen(daemon.url + "/", timeout=60) as page:
        assert "<script" in page.read().decode()
        assert page.headers["content-security-policy"]
    event = {"eventType": "GRAFT", "data": {"after": "A", "agentName": "b"}, "clientMessageId": "m1"}
    status, answer = daemon.request(f"/api/runs/{RUN}/collaboration/events?userId=ann", event)
    assert (status, answer["acks"][0]["sequenceNumber"]) == (200, 1)
    assert [kept["eventType"] for kept in daemon.replay(RUN)] == ["GRAFT"]
