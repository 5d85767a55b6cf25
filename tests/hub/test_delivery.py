"""The rules of telling: once, in order, to everyone, whatever their sockets take."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from collabd.errors import StorageUnavailable
from collabd.hub import fanout
from collabd.store.interface import AppendResult
from collabd.store.memory import MemoryStore
from tests.hub.support import FakeClient, come, running_hub, settle

NOTES = {"persisted_event_types": ("NOTE",)}


async def test_everyone_gets_every_event_once_the_sender_too(autojump_clock: trio.abc.Clock) -> None:
    """Live events go to every session of the run, persisted and transient ones."""
    async with running_hub() as hub:
        clients = [await come(hub, name) for name in ("ann", "bob", "cat")]
        clients[0].send("GRAFT", {"after": "a"}, "m1")
        clients[1].send("SHOUT", "hi")
        await settle()
        for client in clients:
            assert len(client.of_type("GRAFT")) == 1
            assert len(client.of_type("SHOUT")) == 1
        (ack,) = clients[0].of_type("ACK")
        assert ack["data"] == {"clientMessageId": "m1", "sequenceNumber": 1, "duplicate": False}
        assert clients[1].of_type("ACK") == []


async def test_the_same_id_again_is_the_same_event(autojump_clock: trio.abc.Clock) -> None:
    """Sent again, also within one batch, it is acknowledged as a duplicate and told to nobody twice."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        ann.send("GRAFT", {"after": "a"}, "m1")
        ann.send("GRAFT", {"after": "a"}, "m1")
        await settle()
        ann.send("GRAFT", {"after": "a"}, "m1")
        await settle()
        assert [ack["data"]["duplicate"] for ack in ann.of_type("ACK")] == [False, True, True]
        assert bob.numbers() == [1]


async def test_an_id_with_other_content_is_refused(autojump_clock: trio.abc.Clock) -> None:
    """One id names one message."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        ann.send("GRAFT", {"after": "a"}, "m1")
        ann.send("GRAFT", {"after": "b"}, "m1")
        await settle()
        (error,) = ann.of_type("ERROR")
        assert error["data"]["code"] == "client_message_id_reused"
        assert error["data"]["clientMessageId"] == "m1"
        assert ann.numbers() == [1]


async def test_transient_events_are_acknowledged_without_a_number(autojump_clock: trio.abc.Clock) -> None:
    """Once handed to the run; they are never deduplicated."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        ann.send("SHOUT", 1, "m1")
        ann.send("SHOUT", 1, "m1")
        await settle()
        assert [ack["data"] for ack in ann.of_type("ACK")] == [{"clientMessageId": "m1", "duplicate": False}] * 2
        assert len(ann.of_type("SHOUT")) == 2


async def test_nothing_is_told_or_acknowledged_before_it_is_committed(autojump_clock: trio.abc.Clock) -> None:
    """Durable before visible."""
    committed = trio.Event()

    class SlowStore(MemoryStore):
        async def append(self, events: Any) -> AppendResult:
            await committed.wait()
            return await super().append(events)

    async with running_hub(SlowStore()) as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        ann.send("GRAFT", {"after": "a"}, "m1")
        await settle()
        assert ann.of_type("ACK") == ann.of_type("GRAFT") == bob.of_type("GRAFT") == []
        committed.set()
        await settle()
        assert ann.of_type("ACK")
        assert bob.of_type("GRAFT")


