"""The rules of joining and resuming."""

from __future__ import annotations

import pytest
import trio

from collabd.errors import ProtocolError
from collabd.store.memory import MemoryStore
from tests.hub.support import RUN, come, running_hub, settle


async def test_a_late_joiner_sees_every_critical_event_once(autojump_clock: trio.abc.Clock) -> None:
    """Whoever comes later is replayed all retained critical events, in order, and then lives with the others."""
    async with running_hub(events={"persisted_event_types": ("NOTE",)}) as hub:
        ann = await come(hub, "ann")
        for number in range(5):
            ann.send("GRAFT", {"after": str(number)})
            ann.send("NOTE", number)
        await settle()
        bob = await come(hub, "bob")
        ann.send("PRUNE", {"stepId": "1"})
        await settle()
        assert bob.welcome()["replayCount"] == 5
        assert bob.numbers() == [1, 3, 5, 7, 9, 11]
        assert ann.numbers() == list(range(1, 12))


async def test_resuming_gives_every_persisted_event_after_the_position(autojump_clock: trio.abc.Clock) -> None:
    """All or nothing: same epoch and a retained position give exactly what follows."""
    async with running_hub(events={"persisted_event_types": ("NOTE",)}) as hub:
        ann = await come(hub, "ann")
        for number in range(6):
            ann.send("NOTE", number)
        await settle()
        epoch = ann.welcome()["epoch"]
        bob = await come(hub, "bob", position=(epoch, 2))
        await settle()
        assert bob.welcome()["recovered"] is True
        assert "resetReason" not in bob.welcome()
        assert bob.welcome()["replayCount"] == 4
        assert bob.numbers() == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("epoch", "after", "reason"), [("other", 3, "epoch_changed"), (None, 9, "ahead_of_log"), (None, 1, "trimmed")]
)
async def test_a_position_that_cannot_be_resumed_is_said_so_and_replayed_in_full(
    autojump_clock: trio.abc.Clock, epoch: str | None, after: int, reason: str
) -> None:
    """The client learns why, and gets a late joiner's replay."""
    async with running_hub(storage={"max_persisted_messages_per_run": 3}) as hub:
        ann = await come(hub, "ann")
        for number in range(6):
            ann.send("FLAG", {"stepId": str(number)})
        await settle()
        bob = await come(hub, "bob", position=(epoch or hub.store.epoch, after))
        await settle()
        welcome = bob.welcome()
        assert (welcome["recovered"], welcome["resetReason"]) == (False, reason)
        assert bob.numbers() == [4, 5, 6]
        assert [event["sequenceNumber"] for event in welcome["runState"]] == [1, 2, 3]


async def test_run_state_keeps_the_newest_event_of_each_place_when_it_is_trimmed(
    autojump_clock: trio.abc.Clock,
) -> None:
    """A late joiner of a long run still sees every graft, prune and flag in force."""
    async with running_hub(storage={"max_persisted_messages_per_run": 2}) as hub:
        ann = await come(hub, "ann")
        for step, note in [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("d", 5), ("e", 6)]:
            ann.send("FLAG", {"stepId": step, "note": note})
        await settle()
        bob = await come(hub, "bob")
        state = [event["data"] for event in bob.welcome()["runState"]]
        assert state == [{"stepId": "b", "note": 2}, {"stepId": "a", "note": 3}, {"stepId": "c", "note": 4}]
        assert bob.numbers() == [5, 6]


async def test_run_state_survives_the_end_of_a_run_in_memory(autojump_clock: trio.abc.Clock) -> None:
    """A run that was closed when idle is the same run when it is opened again."""
    async with running_hub(storage={"max_persisted_messages_per_run": 1}) as hub:
        ann = await come(hub, "ann")
        ann.send("FLAG", {"stepId": "a"})
        ann.send("FLAG", {"stepId": "b"})
        await settle()
        ann.leave(1000)
        await trio.sleep(120)
        assert RUN not in hub.runs
        bob = await come(hub, "bob")
        assert [event["data"]["stepId"] for event in bob.welcome()["runState"]] == ["a"]
        assert bob.numbers() == [2]


