"""How a command ends that somebody else ends: by Ctrl-C, or by going away from its output."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from collabd import exits
from collabd.store.interface import NewEvent
from tests.commands.support import NOW_MS, RUNS, write_events

pytestmark = pytest.mark.e2e
PIPE_BYTES = 64 * 1024


def test_an_export_whose_reader_goes_away_ends_without_a_word(tmp_path: Path) -> None:
    """As `collabd export | head -1` does."""
    write_events(tmp_path, [[NewEvent(RUNS[0], "ann", "GRAFT", b'"%s"' % (b"x" * PIPE_BYTES), NOW_MS, True)] * 40])
    command = [sys.executable, "-m", "collabd", "export", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10) == b'{"kind":"c'
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == exits.NO_READER


def test_an_export_onto_a_full_disk_says_so(tmp_path: Path) -> None:
    """It is the output that is full, not the database."""
    write_events(tmp_path, [[NewEvent(RUNS[0], "ann", "GRAFT", b"1", NOW_MS, True)]])
    command = [sys.executable, "-m", "collabd", "export", "--data-dir", str(tmp_path)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (
        1,
        "collabd: standard output cannot be written: No space left on device\n",
    )


def interrupted(process: subprocess.Popen[bytes]) -> int:
    """Its exit status after Ctrl-C, pressed again where it came in the very moment before a read."""
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(15)
    raise AssertionError("not ended by Ctrl-C")


def test_ctrl_c_ends_an_import_with_nothing_imported(tmp_path: Path) -> None:
    """It was reading when it came: more than a pipe holds had been taken from it."""
    command = [sys.executable, "-m", "collabd", "import", "-", "--data-dir", str(tmp_path / "new")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"x" * (4 * PIPE_BYTES))
        process.stdin.flush()
        assert interrupted(process) == exits.INTERRUPTED
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert not (tmp_path / "new").exists()
