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
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[share]}"))
    bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
    began = time.monotonic()
    last = ""

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        if what != last:
            # A task of its own for each thing that is done: rich never makes an unknown length of a known one.
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(what, total=total or None, share="")
            last = what
        (task,) = bar.task_ids
        bar.update(task, completed=done, share=f"{100 * done // total:3} %" if total else "")
        if not bar.live.is_started and time.monotonic() - began > QUIET_S:
            bar.start()

    try:
        yield tell
    finally:
        bar.stop()
