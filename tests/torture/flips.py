"""Bits that flip on the disk while the daemon is down: whatever is altered is never handed out as if it were whole.

Each cycle flips one bit of the database or its write-ahead log, as kill -9 left them, and has the real store open it:
it refuses with words, begins a new epoch, names the damaged event, or gives exactly what was written.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory
from typing import Final

from collabd.errors import DatabaseUnusable, StorageUnavailable
from collabd.store.journal import append
from collabd.store.opening import DATABASE_NAME, close_database, open_database, open_reader, wal_path
from collabd.store.reading import UNREADABLE, Query, read_page
from tests.torture.power_writer import KEPT, LIMITS, NOW_MS, RUN, event

EVENTS: Final = 200
SILENT: Final = "an altered history, and not a word"


def written(place: Path) -> dict[str, bytes]:
    """The files of a store that was killed: half of its history in the database, half in the write-ahead log."""
    database = open_database(place, synchronous="full", now_ms=NOW_MS)
    for first in range(1, EVENTS, 10):
        append(database.writer, database.state, [event(n) for n in range(first, first + 10)], LIMITS, NOW_MS)
        database.write_mark()
        if first == EVENTS // 2 + 1:
            database.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    files = {file.name: file.read_bytes() for file in place.iterdir() if not file.name.endswith(("-shm", ".lock"))}
    files["epoch"] = database.epoch.encode()
    close_database(database)
    return files


def open_flipped(files: dict[str, bytes], name: str, bit: int, data_dir: Path) -> str:
    """What the real store makes of a flipped bit, in a few words."""
    data_dir.mkdir(mode=0o700)
    for file, content in files.items():
        flipped = bytearray(content)
        if file == name:
            flipped[bit // 8] ^= 1 << bit % 8
        (data_dir / file).touch(0o600)
        (data_dir / file).write_bytes(flipped)
    try:
        database = open_database(data_dir, synchronous="normal", now_ms=NOW_MS)
    except DatabaseUnusable:
        return "refused"
    try:
        with closing(open_reader(data_dir / DATABASE_NAME)) as reader:
            events = read_page(reader, Query(RUN, 1)).events
    except (StorageUnavailable, *UNREADABLE):
        return "the event named"
    finally:
        close_database(database)
    if any(stored.data != event(stored.sequence_number).data for stored in events):
        return SILENT
    if database.epoch.encode() != files["epoch"]:
        return "a new epoch"
    whole = [stored.sequence_number for stored in events] == list(range(EVENTS - KEPT + 1, EVENTS + 1))
    return "nothing altered" if whole else SILENT


def torture(flips: int, seed: int, place: Path) -> Counter[str]:
    """So many flips, half of them in each file; how often which answer came."""
    dice, answers = Random(seed), Counter[str]()
    files = written(place / "written")
    names = [DATABASE_NAME, wal_path(Path(DATABASE_NAME)).name]
    for number in range(flips):
        name = names[number % 2]
        answers[open_flipped(files, name, dice.randrange(len(files[name]) * 8), place / "flipped")] += 1
        shutil.rmtree(place / "flipped")
    return answers


def main(arguments: list[str]) -> int:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture flips", description=__doc__)
    parser.add_argument("--flips", type=int, default=400, help="bits to flip (400)")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32), help="repeats what it draws")
    asked = parser.parse_args(arguments)
    print(f"seed {asked.seed}", flush=True)
    logging.disable()
    with TemporaryDirectory(prefix="collabd-flips-") as place:
        answers = torture(asked.flips, asked.seed, Path(place))
    print(f"{asked.flips} flips: {', '.join(f'{count} × {answer}' for answer, count in answers.most_common())}")
    return 1 if answers[SILENT] else 0