async def test_a_sender_that_is_gone_leaves_no_half_told_event(autojump_clock: trio.abc.Clock) -> None:
    """The run owns persisting and telling; losing the connection in between changes nothing."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        ann.send("GRAFT", {"after": "a"}, "m1")
        ann.leave()
        await settle()
        assert bob.numbers() == [1]


async def test_a_senders_order_holds_across_a_storage_refusal(autojump_clock: trio.abc.Clock) -> None:
    """After a retryable ERROR the later messages get the same answer until the refused id comes again."""
    store = MemoryStore()
    async with running_hub(store) as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        store.refuse_with = StorageUnavailable("full")
        ann.send("GRAFT", 1, "m1")
        await settle()
        store.refuse_with = None
        ann.send("GRAFT", 2, "m2")
        bob.send("GRAFT", "other sender", "b1")
        await settle()
        assert [error["data"]["clientMessageId"] for error in ann.of_type("ERROR")] == ["m1", "m2"]
        assert {error["data"]["code"] for error in ann.of_type("ERROR")} == {"storage_unavailable"}
        ann.send("GRAFT", 1, "m1")
        ann.send("GRAFT", 2, "m2")
        await settle()
        assert [event["data"] for event in bob.of_type("GRAFT")] == ["other sender", 1, 2]
        assert bob.numbers() == [1, 2, 3]


async def test_messages_behind_a_failing_commit_wait_for_it(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came while the failing commit was under way is refused too, or it would overtake."""
    store = MemoryStore()
    started, go_on = trio.Event(), trio.Event()

    async def fail_once(events: Any) -> AppendResult:
        started.set()
        await go_on.wait()
        monkeypatch.undo()
        raise StorageUnavailable("full")

    monkeypatch.setattr(store, "append", fail_once)
    async with running_hub(store) as hub:
        ann = await come(hub, "ann")
        ann.send("GRAFT", 1, "m1")
        await started.wait()
        ann.send("GRAFT", 2, "m2")
        go_on.set()
        await settle()
        assert [error["data"]["clientMessageId"] for error in ann.of_type("ERROR")] == ["m1", "m2"]
        assert ann.numbers() == []


async def test_the_rate_limit_refuses_and_keeps_the_order(autojump_clock: trio.abc.Clock) -> None:
    """rate_limited tells when to come again; later messages wait behind the refused one."""
    async with running_hub(limits={"messages_per_second": 10, "message_burst": 2}) as hub:
        ann = await come(hub, "ann")
        for number in range(3):
            ann.send("GRAFT", number, f"m{number}")
        await trio.sleep(0.25)
        ann.send("GRAFT", 3, "m3")
        ann.send("GRAFT", 2, "m2")
        await settle()
        errors = [error["data"] for error in ann.of_type("ERROR")]
        assert [(error["code"], error["clientMessageId"]) for error in errors] == [
            ("rate_limited", "m2"),
            ("rate_limited", "m3"),
        ]
        assert 0 < errors[0]["retryAfterMs"] <= 100
        assert [event["data"] for event in ann.of_type("GRAFT")] == [0, 1, 2]


async def test_who_breaks_the_rate_limit_again_and_again_is_closed(autojump_clock: trio.abc.Clock) -> None:
    """4429 after many refusals."""
    async with running_hub(limits={"messages_per_second": 1, "message_burst": 1}) as hub:
        ann = await come(hub, "ann")
        for number in range(250):
            ann.send("SHOUT", number)
        assert ann.connection.close_code == 4429


# Slow readers


async def stalled(hub: Any, user: str) -> FakeClient:
    """A client whose socket takes nothing more after its WELCOME."""
    client = await come(hub, user)
    await settle()
    client.link.room = 0
    return client


async def test_a_slow_reader_gets_everything_in_order_once_it_reads_again(autojump_clock: trio.abc.Clock) -> None:
    """A backlog is caught up from memory, then the client is level with the others."""
    async with running_hub(events=NOTES) as hub:
        ann, bob = await come(hub, "ann"), await stalled(hub, "bob")
        for number in range(200):
            ann.send("NOTE", number)
            await settle()
        bob.link.give_room(100)
        await settle()
        bob.link.give_room(1 << 30)
        await settle()
        ann.send("NOTE", "live")
        await settle()
        assert bob.numbers() == list(range(1, 202))
        assert bob.link.received.endswith(ann.link.received[-50:])


