from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from collabd.auth import Revocation
from collabd.store.interface import Outcome, Store
from tests.store.support import OTHER_RUN, RUN, HandClock, event, events

if TYPE_CHECKING:
    from tests.store.conftest import OpenStore


async def numbers(store: Store, run_id: str = RUN) -> list[int]:
    """The retained numbers of a run."""
    return [stored.sequence_number for stored in (await store.read(run_id, first=1)).events]


async def test_numbers_are_gapless_per_run(open_any: OpenStore) -> None:
    """Each run counts from 1 by itself, however its events are mixed with those of others."""
    async with open_any() as store:
        result = await store.append([event(), event(run_id=OTHER_RUN), event()])
        assert [outcome.sequence_number for outcome in result.outcomes] == [1, 1, 2]
        assert (await store.append([event(run_id=OTHER_RUN)])).outcomes == [Outcome(2)]
        assert result.oldest == {RUN: 1, OTHER_RUN: 1}


async def test_an_event_is_read_as_it_was_written(open_any: OpenStore) -> None:
    """Every field comes back, the data byte for byte."""
    data = '{"after" : 1.0, "n":12345678901234567890,\n"s":"\u2028 \x7f 😀"}'.encode()
    new = event("id-1", user_id="zoë", event_type="NOTE", data=data, timestamp=7, is_critical=False)
    async with open_any() as store:
        await store.append([new])
        (stored,) = (await store.read(RUN, first=1)).events
    assert (stored.sequence_number, stored.user_id, stored.event_type, stored.data) == (1, "zoë", "NOTE", data)
    assert (stored.timestamp, stored.is_critical, stored.client_message_id) == (7, False, "id-1")


async def test_a_message_that_comes_again_is_the_event_it_was(open_any: OpenStore) -> None:
    """The same id with the same content gets the same number and makes no second event."""
    async with open_any() as store:
        await store.append([event(), event("a")])
        assert (await store.append([event("a")])).outcomes == [Outcome(2, duplicate=True)]
        assert await numbers(store) == [1, 2]


async def test_a_message_twice_in_one_batch_is_one_event(open_any: OpenStore) -> None:
    """Once-only holds within a commit too, and the events around it keep their order."""
    async with open_any() as store:
        result = await store.append([event("a"), event("a"), event("b")])
        assert result.outcomes == [Outcome(1), Outcome(1, duplicate=True), Outcome(2)]


async def test_a_known_message_in_a_large_batch_costs_no_other_its_place(open_any: OpenStore) -> None:
    """However many messages come before and after one that is known, each of the others is kept."""
    async with open_any() as store:
        await store.append([event("known")])
        ids = [f"id-{number}" for number in range(600)]
        outcomes = (await store.append([event(name) for name in [*ids[:500], "known", *ids[500:]]])).outcomes
        assert [outcome for outcome in outcomes if outcome.duplicate] == [Outcome(1, duplicate=True)]
        page = await store.read(RUN, first=1)
        assert [stored.client_message_id for stored in page.events] == ["known", *ids]
        assert [stored.sequence_number for stored in page.events] == list(range(1, 602))


async def test_an_id_with_other_content_is_refused(open_any: OpenStore) -> None:
    """Other data or another type under a known id writes nothing, in a later batch and in the same."""
    async with open_any() as store:
        first = await store.append([event("a", data=b"1"), event("a", data=b"2"), event("a", event_type="FLAG")])
        assert first.outcomes == [Outcome(1), Outcome(0, reused=True), Outcome(0, reused=True)]
        assert (await store.append([event("a", data=b"2")])).outcomes == [Outcome(0, reused=True)]
        assert await numbers(store) == [1]


async def test_an_id_names_a_message_of_one_user_in_one_run(open_any: OpenStore) -> None:
    """Another user's id, or the same in another run, is another message."""
    async with open_any() as store:
        result = await store.append([event("a"), event("a", user_id="user_2"), event("a", run_id=OTHER_RUN)])
        assert result.outcomes == [Outcome(1), Outcome(2), Outcome(1)]


async def test_events_without_an_id_are_never_duplicates(open_any: OpenStore) -> None:
    """Who gives no id gets no such promise."""
    async with open_any() as store:
        assert (await store.append([event(), event()])).outcomes == [Outcome(1), Outcome(2)]


async def test_exactly_the_newest_events_are_retained(open_any: OpenStore) -> None:
    """Each commit trims its runs to the retention, also a batch larger than that, and others not at all."""
    async with open_any(retention=3) as store:
        await store.append(events(2, run_id=OTHER_RUN))
        assert (await store.append(events(2))).oldest == {RUN: 1}
        assert (await store.append(events(2))).oldest == {RUN: 2}
        assert await numbers(store) == [2, 3, 4]
        assert (await store.append(events(7))).oldest == {RUN: 9}
        assert await numbers(store) == [9, 10, 11]
        assert await numbers(store, OTHER_RUN) == [1, 2]


