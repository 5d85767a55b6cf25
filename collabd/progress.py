"""How far a command is, drawn on standard error while it lasts. Law of this file: it only draws, and nothing at all
where nobody looks: scripts and log files get the result, and no bars.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

QUIET_S: Final = 0.3
"""What takes no longer than this gets no bar."""


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Something to be called with what is being done, how much of it is done and how much it is (0: not known)."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("")
    began = time.monotonic()
    last = ""

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        if what != last:
            # Anew for each thing that is done, so that the time that remains is that of this one.
            bar.reset(task, description=what, total=total or None)
            last = what
        bar.update(task, completed=done, total=total or None)
        if not bar.live.is_started and time.monotonic() - began > QUIET_S:
            bar.start()

    try:
        yield tell
    finally:
        bar.stop()
