"""Soak: rooms full of people for an hour (a minute in CI), judged all the time, and nothing left over at the end.

    python -m tests.torture soak [--seconds 3600] [--rooms 6] [--seed S]

Law of this file: the daemon is the real process; what it takes of the machine is sampled from its start to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final

import trio

from tests.support.daemon import Daemon, running_daemon
from tests.torture.oracle import Broken
from tests.torture.room import Room
from tests.torture.watch import OBSERVED, Samples, Window, by_thirds, check_flat, check_given_back, wait_given_back

SETTINGS: Final = {
    "EVENTS__PERSISTED_EVENT_TYPES": '["NOTE"]',
    "STORAGE__MAX_PERSISTED_MESSAGES_PER_RUN": "100",  # trimming goes on all the time
    "STORAGE__DEDUPE_WINDOW_S": "60",  # and so does forgetting ids
    "RUNS__IDLE_CLOSE_S": "1",
    "PRESENCE__GRACE_S": "2",
    "LIMITS__MESSAGES_PER_SECOND": "0",
    "LIMITS__BYTES_PER_SECOND": "0",
    "LOGGING__LEVEL": "warning",
}

WAL_MAX_BYTES: Final = 64 * 1024 * 1024

STALE: Final = "/api/admin/websocket/cleanup-stale?maxAgeMs="

MORE_BLOCKS: Final = (0.03, 8_000)
"""How many more Python blocks may be left over by the second half than by the first: as a share, and at any rate."""

MORE_RSS: Final = (0.25, 24 * 1024 * 1024)
"""The same for the process, in bytes, from the middle third of the time to the last. Loose, since what is under way
counts here, and with it how busy the machine is."""

_QUIET_S: Final = 3.0
"""Longer than runs.idle_close_s and the grace: every round begins with a run that is loaded from the log."""


async def soak(seconds: float, rooms: int, seed: int, data_dir: Path) -> dict[str, Any]:
    """Run a soak; answers its figures. Raises Broken, or whatever a client did not expect."""
    with running_daemon(data_dir, SETTINGS, command=OBSERVED) as daemon:
        window = Window(daemon, data_dir)
        random = Random(seed)
        await _warm_up(daemon, Random(seed + 1))
        before = await window.ask("look")
        descriptors = window.descriptors()
        samples, people = Samples(), [_room(daemon, number, random) for number in range(rooms)]
        started, cpu = trio.current_time(), window.cpu_seconds()
        left = []
        for half in (1, 2):
            await _live_together(window, daemon, samples, people, started + seconds * half / 2, random)
            await trio.to_thread.run_sync(daemon.request, f"{STALE}0", None, "POST")
            after = await wait_given_back(window, before["tasks"], descriptors, 60)
            left.append(after["blocks"])
        took, cpu = trio.current_time() - started, window.cpu_seconds() - cpu
        report = _report(took, cpu, people, samples)
        report |= {"tasks": [before["tasks"], after["tasks"]]}
        report |= {"descriptors": [len(descriptors), len(after["descriptors"])]}
        report |= {"Python blocks left over": [before["blocks"], *left]}
        _check(samples, left, daemon, report)
        report["exit"] = await trio.to_thread.run_sync(daemon.stop)
    if report["exit"] != 0:
        raise Broken(f"the daemon left with {report['exit']}: {daemon.log.read_text()[-2000:]}")
    return report


def _room(daemon: Daemon, number: int, random: Random) -> Room:
    return Room(daemon.port, f"room{number}", Random(random.getrandbits(64)), slower=number % 3 == 2)


async def _warm_up(daemon: Daemon, random: Random) -> None:
    """One short round of everything, so that what is opened once is open before anything is counted."""
    async with trio.open_nursery() as nursery:
        for number in (1, 2):
            nursery.start_soon(_room(daemon, number, random).round, 2)
    await trio.sleep(_QUIET_S + 2)


async def _live_together(
    window: Window, daemon: Daemon, samples: Samples, people: list[Room], until: float, random: Random
) -> None:
    """Everybody lives until then, watched; all is quiet afterwards."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(samples.take, window, 0.5 if until - trio.current_time() < 300 else 5)
        nursery.start_soon(_forget_old_figures, daemon)
        async with trio.open_nursery() as busy:
            for room in people:
                busy.start_soon(_live, room, until, Random(random.getrandbits(64)))
        nursery.cancel_scope.cancel()


async def _live(room: Room, until: float, random: Random) -> None:
    """Rounds of different length with quiet in between, in which the run leaves memory."""
    await trio.sleep(random.random() * _QUIET_S)
    while trio.current_time() < until:
        await room.round(min(random.uniform(5, 20), max(1.0, until - trio.current_time())))
        await trio.sleep(random.uniform(0, 2 * _QUIET_S))


async def _forget_old_figures(daemon: Daemon) -> None:
    """What an operator would have a timer do, so that figures of those who are gone are no growth."""
    while True:
        await trio.sleep(5)
        status, answer = await trio.to_thread.run_sync(daemon.request, f"{STALE}5000", None, "POST")
        if status != 200:
            raise Broken(f"cleaning up: {status} {answer}")


def _report(took: float, cpu: float, people: list[Room], samples: Samples) -> dict[str, Any]:
    done = sum((room.totals() for room in people), Counter[str]())
    return {
        "seconds": round(took, 1),
        "done": dict(done),
        "cpu share of one core": round(cpu / took, 3),
        "rss MiB by thirds": [round(value / 2**20, 1) for value in by_thirds(samples.rss)],
        "Python blocks by thirds": by_thirds(samples.blocks),
        "largest WAL MiB": round(max(samples.wal) / 2**20, 2),
    }


def _check(samples: Samples, left: list[int], daemon: Daemon, report: dict[str, Any]) -> None:
    print(json.dumps(report), flush=True)
    check_flat("memory (RSS)", samples.rss, share=MORE_RSS[0], least=MORE_RSS[1])
    check_given_back(*left, share=MORE_BLOCKS[0], least=MORE_BLOCKS[1])
    if max(samples.wal) > WAL_MAX_BYTES:
        raise Broken(f"the write-ahead log grew to {max(samples.wal)} bytes")
    if lines := daemon.log.read_text():
        raise Broken(f"the daemon warned: {lines[:2000]}")


def main(arguments: list[str]) -> int:
    """Run the long form, and print its figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--rooms", type=int, default=6)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args(arguments)
    print(f"soak: --seconds {options.seconds:g} --rooms {options.rooms} --seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="collabd-soak-") as place:
        os.chmod(place, 0o700)
        broken: list[str] = []
        try:
            trio.run(soak, options.seconds, options.rooms, options.seed, Path(place) / "data")
        except* Broken as group:
            broken = _leaves(group)
    if broken:
        print("BROKEN:", *broken, f"seed {options.seed}", sep="\n  ", file=sys.stderr)
        return 1
    print("soak: everything held")
    return 0


def _leaves(group: BaseExceptionGroup[Broken]) -> list[str]:
    found: list[str] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
    return found