async def test_a_slow_reader_gets_only_the_latest_transient_event_of_each_kind(
    autojump_clock: trio.abc.Clock,
) -> None:
    """Under pressure: one per (user, type), persisted events untouched; nothing of it is a failure."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await stalled(hub, "bob")
        ann.send("CURSOR_MOVE", "first, already in the socket's queue")
        await settle()
        for number in range(50):
            ann.send("CURSOR_MOVE", number)
            ann.send("SHOUT", number)
            await settle()
        bob.link.give_room(1 << 30)
        await settle()
        assert [event["data"] for event in bob.of_type("CURSOR_MOVE")][1:] == [49]
        assert [event["data"] for event in bob.of_type("SHOUT")] == [49]
        assert bob.connection.session.health.messages_failed == 0


async def test_a_queue_over_its_bound_is_closed_with_4008_and_can_be_resumed(autojump_clock: trio.abc.Clock) -> None:
    """A slow reader hurts nobody: its outbox is bounded in bytes."""
    async with running_hub(events=NOTES, websocket={"outbox_max_bytes": 10_000}) as hub:
        ann, bob = await come(hub, "ann"), await stalled(hub, "bob")
        number = 0
        while not bob.link.ended and number < 60:
            ann.send("NOTE", "x" * 200)
            number += 1
            await settle()
        assert 20 < number < 50
        assert bob.connection.close_code == 4008
        assert bob.connection.session.health.messages_failed > 0
        assert len(ann.numbers()) == number
        back = await come(hub, "bob", session=bob.welcome()["sessionId"], position=(hub.store.epoch, 0))
        await settle()
        assert back.welcome()["recovered"] is True
        assert back.numbers() == list(range(1, number + 1))


async def test_queued_bytes_are_seen(autojump_clock: trio.abc.Clock) -> None:
    """What waits for a slow reader is counted."""
    async with running_hub(events=NOTES) as hub:
        ann, bob = await come(hub, "ann"), await stalled(hub, "bob")
        for _ in range(10):
            ann.send("NOTE", "x" * 1000)
            await settle()
        assert 10_000 < bob.connection.session.health.queued() < 13_000
        assert ann.connection.session.health.queued() == 0


async def test_a_long_replay_never_counts_as_being_slow(autojump_clock: trio.abc.Clock) -> None:
    """A replay far beyond the outbox bound goes out in chunks as the socket drains, while others write."""
    async with running_hub(events=NOTES, websocket={"outbox_max_bytes": 100_000}) as hub:
        ann = await come(hub, "ann")
        for _ in range(100):
            ann.send("NOTE", "x" * 10_000)
        await settle()
        bob = await come(hub, "bob", position=(hub.store.epoch, 0), room=5_000)
        for _ in range(200):
            ann.send("NOTE", "live")
            bob.link.give_room(10_000)
            await settle()
        bob.link.give_room(1 << 30)
        await settle()
        assert not bob.link.ended
        assert bob.numbers() == list(range(1, 301))


async def test_a_replay_that_memory_no_longer_holds_is_read_from_the_log(autojump_clock: trio.abc.Clock) -> None:
    """Older ranges come from the store, and the seam to memory shows nowhere."""
    async with running_hub(events=NOTES, storage={"ring_bytes_per_run": 2_000}) as hub:
        ann = await come(hub, "ann")
        for number in range(100):
            ann.send("NOTE", number)
            ann.send("GRAFT", number)
        await settle()
        resumed = await come(hub, "bob", position=(hub.store.epoch, 3))
        fresh = await come(hub, "cat")
        await settle()
        assert resumed.numbers() == list(range(4, 201))
        assert fresh.numbers() == list(range(2, 201, 2))
        assert fresh.welcome()["replayCount"] == 100


async def test_joiners_at_the_same_place_share_one_read(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A herd of late joiners reads older events once."""
    store = MemoryStore()
    async with running_hub(store, storage={"ring_bytes_per_run": 500}) as hub:
        ann = await come(hub, "ann")
        for number in range(50):
            ann.send("GRAFT", number)
        await settle()
        reads = []
        really_read = store.read

        async def counted(*args: Any, **kwargs: Any) -> Any:
            reads.append(kwargs)
            return await really_read(*args, **kwargs)

        monkeypatch.setattr(store, "read", counted)
        herd = [await come(hub, f"user{number}") for number in range(20)]
        await settle()
        assert len(reads) == 1
        assert all(client.numbers() == list(range(1, 51)) for client in herd)


async def test_a_replay_that_was_trimmed_past_is_closed_with_4008(autojump_clock: trio.abc.Clock) -> None:
    """What neither memory nor the log has any more cannot be sent; the client comes back and is told."""
    storage = {"ring_bytes_per_run": 500, "max_persisted_messages_per_run": 50}
    async with running_hub(storage=storage) as hub:
        ann = await come(hub, "ann")
        for _ in range(50):
            ann.send("GRAFT", "x" * 20_000)
        await settle()
        bob = await come(hub, "bob", position=(hub.store.epoch, 0), room=1000)
        await settle()
        for number in range(100):
            ann.send("GRAFT", number)
        await settle()
        bob.link.give_room(1 << 30)
        await settle()
        assert bob.connection.close_code == 4008


async def test_a_broken_socket_is_forgotten_and_hurts_nobody(autojump_clock: trio.abc.Clock) -> None:
    """A failing write ends one connection; the others get the same tick."""
    async with running_hub() as hub:
        ann, bob, cat = [await come(hub, name) for name in ("ann", "bob", "cat")]
        bob.link.broken = True
        ann.send("GRAFT", 1)
        await settle()
        assert cat.numbers() == ann.numbers() == [1]
        assert bob.link.ended
        assert bob.connection.session.health.messages_failed == 1


