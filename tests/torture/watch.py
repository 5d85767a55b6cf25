"""What a daemon under torture takes of the machine, and whether it gives it back.

Law of this file: it reads /proc, the data directory and the answers of tests.torture.observed; it judges memory only
by its growth, since how much is right depends on the load.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import trio

from tests.support.daemon import Daemon
from tests.torture.oracle import Broken

_PAGE = os.sysconf("SC_PAGESIZE")
_DATABASE_DESCRIPTORS = 7
"""A writer's and two readers' database and log, and the shared index."""

_TICKS = os.sysconf("SC_CLK_TCK")


OBSERVED = (sys.executable, "-m", "tests.torture.observed")
"""How a daemon with a window is called."""


class Window:
    """A daemon that `python -m tests.torture.observed` runs, seen from outside and inside."""

    def __init__(self, daemon: Daemon, data_dir: Path) -> None:
        self._daemon = daemon
        self._data_dir = data_dir
        self._proc = Path("/proc") / str(daemon.process.pid)
        self._asking = trio.Lock()

    async def ask(self, question: str) -> dict[str, Any]:
        """An answer from the inside (tests/torture/observed.py)."""
        async with self._asking:
            return await trio.to_thread.run_sync(self.ask_now, question)

    def ask_now(self, question: str) -> dict[str, Any]:
        """The same, for who has no event loop."""
        assert self._daemon.process.stdin is not None
        assert self._daemon.process.stdout is not None
        self._daemon.process.stdin.write(question + "\n")
        self._daemon.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._daemon.process.stdout.readline())
        return answer

    def rss_bytes(self) -> int:
        """Memory that the process holds."""
        return int((self._proc / "statm").read_text().split()[1]) * _PAGE

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def descriptors(self) -> list[str]:
        """What each open file descriptor is."""
        found = []
        for link in (self._proc / "fd").iterdir():
            try:
                found.append(os.readlink(link).partition(":[")[0])
            except FileNotFoundError:
                continue  # closed meanwhile
        return sorted(found)

    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        try:
            return (self._data_dir / "collabd.sqlite3-wal").stat().st_size
        except FileNotFoundError:
            return 0


@dataclass
class Samples:
    """Figures over time, oldest first."""

    rss: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    wal: list[int] = field(default_factory=list)

    async def take(self, window: Window, every_s: float) -> None:
        """Sample until cancelled."""
        while True:
            inside = await window.ask("look")
            self.blocks.append(inside["blocks"])
            self.rss.append(window.rss_bytes())
            self.wal.append(window.wal_bytes())
            await trio.sleep(every_s)


def by_thirds(values: list[int]) -> tuple[int, int, int]:
    """The median of each third, the first being the one in which a process warms up."""
    third = max(1, len(values) // 3)
    return (
        round(median(values[:third])),
        round(median(values[third:-third] or values)),
        round(median(values[-third:])),
    )


def check_flat(name: str, values: list[int], *, share: float, least: int) -> None:
    """The last third may be above the middle one by a share of it, and by `least` at any rate. Raises Broken."""
    _, middle, last = by_thirds(values)
    if last - middle > max(share * middle, least):
        raise Broken(f"{name} grows: {by_thirds(values)} by thirds")


def check_given_back(first: int, second: int, *, share: float, least: int) -> None:
    """Blocks that are there when all is quiet again: after two halves little more than after one. Raises Broken."""
    if second - first > max(share * first, least):
        raise Broken(
            f"memory is left over: {first} Python blocks when all was quiet after one half, {second} after two"
        )


async def wait_given_back(window: Window, tasks: int, descriptors: list[str], seconds: float) -> dict[str, Any]:
    """Wait until no more tasks and descriptors are there than before the load. Raises Broken."""
    now: dict[str, Any] = {}
    with trio.move_on_after(seconds) as limit:
        while True:
            now = {**await window.ask("look"), "descriptors": window.descriptors()}
            if now["tasks"] <= tasks and len(_others(now["descriptors"])) <= len(_others(descriptors)):
                break
            await trio.sleep(0.5)
    if limit.cancelled_caught or len(now["descriptors"]) - len(_others(now["descriptors"])) > _DATABASE_DESCRIPTORS:
        raise Broken(f"left over after {seconds:g} s: {now}; before there were {tasks} tasks and {descriptors}")
    return now


def _others(descriptors: list[str]) -> list[str]:
    """Without the database's, since readers are opened when two are first needed at once."""
    return [name for name in descriptors if "/collabd.sqlite3" not in name]
