"""What a busy event loop costs the writer thread, by the interpreter's switch interval.

Law: the store as the daemon opens it, beside a task that computes for `BUSY_MS` at a time; nothing else.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import trio

from benchmarks.paths import CACHE
from collabd.store.interface import NewEvent
from collabd.store.sqlite import open_store

BATCH, COMMITS, BUSY_MS = 64, 120, 2.0


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


async def stay_busy() -> None:
    """Keep the interpreter for some ms, let others run, and again, until cancelled."""
    while True:
        until = time.perf_counter() + BUSY_MS / 1000
        while time.perf_counter() < until:
            pass
        await trio.lowlevel.checkpoint()


async def commit_times_ms(busy: bool) -> list[float]:
    """How long each commit took for whoever waited for it, in milliseconds."""
    times = []
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as directory:
        store_options = {"synchronous": "full", "retention": 1000, "dedupe_window_s": 86400}
        async with open_store(Path(directory) / "data", **store_options) as store, trio.open_nursery() as nursery:  # type: ignore[arg-type]
            if busy:
                nursery.start_soon(stay_busy)
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
    for name, busy, interval in (("idle loop", False, 0.005), ("busy", True, 0.005), ("busy", True, 0.0005)):
        sys.setswitchinterval(interval)
        times = sorted(trio.run(commit_times_ms, busy))
        figures = f"median {statistics.median(times):.1f} ms, p99 {times[int(len(times) * 0.99)]:.1f} ms"
        print(f"{name:10} switch interval {interval * 1000:g} ms: commit of {BATCH}: {figures}")


if __name__ == "__main__":
    main()
