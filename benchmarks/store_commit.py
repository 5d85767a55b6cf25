"""How fast the store commits: alone, and beside a thread that never lets go of the interpreter.

    python -m benchmarks.store_commit [--seconds 2] [--directory PATH]

Prints one line for each case: rows per second, median and 99th percentile of one append in milliseconds. The
directory should lie on the disk that is meant; a temporary one in the current directory is the default.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from collabd.store.interface import NewEvent
from collabd.store.sqlite import SqliteStore, open_store

DATA = b'{"after":"ARCHITECT","agentName":"security-scanner-v1"}'


def batch_of(size: int, runs: list[str]) -> list[NewEvent]:
    """So many critical events of fifty users, dealt out to the runs."""
    ids = os.urandom(16 * size).hex()
    now = time.time_ns() // 1_000_000
    return [
        NewEvent(
            runs[n % len(runs)], f"user_{n % 50}", "GRAFT", DATA, now, True, ids[32 * n : 32 * n + 32], f"step-{n % 40}"
        )
        for n in range(size)
    ]


@contextmanager
def busy_loop(wanted: bool) -> Iterator[None]:
    """A thread of pure Python that gives the interpreter up only when it is made to."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if wanted:
            thread.join()


async def measure(store: SqliteStore, size: int, runs: int, seconds: float) -> tuple[int, list[float]]:
    """Append batches one after the other; how many rows, and the seconds that each append took."""
    names = [str(uuid.uuid4()) for _ in range(runs)]
    took: list[float] = []
    rows = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        batch = batch_of(size, names)
        began = time.perf_counter()
        await store.append(batch)
        took.append(time.perf_counter() - began)
        rows += size
    return rows, sorted(took)


async def main(directory: str, seconds: float) -> None:
    """Run every case in a database of its own."""
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} CPUs, synchronous=full"
    )
    for busy in (False, True):
        for size, runs in ((1, 1), (64, 1), (64, 32), (256, 1), (256, 50)):
            with tempfile.TemporaryDirectory(dir=directory) as data_dir, busy_loop(busy):
                async with open_store(Path(data_dir)) as store:
                    rows, took = await measure(store, size, runs, seconds)
            beside = "beside a busy loop" if busy else "alone"
            median, worst = took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
            print(
                f"{size:4} rows, {runs:2} runs, {beside:18}: {rows / sum(took):8,.0f} rows/s,"
                f" median {median:6.2f} ms, p99 {worst:6.2f} ms",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", default=".")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--switch-interval", type=float, default=0.0005)
    arguments = parser.parse_args()
    sys.setswitchinterval(arguments.switch_interval)
    trio.run(main, arguments.directory, arguments.seconds)
