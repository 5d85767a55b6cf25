"""What holds when a run fails, is closed or drains at the worst moment: nothing is lost, nobody waits for nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from collabd.errors import ProtocolError
from collabd.hub.admission import Caller
from collabd.hub.hub import Hub
from collabd.hub.older import MOST_CHUNKS, OlderChunks, OlderEvents
from collabd.hub.polling import poll
from collabd.hub.publishing import publish
from collabd.hub.receive import receive
from collabd.hub.run import Run
from collabd.store.interface import AppendResult, NewEvent
from collabd.store.memory import MemoryStore
from tests.hub.support import RUN, FakeClient, come, running_hub, settle

CALLER = Caller("POST", {"host": "localhost"}, "http", "127.0.0.1")


def graft(message_id: str, data: Any = None) -> dict[str, Any]:
    """A persisted message."""
    return {"eventType": "GRAFT", "data": data, "clientMessageId": message_id}


async def ask_publish(hub: Hub, *messages: dict[str, Any], user: str = "http") -> list[dict[str, Any]]:
    """Publish a batch; the answers."""

    async def read_body() -> bytes:
        return json.dumps({"events": messages}).encode()

    answer = await publish(hub, CALLER, RUN, f"userId={user}".encode(), read_body)
    acks: list[dict[str, Any]] = json.loads(answer)["acks"]
    return acks


async def ask_poll(hub: Hub, query: str) -> dict[str, Any]:
    """Poll; the answer."""
    answer: dict[str, Any] = json.loads(await poll(hub, CALLER, RUN, query.encode()))
    return answer


class HeldStore(MemoryStore):
    """A store whose commits go to the disk when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = trio.Event()
        self.go_on = trio.Event()

    async def append(self, events: Any) -> AppendResult:
        self.begun.set()
        await self.go_on.wait()
        return await super().append(events)


def fail_at_telling(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have a fault of the server's happen where it tells the event with this number."""
    tell = Run._tell_persisted

    def telling(run: Run, event: NewEvent, sequence_number: int) -> None:
        if sequence_number == number:
            monkeypatch.undo()
            raise RuntimeError("a fault of ours")
        tell(run, event, sequence_number)

    monkeypatch.setattr(Run, "_tell_persisted", telling)


# Sender order after a close


async def test_nothing_is_taken_of_a_connection_that_was_closed(autojump_clock: trio.abc.Clock) -> None:
    """What was dropped at the close would be overtaken by what is read after it."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        ann.send("GRAFT", 1, "m1")
        ann.connection.close(4008, "too slow")
        receive(ann.connection, json.dumps(graft("m2")).encode())
        ann.send("SHOUT", "still here?")
        await settle()
        assert [event["data"] for event in bob.of_type("GRAFT")] == [1]
        assert bob.of_type("SHOUT") == []


# A run that fails


async def test_a_run_that_fails_while_telling_answers_who_sent_over_http(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is safe, and its sender is told so at once, not after half a minute."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        fail_at_telling(monkeypatch, 2)
        before = trio.current_time()
        acks = await ask_publish(hub, *(graft(f"m{number}", number) for number in range(1, 5)))
        assert trio.current_time() == before
        assert [ack["sequenceNumber"] for ack in acks] == [1, 2, 3, 4]
        assert ann.connection.close_code == 4500
        again = await come(hub, "ann", position=(hub.store.epoch, 0))
        await settle()
        assert again.numbers() == [1, 2, 3, 4]


async def test_a_run_loaded_again_has_the_commit_that_was_under_way(
    autojump_clock: trio.abc.Clock,
) -> None:
    """A run that failed while its events were on the way to the disk is not loaded from before them."""
    store = HeldStore()
    async with running_hub(store) as hub:
        ann = await come(hub, "ann")
        ann.send("GRAFT", 1, "m1")
        await store.begun.wait()
        hub.runs[RUN].fail()
        came: list[FakeClient] = []

        async def come_back() -> None:
            came.append(await come(hub, "ann", position=(hub.store.epoch, 0)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            await settle()
            store.go_on.set()
        came[0].send("GRAFT", 2, "m2")
        await settle()
        assert came[0].numbers() == [1, 2]
        assert came[0].connection.close_code is None


async def test_what_waits_for_a_run_that_fails_is_refused_and_can_be_sent_again(
    autojump_clock: trio.abc.Clock,
) -> None:
    """It is not committed behind the back of the run that is loaded in its place."""
    store = HeldStore()
    async with running_hub(store) as hub:
        ann = await come(hub, "ann")
        ann.send("GRAFT", 1, "m1")
        await store.begun.wait()
        answers: list[dict[str, Any]] = []

        async def publish_one() -> None:
            answers.extend(await ask_publish(hub, graft("h1"), graft("h2")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish_one)
            await settle()
            hub.runs[RUN].fail()
            store.go_on.set()
        assert [answer["retryable"] for answer in answers] == [True, True]
        acks = await ask_publish(hub, graft("h1"), graft("h2"))
        assert [ack["sequenceNumber"] for ack in acks] == [2, 3]


async def test_a_failed_run_gives_back_its_polling_sessions_once(autojump_clock: trio.abc.Clock) -> None:
    """The count that paces polls stays right."""
    async with running_hub() as hub:
        await ask_poll(hub, "userId=ann")
        assert hub.polling_count == 1
        hub.runs[RUN].fail()
        await settle()
        assert hub.polling_count == 0


async def test_a_poll_that_waits_in_a_run_that_fails_is_told_to_come_back(autojump_clock: trio.abc.Clock) -> None:
    """At once, retryable, and without a session in a run that is no more."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        caught: list[ProtocolError] = []

        async def wait_in_poll() -> None:
            with pytest.raises(ProtocolError) as error:
                await ask_poll(hub, "userId=ben&wait=30000")
            caught.append(error.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_in_poll)
            await settle()
            before = trio.current_time()
            ann.connection.session.run.fail()
        assert trio.current_time() == before
        assert caught[0].retryable
        assert hub.polling_count == 0


# Closing for want of use


async def test_a_run_is_not_closed_under_a_batch(autojump_clock: trio.abc.Clock) -> None:
    """Publishing needs no presence; the run stays as long as a request is about it."""
    store = HeldStore()
    async with running_hub(store, runs={"idle_close_s": 0}) as hub:
        answers: list[dict[str, Any]] = []

        async def publish_slowly() -> None:
            messages = [graft("m1"), {"eventType": "SHOUT", "data": 1, "clientMessageId": "m2"}, graft("m3")]
            answers.extend(await ask_publish(hub, *messages))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish_slowly)
            await store.begun.wait()
            run = hub.runs[RUN]
            await trio.sleep(20)
            assert hub.runs[RUN] is run
            store.go_on.set()
        assert [answer.get("sequenceNumber") for answer in answers] == [1, None, 2]
        await trio.sleep(20)
        assert RUN not in hub.runs


