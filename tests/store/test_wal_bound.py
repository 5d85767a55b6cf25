"""The write-ahead log stays short whatever is committed and read meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from collabd.figures import WAL_BYTES
from collabd.hub.committer import MAX_BATCH_BYTES
from collabd.store.opening import open_reader
from collabd.store.sqlite import SqliteStore, open_store
from tests.store.support import RUN, database_file, event

COMMITS = WAL_BYTES // MAX_BATCH_BYTES + 4
"""More in all than the log may be long."""

LARGEST_BATCH = [event(data=b'"%s"' % (b"x" * (MAX_BATCH_BYTES // 64)))] * 64


async def lengths_of(store: SqliteStore, commits: int) -> list[int]:
    """The length of the log after each of so many of the largest commits."""
    lengths = []
    for _ in range(commits):
        await store.append(LARGEST_BATCH)
        lengths.append(store.disk_usage().wal_bytes)
    return lengths


@pytest.mark.slow
async def test_the_largest_commits_and_readers_that_never_rest_keep_the_log_below_its_bound(tmp_path: Path) -> None:
    """Each read begins and ends between two commits or during one; none keeps the log from beginning anew for long."""
    async with open_store(tmp_path, synchronous="normal", retention=64) as store, trio.open_nursery() as nursery:

        async def read_on() -> None:
            while True:
                await store.read(RUN, first=1, limit=4)

        nursery.start_soon(read_on)
        nursery.start_soon(read_on)
        lengths = await lengths_of(store, COMMITS)
        nursery.cancel_scope.cancel()
    assert sum(len(event.data) for event in LARGEST_BATCH) * COMMITS > WAL_BYTES
    assert max(lengths) <= WAL_BYTES


@pytest.mark.slow
async def test_a_transaction_that_does_not_end_is_what_makes_the_log_grow(tmp_path: Path) -> None:
    """So the figure that the alert looks at shows it, and it shrinks when the reader is gone."""
    async with open_store(tmp_path, synchronous="normal", retention=64) as store:
        await store.append([event()])
        with closing(open_reader(database_file(tmp_path))) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM ai_run").fetchone()
            grown = await lengths_of(store, 4)
            assert grown == sorted(grown)
            assert grown[-1] > 3 * MAX_BATCH_BYTES
        with trio.fail_after(60):
            while store.disk_usage().wal_bytes >= grown[-1]:
                await store.append([event()])
                await trio.sleep(0.01)
        assert sqlite3.connect(database_file(tmp_path)).execute("PRAGMA quick_check").fetchone() == ("ok",)
