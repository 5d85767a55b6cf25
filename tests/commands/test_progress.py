"""Progress bars, drawn on a terminal and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.commands.support import filled

SLOW = """
import time
from collabd.progress import QUIET_S, progress_bar
with progress_bar() as tell:
    tell("copying", 1, 4)
    time.sleep(2 * QUIET_S)
    tell("copying", 2, 4)
    tell("checking", 0, 0)
    tell("counting", 3, 4)
    time.sleep(0.3)
print("done")
"""


def on_a_terminal(command: list[str]) -> tuple[str, str]:
    """What a command writes to its standard error, a terminal, and to its standard output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    drawn = b""
    try:
        while part := os.read(ours, 65536):
            drawn += part
    except OSError:  # Linux tells the end of a terminal so
        pass
    finally:
        os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, drawn
    return drawn.decode(), out.decode()


def test_a_bar_shows_what_is_done_and_how_much_of_it_on_a_terminal() -> None:
    """The result stays apart from it, on standard output."""
    drawn, printed = on_a_terminal([sys.executable, "-c", SLOW])
    assert "copying" in drawn
    assert "50 %" in drawn
    assert "counting" in drawn
    assert "75 %" in drawn
    assert printed == "done\n"


def test_what_is_quick_draws_nothing() -> None:
    """A bar that flashes by tells nothing."""
    quick = (
        "from collabd import progress\n"
        "progress.QUIET_S = 3600\n"
        "with progress.progress_bar() as tell: tell('copying', 1, 2)"
    )
    assert on_a_terminal([sys.executable, "-c", quick]) == ("", "")


def test_no_bar_where_nobody_looks(tmp_path: Path) -> None:
    """A script's log has results in it, and nothing else."""
    data = filled(tmp_path / "data")
    command = [sys.executable, "-m", "collabd", "backup", str(tmp_path / "b"), "--data-dir", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