async def test_a_trimmed_message_is_still_known_by_its_id(open_any: OpenStore) -> None:
    """A busy run trims faster than a client's backoff comes round."""
    async with open_any(retention=1) as store:
        await store.append([event("a"), event(), event()])
        assert (await store.append([event("a")])).outcomes == [Outcome(1, duplicate=True)]


async def test_ids_are_forgotten_after_the_window_and_not_before(open_any: OpenStore, clock: HandClock) -> None:
    """Past the window the id of a trimmed event is free again; within it, it is not."""
    async with open_any(retention=1, dedupe_window_s=3600) as store:
        await store.append([event("a"), event()])
        clock.now_ms += 3_599_000
        assert (await store.append([event("a"), event()])).outcomes[0] == Outcome(1, duplicate=True)
        clock.now_ms += 200_000
        await store.append([event()])
        assert (await store.append([event("a")])).outcomes == [Outcome(5)]


async def test_the_id_of_a_retained_event_is_never_forgotten(open_any: OpenStore, clock: HandClock) -> None:
    """In a quiet run an id holds as long as its event, whatever the window."""
    async with open_any(dedupe_window_s=1) as store:
        await store.append([event("a")])
        for _ in range(3):
            clock.now_ms += 86_400_000
            await store.append(events(1, run_id=OTHER_RUN))
        assert (await store.append([event("a")])).outcomes == [Outcome(1, duplicate=True)]


async def test_trimmed_state_is_kept_by_its_newest_event(open_any: OpenStore) -> None:
    """Of each (type, key) the newest trimmed event stays, oldest first; what is retained is not repeated."""
    async with open_any(retention=1) as store:
        batch = [event(state_key="x", data=b"1"), event(state_key="y", data=b"2"), event(state_key="x", data=b"3")]
        flag = event(event_type="FLAG", state_key="x", data=b"4")
        result = await store.append([*batch, flag, event(state_key="y", data=b"5")])
        assert result.state_changed == {RUN}
        kept = await store.run_state(RUN)
        assert [(stored.sequence_number, stored.data) for stored in kept] == [(2, b"2"), (3, b"3"), (4, b"4")]
        await store.append([event(data=b"6")])
        assert [stored.sequence_number for stored in await store.run_state(RUN)] == [3, 4, 5]


async def test_trimming_what_is_no_state_changes_no_state(open_any: OpenStore) -> None:
    """Events without a state key are gone when they are trimmed, and nobody is told of a change."""
    async with open_any(retention=1) as store:
        assert (await store.append(events(3))).state_changed == frozenset()
        assert await store.run_state(RUN) == []


async def test_an_unknown_run_is_empty_and_stays_unknown(open_any: OpenStore) -> None:
    """Reading makes no run."""
    async with open_any() as store:
        assert await store.head(RUN) is None
        page = await store.read(RUN, first=1, count=True)
        assert (page.events, page.total, page.oldest, page.complete) == ([], 0, 1, True)
        assert await store.read_newest(RUN, max_bytes=1000) == []
        assert await store.critical_flags(RUN) == b""
        assert await store.run_state(RUN) == []
        assert await store.runs(limit=10) == []
        assert await store.run_count() == 0


async def test_a_head_says_where_the_log_stands(open_any: OpenStore, clock: HandClock) -> None:
    """A run is created with its first event; its head and oldest number follow its log."""
    created = clock.now_ms
    async with open_any(retention=2) as store:
        await store.append(events(1))
        clock.now_ms += 1000
        await store.append(events(4))
        head = await store.head(RUN)
    assert head is not None
    assert (head.run_id, head.created_at, head.head, head.oldest) == (RUN, created, 5, 4)


async def test_a_head_says_when_the_newest_event_was(open_any: OpenStore) -> None:
    """What a list of runs shows as the last thing that happened, whatever was trimmed; of an event, not of a commit."""
    async with open_any(retention=1) as store:
        await store.append([event(timestamp=1_000 + n) for n in range(3)])
        head = await store.head(RUN)
        assert head is not None
        assert head.last_event_at == 1_002
        assert [run.last_event_at for run in await store.runs(limit=10)] == [1_002]


async def test_runs_are_listed_by_their_newest_event(open_any: OpenStore) -> None:
    """The run in which something happened last stands first, and no more than the limit; all of them are counted."""
    async with open_any() as store:
        await store.append([event(timestamp=1_000), event(timestamp=1_001)])
        await store.append([event(timestamp=1_002, run_id=OTHER_RUN)])
        assert [(run.run_id, run.head) for run in await store.runs(limit=10)] == [(OTHER_RUN, 1), (RUN, 2)]
        await store.append([event(timestamp=1_003)])
        assert [(run.run_id, run.head) for run in await store.runs(limit=10)] == [(RUN, 3), (OTHER_RUN, 1)]
        assert [run.run_id for run in await store.runs(limit=1)] == [RUN]
        assert await store.run_count() == 2


async def test_a_range_is_read_with_its_bounds(open_any: OpenStore) -> None:
    """First and last belong to the range; a range beyond the log is empty."""
    async with open_any() as store:
        await store.append(events(6))
        assert [e.sequence_number for e in (await store.read(RUN, first=2, last=4)).events] == [2, 3, 4]
        assert (await store.read(RUN, first=7)).events == []
        assert (await store.read(RUN, first=5, last=3)).events == []


