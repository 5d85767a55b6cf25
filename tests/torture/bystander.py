"""Somebody who has nothing to do with it: joins a run in a process of its own and measures how long PONGs take.

    python -m tests.torture.bystander URL RUN [CA]     prints `ready`, and at the end of its input its figures as JSON

Law of this file: a process of its own, since a busy test would measure itself.
"""

from __future__ import annotations

import contextlib
import json
import select
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from websockets.sync.client import connect

PAUSE_S = 0.02


def main(url: str, run_id: str, authority: str | None = None) -> None:
    """Ping until standard input ends."""
    trust = None if authority is None else ssl.create_default_context(cafile=authority)
    taken: list[float] = []
    address = f"{url.replace('http', 'ws', 1)}/ws/runs/{run_id}/collaboration?userId=bystander"
    with connect(address, ssl=trust, compression=None) as socket:
        assert json.loads(socket.recv())["eventType"] == "WELCOME"
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
            started = time.monotonic()
            socket.send('{"eventType":"PING","data":{}}')
            while json.loads(socket.recv(timeout=60))["eventType"] != "PONG":
                pass
            taken.append(time.monotonic() - started)
    print(json.dumps({"pings": len(taken), "median": median(taken), "worst": max(taken)}), flush=True)


@contextlib.contextmanager
def standing_by(url: str, run_id: str, authority: Path | None, figures: dict[str, Any]) -> Iterator[None]:
    """A bystander for the length of a block; `figures` are filled in at its end (seconds)."""
    arguments = [url, run_id, *([] if authority is None else [str(authority)])]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.torture.bystander", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        told, _ = process.communicate(timeout=60)
        figures |= json.loads(told)
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
