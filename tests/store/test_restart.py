from __future__ import annotations

from pathlib import Path

import pytest

from collabd.auth import Revocation
from collabd.store import journal
from collabd.store.interface import Outcome
from collabd.store.sqlite import open_store
from tests.store.support import OTHER_RUN, RUN, MemoryLog, event, events


async def test_a_restart_goes_on_where_the_log_ended(tmp_path: Path) -> None:
    """Numbers, known ids, kept state, runs and the epoch are those of the store before."""
    async with open_store(tmp_path, retention=2) as store:
        epoch = store.epoch
        await store.append([event("a", state_key="x"), event(state_key="x"), event(), event()])
        runs, state = await store.runs(limit=9), await store.run_state(RUN)
    async with open_store(tmp_path, retention=2) as store:
        assert store.epoch == epoch
        assert (await store.runs(limit=9), await store.run_state(RUN)) == (runs, state)
        result = await store.append([event("a", state_key="x"), event("b")])
        assert result.outcomes == [Outcome(1, duplicate=True), Outcome(5)]
        assert result.oldest == {RUN: 4}


async def test_a_revocation_outlives_a_restart(tmp_path: Path) -> None:
    """A token that was revoked is not good again because the daemon was restarted."""
    async with open_store(tmp_path) as store:
        await store.revoke(Revocation("jti", "a", 1))
    async with open_store(tmp_path) as store:
        assert await store.revocations() == [Revocation("jti", "a", 1)]


async def test_a_lowered_retention_trims_at_the_runs_next_commit(tmp_path: Path) -> None:
    """All that is too many goes in one commit, its state is kept, and a run that is quiet is left alone."""
    async with open_store(tmp_path, retention=500) as store:
        await store.append([event(state_key=str(n % 3)) for n in range(400)] + events(400, run_id=OTHER_RUN))
    async with open_store(tmp_path, retention=5) as store:
        assert (await store.append([event()])).oldest == {RUN: 397}
        assert len((await store.read(RUN, first=1)).events) == 5
        assert [kept.sequence_number for kept in await store.run_state(RUN)] == [394, 395, 396]
        assert len((await store.read(OTHER_RUN, first=1)).events) == 400


async def test_a_raised_retention_keeps_more_from_then_on(tmp_path: Path) -> None:
    """What was trimmed does not come back; nothing more is trimmed until there is too much."""
    async with open_store(tmp_path, retention=2) as store:
        await store.append(events(5))
    async with open_store(tmp_path, retention=4) as store:
        assert [(await store.append([event()])).oldest for _ in range(3)] == [{RUN: 4}, {RUN: 4}, {RUN: 5}]


def test_heads_that_are_not_in_memory_come_from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's memory is bounded in runs; a run that fell out of it goes on where it was."""
    monkeypatch.setattr(journal, "_HEADS_KEPT", 3)
    log = MemoryLog(retention=2)
    for round_ in range(3):
        for run in range(10):
            result = log.append([event(run_id=f"run-{run}")])
            assert result.outcomes == [Outcome(round_ + 1)]
            assert len(log.state.heads) <= 4