async def test_nothing_can_be_written_to_one_who_has_gone(autojump_clock: trio.abc.Clock) -> None:
    """The number of its socket may be another connection's by then."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        await settle()
        bob.leave()
        told = len(bob.link.received)
        with pytest.raises(OSError, match="descriptor"):
            bob.connection.send(b"late")
        ann.send("GRAFT", 1)
        await settle()
        assert len(bob.link.received) == told


async def test_a_huge_room_yields_between_slices(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever joins or leaves while a large room is written to misses nothing and gets nothing twice."""
    monkeypatch.setattr(fanout, "SLICE", 2)
    async with running_hub() as hub:
        clients = [await come(hub, f"user{number}") for number in range(9)]
        await settle()
        clients[0].send("GRAFT", 1)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        late = await come(hub, "late")
        clients[8].leave(1000)
        clients[1].send("GRAFT", 2)
        await settle()
        for client in clients[:8]:
            assert client.numbers() == [1, 2]
        assert late.numbers() == [1, 2]


async def test_messages_sent_are_counted_exactly(autojump_clock: trio.abc.Clock) -> None:
    """Replayed and live events, level or behind: what a session was sent is what it got."""
    async with running_hub(events=NOTES) as hub:
        ann = await come(hub, "ann")
        for number in range(10):
            ann.send("GRAFT", number)
        await settle()
        bob = await come(hub, "bob")
        ann.send("NOTE", "live")
        await settle()
        bob.link.room = 0
        for number in range(10):
            ann.send("NOTE", number)
            await settle()
        bob.link.give_room(1 << 30)
        await settle()
        got = [message for message in bob.messages() if message["eventType"] not in ("WELCOME",)]
        assert bob.connection.session.health.sent() == len(got) == 21
        bob.leave()
        assert bob.connection.session.health.sent() == 21


async def test_draining_commits_and_tells_what_waits(autojump_clock: trio.abc.Clock) -> None:
    """Before a stop every inbox is committed and told; then each session gets DRAIN and 1012."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        ann.send("GRAFT", 1, "m1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.drain, 5)
            await settle()
            for client in (ann, bob):
                assert client.connection.close_code == 1012
                client.link.received += client.connection.take_unsent()
                client.leave()
        for client in (ann, bob):
            assert client.numbers() == [1]
            assert 500 <= client.of_type("DRAIN")[0]["data"]["retryAfterMs"] <= 30_000
            assert client.messages()[-1]["eventType"] == "DRAIN"
        assert ann.of_type("ACK")


async def test_draining_is_bounded_by_its_timeout(autojump_clock: trio.abc.Clock) -> None:
    """Peers that never go do not hold up a stop."""
    async with running_hub() as hub:
        await come(hub, "ann")
        before = trio.current_time()
        await hub.drain(5)
        assert trio.current_time() - before == pytest.approx(5)


async def test_who_falls_behind_in_the_middle_of_a_tick_misses_nothing_of_the_next(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event told while a large room is still being written to is not skipped for a member that blocks."""
    monkeypatch.setattr(fanout, "SLICE", 1)
    async with running_hub(events=NOTES) as hub:
        clients = [await come(hub, f"user{number}") for number in range(20)]
        await settle()
        first, last = clients[0], clients[-1]
        last.link.room = 0
        first.send("NOTE", 1)
        while not first.numbers():
            await trio.lowlevel.checkpoint()
        first.send("NOTE", 2)
        await settle()
        last.link.give_room(1 << 30)
        await settle()
        assert last.numbers() == [1, 2]


async def test_a_shared_read_never_skips_what_was_live_for_an_earlier_joiner(autojump_clock: trio.abc.Clock) -> None:
    """For a later joiner an event is history of which it gets the critical part; an earlier one gets all of it."""
    async with running_hub(events=NOTES, storage={"ring_bytes_per_run": 300}) as hub:
        ann = await come(hub, "ann")
        for number in range(10):
            ann.send("GRAFT", number)
        await settle()
        early = await come(hub, "bob", room=0)
        for number in range(10):
            ann.send("NOTE", number)
        await settle()
        late = await come(hub, "cat")
        await settle()
        early.link.give_room(1 << 30)
        await settle()
        assert late.numbers() == list(range(1, 11))
        assert early.numbers() == list(range(1, 21))
