"""What a busy event loop costs the writer thread, by the interpreter's switch interval.

Law: the store as the daemon opens it, beside a task that computes for some time, lets others run, and so on; nothing
else. A loop that gives the lock up for a moment more often than once in an interval can starve the writer for ever
(docs/performance.md), so each measurement has an end.
"""

import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

import trio

from benchmarks.paths import CACHE
from collabd.store.interface import NewEvent
from collabd.store.sqlite import open_store

BATCH, COMMITS, MOST_S = 64, 120, 15.0


def batch(number: int) -> list[NewEvent]:
    """64 critical events for 8 runs, each with an id of its own."""
    return [
        NewEvent(
            run_id=f"00000000-0000-4000-8000-00000000000{index % 8}",
            user_id=f"user-{index}",
            event_type="GRAFT",
            data=b'{"after":"ARCHITECT","agentName":"security-scanner-v1"}',
            timestamp=int(time.time() * 1000),
            is_critical=True,
            client_message_id=f"lock.{number}.{index}.{time.monotonic_ns()}",
            state_key="ARCHITECT",
        )
        for index in range(BATCH)
    ]


async def stay_busy(milliseconds: float) -> None:
    """Keep the interpreter for so long, let others run, and again, until cancelled."""
    while True:
        until = time.perf_counter() + milliseconds / 1000
        while time.perf_counter() < until:
            pass
        await trio.lowlevel.checkpoint()


async def commit_times_ms(busy_ms: float) -> list[float]:
    """How long each commit took for whoever waited for it, in milliseconds; those that ended in time."""
    times = []
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as directory:
        store_options = {"synchronous": "full", "retention": 1000, "dedupe_window_s": 86400}
        async with open_store(Path(directory) / "data", **store_options) as store, trio.open_nursery() as nursery:  # type: ignore[arg-type]
            if busy_ms:
                nursery.start_soon(stay_busy, busy_ms)
            with trio.move_on_after(MOST_S):
                for number in range(COMMITS):
                    events = batch(number)
                    begun = time.perf_counter()
                    await store.append(events)
                    times.append((time.perf_counter() - begun) * 1000)
            nursery.cancel_scope.cancel()
    return times


def main() -> None:
    """Print the table."""
    CACHE.mkdir(exist_ok=True)
    for busy_ms, interval_ms in itertools.product((0, 2, 0.3), (5, 0.5, 0.1)):
        sys.setswitchinterval(interval_ms / 1000)
        times = sorted(trio.run(commit_times_ms, busy_ms))
        print(f"busy for {busy_ms:g} ms at a time, switch interval {interval_ms:g} ms, commits of {BATCH}: ", end="")
        if len(times) < COMMITS:
            print(f"{len(times)} of {COMMITS} in {MOST_S:g} s", flush=True)
        else:
            p99 = times[int(len(times) * 0.99)]
            print(f"median {statistics.median(times):.1f} ms, p99 {p99:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
