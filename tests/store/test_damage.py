from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from collabd.errors import DamagedEvent, StorageUnavailable
from collabd.store.interface import StoredEvent
from collabd.store.opening import open_reader
from collabd.store.reading import Query, read_critical_flags, read_newest, read_page, read_run_state
from collabd.store.sqlite import open_store
from tests.store.support import RUN, MemoryLog, database_file, event

MESSAGES = "persisted_collaboration_messages"


def log_of_five() -> MemoryLog:
    """Five events, and one kept as state."""
    log = MemoryLog(retention=5)
    log.append([event(str(n), data=b'{"n":"%d"}' % n, state_key="k") for n in range(6)])
    return log


@pytest.mark.parametrize(
    "change",
    [
        "user_id = 'user_2'",
        "event_type = 'FLAG'",
        "timestamp = timestamp + 1",
        "is_critical = 0",
        "is_critical = 3",
        "client_message_id = NULL",
        "state_key = 'l'",
        "checksum = checksum + 1",
        "message_data = replace(message_data, 'n', 'm')",
        "message_data = CAST(x'22ff22' AS TEXT)",
        "message_data = CAST(x'220022' AS TEXT)",
        "message_data = x'2222'",
        "message_data = 7",
        "user_id = x'00'",
    ],
)
def test_an_altered_row_is_refused_by_number(change: str) -> None:
    """Whatever column was altered, with whatever type, the event is not handed out, and is named."""
    log = log_of_five()
    log.connection.execute(f"UPDATE {MESSAGES} SET {change} WHERE sequence_number = 4")
    log.connection.execute(f"UPDATE kept_run_state SET {change}")
    with pytest.raises(DamagedEvent) as damaged:
        log.page()
    assert (damaged.value.run_id, damaged.value.sequence_number) == (RUN, 4)
    with pytest.raises(DamagedEvent, match="event 4 of"):
        read_newest(log.connection, RUN, 1000)
    with pytest.raises(DamagedEvent, match="event 1 of"):
        read_run_state(log.connection, RUN)


def test_a_damaged_event_harms_no_page_without_it() -> None:
    """The rest of the run is served."""
    log = log_of_five()
    log.connection.execute(f"UPDATE {MESSAGES} SET user_id = 'x' WHERE sequence_number = 4")
    assert [e.sequence_number for e in read_page(log.connection, Query(RUN, 2, 3)).events] == [2, 3]
    assert [e.sequence_number for e in read_page(log.connection, Query(RUN, 5)).events] == [5, 6]


@pytest.mark.parametrize("number", [3, 4])
def test_a_missing_row_is_damage(number: int) -> None:
    """A hole in the numbers is never handed out as a whole history."""
    log = log_of_five()
    log.connection.execute(f"DELETE FROM {MESSAGES} WHERE sequence_number = ?", (number,))
    for read in (lambda: log.page(), lambda: read_newest(log.connection, RUN, 1000)):
        with pytest.raises(DamagedEvent, match=f"event {number} of"):
            read()
    with pytest.raises(DamagedEvent, match=f"event {number} of"):
        read_critical_flags(log.connection, RUN)


async def a_database(data_dir: Path) -> dict[int, StoredEvent]:
    """A database with a hundred different events."""
    async with open_store(data_dir) as store:
        await store.append(
            [
                event(
                    f"id-{n}", user_id=f"user_{n % 7}", data=b'{"n":%d,"s":"%s"}' % (n, b"x" * n), is_critical=n % 3 > 0
                )
                for n in range(100)
            ]
        )
        return {stored.sequence_number: stored for stored in (await store.read(RUN, first=1)).events}


@pytest.mark.slow
async def test_no_flipped_bit_ever_alters_an_event(tmp_path: Path) -> None:
    """Of 600 flips anywhere in the file, none makes a read give an event that was not written."""
    written = await a_database(tmp_path)
    content = database_file(tmp_path).read_bytes()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    caught = sum(read_with_a_flip(content, dice.randrange(len(content) * 8), written) for _ in range(600))
    assert caught > 20


def read_with_a_flip(content: bytes, bit: int, written: dict[int, StoredEvent]) -> bool:
    """Whether the damage was told; everything that is read is what was written."""
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    # The two bytes that say "write-ahead log" in the header, which a database in memory cannot be.
    flipped[18:20] = b"\1\1"
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.text_factory = bytes
    try:
        connection.deserialize(bytes(flipped))
        for query in (Query(RUN, 1), Query(RUN, 1, critical_only=True), Query(RUN, 40, 60, max_bytes=500)):
            for stored in read_page(connection, query).events:
                assert stored == written[stored.sequence_number]
    except (DamagedEvent, StorageUnavailable, sqlite3.Error):
        return True
    finally:
        connection.close()
    return False


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    """Only one connection writes: SQLite itself refuses the others."""
    connection = sqlite3.connect(database_file(tmp_path))
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    reader = open_reader(database_file(tmp_path))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("INSERT INTO t VALUES (1)")
    reader.close()
