"""Any interleaving of writing, joining, resuming, stalling, dropping and trimming gives each client a whole view.

The oracle knows every committed event; it judges what each client was told from its own WELCOME on.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from collabd.hub import fanout
from collabd.hub.hub import Hub
from collabd.store.memory import MemoryStore
from tests.hub.support import FakeClient, come, running_hub, settle

USERS = ("ann", "bob", "cat")
KINDS = ("GRAFT", "NOTE")  # critical, and persisted but not critical

STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(USERS), st.sampled_from(KINDS), st.integers(1, 6)),
    st.tuples(st.just("transient"), st.sampled_from(USERS)),
    st.tuples(st.just("join"), st.sampled_from(USERS), st.sampled_from([0, 50, 400, 1 << 40])),
    st.tuples(st.just("resume"), st.sampled_from(USERS), st.integers(0, 40), st.sampled_from([0, 300, 1 << 40])),
    st.tuples(st.just("stall"), st.integers(0, 9)),
    st.tuples(st.just("read"), st.integers(0, 9), st.sampled_from([1, 70, 500, 1 << 40])),
    st.tuples(st.just("drop"), st.integers(0, 9)),
    st.tuples(st.just("turn"), st.integers(1, 4)),
    st.tuples(st.just("settle")),
)


class World:
    """The hub under test, its clients, and what the oracle has to know of them."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.clients: list[FakeClient] = []
        self.written = 0

    async def do(self, step: tuple[Any, ...]) -> None:
        """Live through one step; one that names a client who never came is nothing."""
        name, *arguments = step
        await getattr(self, f"_{name}")(*arguments)

    async def _write(self, user: str, kind: str, count: int) -> None:
        writer = self._writer(user)
        for _ in range(count if writer else 0):
            assert writer is not None
            self.written += 1
            writer.send(kind, {"after": f"step{self.written % 7}", "n": self.written}, f"m{self.written}")

    async def _transient(self, user: str) -> None:
        writer = self._writer(user)
        if writer:
            writer.send("CURSOR_MOVE", {"nodeId": "x"})

    async def _join(self, user: str, room: int) -> None:
        self.clients.append(await come(self.hub, user, room=room))

    async def _resume(self, user: str, after: int, room: int) -> None:
        self.clients.append(await come(self.hub, user, position=(self.hub.store.epoch, after), room=room))

    async def _stall(self, index: int) -> None:
        for client in self.clients[index : index + 1]:
            client.link.room = 0

    async def _read(self, index: int, size: int) -> None:
        for client in self.clients[index : index + 1]:
            client.link.give_room(size)

    async def _drop(self, index: int) -> None:
        for client in self.clients[index : index + 1]:
            if not client.link.ended:
                client.link.ended = True
                client.leave()

    async def _turn(self, count: int) -> None:
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    async def _settle(self) -> None:
        await settle()

    def _writer(self, user: str) -> FakeClient | None:
        return next((client for client in self.clients if self._may_write(client, user)), None)

    def _may_write(self, client: FakeClient, user: str) -> bool:
        return client.connection.session.user_id == user and not client.link.ended

    async def judge(self) -> None:
        """Let everyone read, then look at every client's history."""
        for client in self.clients:
            client.link.give_room(1 << 40)
        await settle()
        page = await self.hub.store.read(next(iter(self.hub.runs), ""), first=1)
        retained = {event.sequence_number: event for event in page.events}
        head = max(retained, default=0)
        assert head == self.written, "every event that was sent is in the log, once"
        for client in self.clients:
            self._judge_client(client, head)

    def _judge_client(self, client: FakeClient, head: int) -> None:
        messages = client.messages()
        if not messages:
            return
        welcome = client.welcome()
        joined_at = welcome["sequenceNumber"]
        events = [message for message in messages if "sequenceNumber" in message]
        replayed, live = events[: welcome["replayCount"]], events[welcome["replayCount"] :]
        is_whole = not client.link.ended
        if is_whole:
            assert len(replayed) == welcome["replayCount"]
        numbers = [event["sequenceNumber"] for event in replayed]
        assert numbers == sorted(set(numbers)), "replayed once and in order"
        assert all(number <= joined_at for number in numbers)
        if welcome["recovered"]:
            first = joined_at - welcome["replayCount"] + 1
            assert numbers == list(range(first, first + len(numbers))), "a resume has no hole"
        else:
            assert all(event["isCritical"] for event in replayed)
        live_numbers = [event["sequenceNumber"] for event in live]
        assert live_numbers == list(range(joined_at + 1, joined_at + 1 + len(live))), (
            "live follows without hole or double"
        )
        if is_whole:
            assert (live_numbers or [joined_at])[-1] == head, "and reaches the head"
        for event in events:
            assert event["data"]["n"] == event["sequenceNumber"]
        if not welcome["recovered"] and len(replayed) == welcome["replayCount"]:
            self._judge_state(welcome, replayed)

    def _judge_state(self, welcome: dict[str, Any], replayed: list[dict[str, Any]]) -> None:
        """State = runState, then the replay: the newest critical event of every place up to the joining."""
        state = {event["data"]["after"]: event["data"]["n"] for event in [*welcome["runState"], *replayed]}
        expected = {f"step{n % 7}": n for n in range(1, welcome["sequenceNumber"] + 1) if n in self.critical}
        assert state == expected

    critical: frozenset[int] = frozenset()


async def run_story(steps: list[tuple[Any, ...]], retention: int, ring_bytes: int) -> None:
    """Live through the steps and judge."""
    store = MemoryStore(retention=retention)
    critical: set[int] = set()
    async with running_hub(
        store,
        events={"persisted_event_types": ("NOTE",)},
        storage={"max_persisted_messages_per_run": retention, "ring_bytes_per_run": ring_bytes},
        websocket={"outbox_max_bytes": 1500, "heartbeat_interval_s": 1e6},
        limits={"connections_per_user": 0},
    ) as hub:
        world = World(hub)
        watcher = await come(hub, "watcher", room=1 << 50)
        for step in steps:
            await world.do(step)
        await settle()
        for event in watcher.messages():
            if event.get("isCritical") and "sequenceNumber" in event:
                critical.add(event["sequenceNumber"])
        world.critical = frozenset(critical)
        world.clients.append(watcher)
        await world.judge()


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(STEPS, min_size=5, max_size=60),
    retention=st.sampled_from([3, 10, 1000]),
    ring_bytes=st.sampled_from([0, 600, 5_000, 1 << 22]),
    slice_size=st.sampled_from([1, 2, 256]),
)
def test_every_interleaving_gives_each_client_a_gapless_double_free_view(
    steps: list[tuple[Any, ...]], retention: int, ring_bytes: int, slice_size: int
) -> None:
    """Whatever happens in whatever order: no hole, no double, no event out of order, and the state is complete."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fanout, "SLICE", slice_size)
        trio.run(run_story, steps, retention, ring_bytes, clock=MockClock(autojump_threshold=0))
