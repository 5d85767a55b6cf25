"""A writer whose every write and sync is recorded: the store's own functions, one after the other on one thread.

    python -m tests.torture.power_writer DIRECTORY full|normal SEED

Each line that it says, `acked COUNT`, comes after the commit of so many events in all. It commits batches of several
sizes, trims, moves the write-ahead log at times, and stops and starts in between.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random
from typing import Final, Literal, cast

from collabd.store.interface import NewEvent
from collabd.store.journal import Limits, append
from collabd.store.opening import close_database, open_database

RUN: Final = "6c0a1c9e-3b53-4d3f-9d2a-6f7a52b9a001"
KEPT: Final = 40
BATCHES: Final = 45
LIMITS: Final = Limits(KEPT, 86_400_000)
NOW_MS: Final = 1_732_350_000_000


def event(number: int) -> NewEvent:
    """The event that gets this number."""
    text = "x" * (number * 37 % 1900)
    data = f'{{"after":"K{number % 5}","n":{number},"text":"{text}"}}'.encode()
    return NewEvent(RUN, "ann", "GRAFT", data, NOW_MS + number, number % 3 > 0, f"m{number}", f"K{number % 5}")


def main(data_dir: Path, synchronous: Literal["full", "normal"], seed: int) -> None:
    """Write, and say what is safe."""
    dice = Random(seed)
    database = open_database(data_dir, synchronous=synchronous, now_ms=NOW_MS)
    os.write(1, b"epoch %s\n" % database.epoch.encode())
    written = 0
    for batch in range(BATCHES):
        size = dice.choice((1, 1, 2, 3, 7, 30))
        events = [event(number) for number in range(written + 1, written + size + 1)]
        append(database.writer, database.state, events, LIMITS, NOW_MS)
        database.write_mark()
        written += size
        os.write(1, b"acked %d\n" % written)
        if batch % 12 == 11:
            database.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if batch == BATCHES * 2 // 3:
            close_database(database)
            database = open_database(data_dir, synchronous=synchronous, now_ms=NOW_MS)
    close_database(database)


if __name__ == "__main__":
    main(Path(sys.argv[1]), cast(Literal["full", "normal"], sys.argv[2]), int(sys.argv[3]))