async def test_a_closed_run_takes_nothing(autojump_clock: trio.abc.Clock) -> None:
    """Whoever still holds it is told to send again; the run that took its place misses nothing."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        old = ann.connection.session.run
        old.fail()
        with pytest.raises(ProtocolError) as refused:
            old.submit("ann", hub.intake.decode(json.dumps(graft("m1")).encode()), ann.connection.order, print)  # type: ignore[arg-type]
        assert refused.value.retryable
        assert refused.value.client_message_id == "m1"


# Polls that arrive late


async def test_a_poll_answered_after_its_user_left_makes_no_ghost(autojump_clock: trio.abc.Clock) -> None:
    """A client that went from polling to WebSocket and left is gone, though its last poll was still waiting."""
    async with running_hub() as hub:
        bob = await come(hub, "bob")
        session = (await ask_poll(hub, "userId=ann"))["sessionId"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_poll, hub, f"userId=ann&sessionId={session}&wait=30000")
            await settle()
            ann = await come(hub, "ann", session=session)
            ann.leave(1000)
        await settle()
        assert hub.polling_count == 0
        assert [event["data"]["reason"] for event in bob.of_type("USER_LEAVE")] == ["left"]
        assert hub.runs[RUN].attendance.presence.users() == ["bob"]


# Draining


async def test_a_busy_server_says_goodbye_to_everybody(autojump_clock: trio.abc.Clock) -> None:
    """Clients that go on sending while the server drains do not keep it from saying DRAIN."""

    class SlowStore(MemoryStore):
        async def append(self, events: Any) -> AppendResult:
            await trio.sleep(0.1)
            return await super().append(events)

    async with running_hub(SlowStore()) as hub:
        clients = [await come(hub, user) for user in ("ann", "bob")]

        async def storm() -> None:
            number = 0
            while clients[0].connection.close_code is None:
                number += 1
                clients[0].send("GRAFT", number, f"m{number}")
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(storm)
            await trio.sleep(1)
            before = trio.current_time()
            nursery.start_soon(hub.drain, 10)
            await trio.sleep(2)
            for client in clients:
                assert client.connection.close_code == 1012
                client.link.received += client.connection.take_unsent()
                assert client.messages()[-1]["eventType"] == "DRAIN"
                client.leave()
        assert trio.current_time() - before < 3


# Replays from the log


async def test_chunks_of_old_events_are_bounded_over_all_runs(autojump_clock: trio.abc.Clock) -> None:
    """However many runs are replayed from the log at a time, the same few chunks are kept in memory."""
    store = MemoryStore()
    runs = [f"3f2b8c1e-5d4a-4f6b-9c7d-{number:012x}" for number in range(MOST_CHUNKS + 10)]
    await store.append([NewEvent(run, "ann", "GRAFT", b"1", 0, True) for run in runs])
    chunks = OlderChunks()
    older = [OlderEvents(store, run, chunks) for run in runs]
    for events in older:
        chunk = await events.chunk(1, 1, critical_until=0)
        assert chunk is not None
        assert chunk.events == 1
    assert len(chunks) == MOST_CHUNKS
    for events in older:
        events.forget(None)
    assert len(chunks) == 0