async def test_state_that_memory_could_not_follow_is_read_from_the_store(autojump_clock: trio.abc.Clock) -> None:
    """With a ring of nothing, what is trimmed was not in memory; WELCOME is right all the same."""
    async with running_hub(storage={"max_persisted_messages_per_run": 2, "ring_bytes_per_run": 0}) as hub:
        ann = await come(hub, "ann")
        for step in "abcde":
            ann.send("FLAG", {"stepId": step})
            await settle()
        bob = await come(hub, "bob")
        await settle()
        assert [event["data"]["stepId"] for event in bob.welcome()["runState"]] == ["a", "b", "c"]
        assert bob.numbers() == [4, 5]


async def test_a_session_comes_back_under_its_id_and_replaces_its_older_socket(autojump_clock: trio.abc.Clock) -> None:
    """The newer WebSocket of a session wins; the older one is closed with 4009, and nobody leaves."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        again = await come(hub, "ann", session=ann.welcome()["sessionId"])
        await settle()
        assert again.welcome()["sessionId"] == ann.welcome()["sessionId"]
        assert ann.link.ended
        assert ann.connection.close_code == 4009
        ann.leave()
        await trio.sleep(60)
        assert bob.of_type("USER_LEAVE") == []
        assert hub.connection_count == 2


async def test_another_users_session_id_is_quietly_replaced(autojump_clock: trio.abc.Clock) -> None:
    """An id is valid only for its (run, user)."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        bob = await come(hub, "bob", session=ann.welcome()["sessionId"])
        assert bob.welcome()["sessionId"] != ann.welcome()["sessionId"]
        assert not ann.link.ended


async def test_an_unknown_run_is_refused_where_runs_are_not_made_by_joining(autojump_clock: trio.abc.Clock) -> None:
    """runs.auto_create = false: 404, and nothing was created."""
    async with running_hub(runs={"auto_create": False}) as hub:
        with pytest.raises(ProtocolError) as refused:
            await come(hub, "ann")
        assert refused.value.code == "run_not_found"
        assert hub.runs == {}


async def test_a_join_while_draining_is_refused_as_retryable(autojump_clock: trio.abc.Clock) -> None:
    """New joins get 503 with when to come again."""
    async with running_hub() as hub:
        await hub.drain(1)
        with pytest.raises(ProtocolError) as refused:
            await come(hub, "ann")
        assert refused.value.status == 503
        assert refused.value.retry_after_ms


async def test_a_full_run_refuses_one_more(autojump_clock: trio.abc.Clock) -> None:
    """limits.connections_per_run and limits.connections_per_user."""
    async with running_hub(limits={"connections_per_run": 3, "connections_per_user": 2}) as hub:
        await come(hub, "ann")
        await come(hub, "ann")
        with pytest.raises(ProtocolError, match="this user"):
            await come(hub, "ann")
        await come(hub, "bob")
        with pytest.raises(ProtocolError, match="this run"):
            await come(hub, "cat")


async def test_the_ring_serves_resumes_without_reading_the_store(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A herd that comes back costs no database read per client."""
    store = MemoryStore()
    async with running_hub(store) as hub:
        ann = await come(hub, "ann")
        for number in range(50):
            ann.send("GRAFT", {"after": str(number)})
        await settle()

        def no_read(*args: object, **kwargs: object) -> None:
            raise AssertionError("the store was read")

        monkeypatch.setattr(store, "read", no_read)
        monkeypatch.setattr(store, "read_newest", no_read)
        for number in range(30):
            back = await come(hub, f"user{number}", position=(store.epoch, number))
            await settle()
            assert back.numbers() == list(range(number + 1, 51))
