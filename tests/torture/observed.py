"""`collabd serve` with a window: `python -m tests.torture.observed serve …` answers questions about its inside.

Law of this file: the daemon runs as it is; a thread beside it reads questions from standard input, a line each, and
answers each with a line of JSON on standard output, taken on the event loop's own thread.

    look      {"tasks", "blocks"}: Trio tasks alive, and memory blocks that Python has allocated, garbage collected
    types     {type name: how many objects of it}, the commonest 40
    ticks     {"count", "longest_us", "steps"}: turns of the event loop since the last such question, how much processor
              time the longest took, in microseconds (what everybody else waits for, however busy the machine is), and
              which tasks' steps it was made of, by name
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from collabd import cli, daemon
from collabd.config import Config


def look() -> dict[str, int]:
    """What a leak shows in first."""
    gc.collect()
    return {"tasks": trio.lowlevel.current_statistics().tasks_living, "blocks": sys.getallocatedblocks()}


def types() -> dict[str, int]:
    """What there is most of, for whoever looks for a leak's cause."""
    gc.collect()
    return dict(Counter(type(thing).__qualname__ for thing in gc.get_objects()).most_common(40))


class Ticks(trio.abc.Instrument):
    """Measures each turn of the event loop."""

    def __init__(self) -> None:
        self._started = time.thread_time()
        self._steps: list[str] = []
        self._count = 0
        self._longest = 0.0
        self._longest_steps: list[str] = []

    def after_io_wait(self, timeout: float) -> None:
        """A turn begins."""
        self._steps = []
        self._started = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task has its turn."""
        self._steps.append(task.name)

    def before_io_wait(self, timeout: float) -> None:
        """A turn has ended."""
        self._count += 1
        took = time.thread_time() - self._started
        if took > self._longest:
            self._longest, self._longest_steps = took, self._steps

    def tell(self) -> dict[str, Any]:
        """The figures, which begin anew."""
        steps = Counter(name.rpartition(".")[2] for name in self._longest_steps)
        told = {"count": self._count, "longest_us": round(self._longest * 1_000_000), "steps": steps}
        self._count, self._longest = 0, 0.0
        return told


TICKS = Ticks()
QUESTIONS: dict[str, Any] = {"look": look, "types": types, "ticks": TICKS.tell}


def _answer(question: str) -> None:
    print(json.dumps(QUESTIONS[question]()), flush=True)


def _listen(token: trio.lowlevel.TrioToken) -> None:
    for line in sys.stdin:
        try:
            token.run_sync_soon(_answer, line.strip())
        except trio.RunFinishedError:
            return


def main() -> None:
    """Start the daemon as the command line says."""
    serve = daemon.serve

    async def observed_serve(config: Config, load: Callable[[], Config]) -> None:
        threading.Thread(target=_listen, args=(trio.lowlevel.current_trio_token(),), daemon=True).start()
        trio.lowlevel.add_instrument(TICKS)
        await serve(config, load)

    daemon.serve = observed_serve
    cli.main()


if __name__ == "__main__":
    main()
