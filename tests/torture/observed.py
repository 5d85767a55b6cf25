"""`collabd serve` with a window: `python -m tests.torture.observed serve …` answers questions about its inside.

Law of this file: the daemon runs as it is; a thread beside it reads questions from standard input, a line each, and
answers each with a line of JSON on standard output, taken on the event loop's own thread.

    look      {"tasks", "blocks"}: Trio tasks alive, and memory blocks that Python has allocated, garbage collected
    types     {type name: how many objects of it}, the commonest 40
"""

from __future__ import annotations

import gc
import json
import sys
import threading
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


QUESTIONS: dict[str, Any] = {"look": look, "types": types}


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
        await serve(config, load)

    daemon.serve = observed_serve
    cli.main()


if __name__ == "__main__":
    main()