async def test_a_page_says_how_much_there_was(open_any: OpenStore) -> None:
    """A limit cuts the list and not the count, and a cut page says that it is."""
    async with open_any(retention=5) as store:
        await store.append(events(7))
        page = await store.read(RUN, first=1, limit=2, count=True)
        assert [e.sequence_number for e in page.events] == [3, 4]
        assert (page.total, page.oldest, page.complete) == (5, 3, False)
        rest = await store.read(RUN, first=5, limit=3, count=True)
        assert (len(rest.events), rest.total, rest.complete) == (3, 3, True)
        assert (await store.read(RUN, first=5)).total == 0


async def test_a_page_fits_its_bytes_or_is_one_event(open_any: OpenStore) -> None:
    """Data beyond max_bytes waits for the next page; an event too large for any page comes alone."""
    async with open_any() as store:
        await store.append([event(data=b'"%s"' % (b"x" * size)) for size in (98, 98, 398, 98)])
        fits = await store.read(RUN, first=1, max_bytes=200)
        assert ([e.sequence_number for e in fits.events], fits.complete) == ([1, 2], False)
        large = await store.read(RUN, first=3, max_bytes=200)
        assert ([e.sequence_number for e in large.events], large.complete) == ([3], False)
        assert (await store.read(RUN, first=4, max_bytes=200)).complete


async def test_events_are_filtered_by_type_and_weight(open_any: OpenStore) -> None:
    """Only matching events are given and counted, and the limit counts those."""
    async with open_any() as store:
        await store.append([event(), event(event_type="NOTE", is_critical=False), event(event_type="FLAG"), event()])
        critical = await store.read(RUN, first=1, critical_only=True, limit=2, count=True)
        assert ([e.sequence_number for e in critical.events], critical.total) == ([1, 3], 3)
        notes = await store.read(RUN, first=1, event_type="NOTE", count=True)
        assert ([e.sequence_number for e in notes.events], notes.total, notes.complete) == ([2], 1, True)
        assert (await store.read(RUN, first=1, event_type="NOTE", critical_only=True)).events == []


async def test_the_newest_events_fill_a_memory(open_any: OpenStore) -> None:
    """As many as fit, counted back from the head, in order; none when the newest alone is too large."""
    async with open_any() as store:
        await store.append([event(data=b'"%s"' % (b"x" * 98)) for _ in range(5)])
        assert [e.sequence_number for e in await store.read_newest(RUN, max_bytes=350)] == [3, 4, 5]
        assert await store.read_newest(RUN, max_bytes=99) == []


async def test_critical_flags_follow_the_log(open_any: OpenStore) -> None:
    """One byte for each retained event, the oldest first."""
    async with open_any(retention=3) as store:
        await store.append([event(is_critical=critical) for critical in (True, True, False, True)])
        assert await store.critical_flags(RUN) == b"\x01\x00\x01"


async def test_nothing_to_append_is_nothing(open_any: OpenStore) -> None:
    """An empty batch is a commit of nothing."""
    async with open_any() as store:
        result = await store.append([])
        assert (result.outcomes, result.oldest, result.state_changed) == ([], {}, frozenset())


async def test_a_commit_that_has_begun_is_not_cancelled(open_any: OpenStore) -> None:
    """Whoever is cancelled while a commit runs has either the whole of it or nothing."""
    async with open_any() as store:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.append, events(300))
                await trio.lowlevel.checkpoint()
                scope.cancel()
        assert len((await store.read(RUN, first=1)).events) in (0, 300)


async def test_a_store_has_an_epoch(open_any: OpenStore) -> None:
    """The epoch can stand in a query as it is."""
    async with open_any() as store:
        assert store.epoch.isalnum()


async def test_a_revocation_is_kept(open_any: OpenStore) -> None:
    """By user or by token id, whatever text names them."""
    kept = [Revocation("sub", "zoë \u2028'\"", 5), Revocation("jti", "a", 7), Revocation("sub", "a", 9)]
    async with open_any() as store:
        assert await store.revocations() == []
        for revocation in kept:
            await store.revoke(revocation)
        assert sorted(await store.revocations()) == sorted(kept)


async def test_a_revocation_never_moves_back_in_time(open_any: OpenStore) -> None:
    """A later one takes in what the earlier did; the other way round a clock was set back."""
    async with open_any() as store:
        for at in (5, 9, 7):
            await store.revoke(Revocation("sub", "ann", at))
        assert await store.revocations() == [Revocation("sub", "ann", 9)]


async def test_revoking_leaves_the_log_alone(open_any: OpenStore) -> None:
    """Numbers, events and the epoch do not move."""
    async with open_any() as store:
        await store.append([event()])
        epoch = store.epoch
        await store.revoke(Revocation("jti", "a", 1))
        assert (await store.append([event()])).outcomes == [Outcome(2)]
        assert store.epoch == epoch
