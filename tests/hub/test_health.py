"""The rules of a session's figures and of its timeline."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest
import trio

from collabd.hub import timeline
from collabd.hub.admission import Caller
from collabd.hub.health import HealthRecords, SessionHealth
from collabd.hub.heartbeat import take_pong
from collabd.hub.hub import Hub
from collabd.hub.polling import poll
from collabd.protocol.messages import Intake
from tests.hub.support import RUN, FakeClient, come, running_hub, settle

NOTES = {"persisted_event_types": ("NOTE",)}


def told(record: SessionHealth) -> list[Any]:
    """What the timeline says, without its times."""
    return [entry[1:] for entry in record.timeline]


def health_of(client: FakeClient) -> SessionHealth:
    """The figures of a client's session."""
    return client.connection.session.health


async def polls(hub: Hub, user: str, session: str = "") -> None:
    """Poll once as a user, perhaps as a known session."""
    query = f"userId={user}" + (f"&sessionId={session}" if session else "")
    await poll(hub, Caller("GET", {}, "http", "127.0.0.1"), RUN, query.encode())


# The timeline


async def test_a_timeline_tells_joining_replay_and_how_it_ended(autojump_clock: trio.abc.Clock) -> None:
    """In order, with the close code and why."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        ann.send("GRAFT", {"after": "a"})
        await settle()
        bob = await come(hub, "bob")
        bob.leave(1001)
        assert told(health_of(ann)) == [("joined", "websocket")]
        assert told(health_of(bob)) == [("joined", "websocket"), ("replayed", 1), ("closed", 1001, "")]


async def test_coming_back_is_told_with_the_position(autojump_clock: trio.abc.Clock) -> None:
    """A reconnection counts once for the session and once for the server."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        for letter in "abc":
            ann.send("GRAFT", {"after": letter})
        await settle()
        ann.leave()
        back = await come(hub, "ann", session=ann.welcome()["sessionId"], position=(hub.store.epoch, 1))
        record = health_of(back)
        assert record is health_of(ann)
        assert told(record)[1:] == [
            ("closed", None, ""),
            ("came_back", "websocket", 0),
            ("resumed", 1),
            ("replayed", 2),
        ]
        assert record.reconnections == hub.counters.reconnections == 1


async def test_a_position_of_another_history_is_told_as_a_reset(autojump_clock: trio.abc.Clock) -> None:
    """Why it could not be resumed stands in the timeline."""
    async with running_hub() as hub:
        ann = await come(hub, "ann", position=("another", 1))
        assert told(health_of(ann)) == [("joined", "websocket"), ("reset", "epoch_changed")]


async def test_switching_transport_is_told_both_ways(autojump_clock: trio.abc.Clock) -> None:
    """A fallback counts when it begins, and the session stays the same."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        session = ann.welcome()["sessionId"]
        ann.leave()
        await polls(hub, "ann", session)
        await polls(hub, "ann", session)
        back = await come(hub, "ann", session=session)
        record = health_of(back)
        kinds = [entry[0] for entry in told(record)]
        assert kinds == ["joined", "closed", "transport_switched", "came_back", "transport_switched"]
        assert told(record)[2] == ("transport_switched", "websocket", "polling")
        assert told(record)[4] == ("transport_switched", "polling", "websocket")
        assert record.fallbacks == hub.counters.fallbacks == 1


async def test_a_poller_that_comes_no_more_is_told(autojump_clock: trio.abc.Clock) -> None:
    """It has no close code; its figures stay."""
    async with running_hub() as hub:
        await polls(hub, "ann")
        (record,) = hub.health.live()
        await trio.sleep(16.9)
        assert told(record) == [("joined", "polling")]
        await trio.sleep(0.2)
        assert told(record) == [("joined", "polling"), ("polling_stopped",)]
        assert hub.health.live() == []
        assert hub.health.get(record.session_id) is record


async def test_a_poller_stays_one_session_and_one_fallback(autojump_clock: trio.abc.Clock) -> None:
    """Each poll comes a little after it was due; that is no new session."""
    async with running_hub() as hub:
        for _ in range(20):
            await polls(hub, "ann")
            await trio.sleep(2.05)
        assert hub.counters.fallbacks == hub.counters.connections.total() == 1
        assert hub.counters.disconnections.total() == 0
        assert len(list(hub.health)) == 1


async def test_latency_that_crosses_a_threshold_is_told_once_each_way(autojump_clock: trio.abc.Clock) -> None:
    """A line per crossing, not per measurement."""
    async with running_hub() as hub:
        record = health_of(await come(hub, "ann"))
        for milliseconds in (80, 500, 501, 700, 1200, 1300, 400, 90):
            hub.take_round_trip(record, milliseconds)
        assert told(record)[1:] == [
            ("latency_rose", 501, 500),
            ("latency_rose", 1200, 1000),
            ("latency_fell", 400, 500),
        ]


async def test_superseded_transient_events_are_told_as_one_entry(autojump_clock: trio.abc.Clock) -> None:
    """They are no failures; how many there were is told when the backlog ends."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        await settle()
        bob.link.room = 0
        for number in range(10):
            ann.send("CURSOR_MOVE", number)
            await settle()
        bob.link.give_room(1 << 30)
        await settle()
        assert told(health_of(bob))[1:] == [("transient_dropped", 8)]  # one in the socket, one kept back
        assert health_of(bob).messages_failed == 0


async def test_a_stalled_reader_is_told_as_failures_and_4008(autojump_clock: trio.abc.Clock) -> None:
    """Queued bytes first, then every event that it was still owed failed."""
    async with running_hub(events=NOTES, websocket={"outbox_max_bytes": 10_000}) as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        await settle()
        bob.link.room = 0
        sent_before = health_of(bob).sent()
        for number in range(60):
            ann.send("NOTE", "x" * 200)
            await settle()
            if bob.link.ended:
                break
            assert health_of(bob).queued() > 200 * number
        failed = health_of(bob).messages_failed
        assert health_of(bob).sent() == sent_before
        assert failed == hub.runs[RUN].ring.head == hub.counters.message_failures
        bob.leave(4008)
        assert health_of(bob).queued() == 0
        assert told(health_of(bob))[-2:] == [("failed", failed), ("closed", 4008, "")]


async def test_leaving_in_the_middle_of_a_replay_is_no_failure(autojump_clock: trio.abc.Clock) -> None:
    """The client went; nothing was dropped."""
    async with running_hub(events=NOTES) as hub:
        ann = await come(hub, "ann")
        for _ in range(50):
            ann.send("GRAFT", "x" * 1000)
        await settle()
        bob = await come(hub, "bob", room=5_000)
        bob.leave(1001)
        assert health_of(bob).messages_failed == 0


async def test_a_replay_that_the_server_cuts_fails_by_what_was_owed(autojump_clock: trio.abc.Clock) -> None:
    """Of a late joiner's history only critical events were owed."""
    async with running_hub(events=NOTES) as hub:
        ann = await come(hub, "ann")
        for _ in range(20):
            ann.send("GRAFT", "x" * 50_000)
            ann.send("NOTE", "y")
        await settle()
        bob = await come(hub, "bob", room=1)
        ann.send("NOTE", "after bob came")
        await settle()
        bob.connection.close(4000, "heartbeat timeout")
        assert health_of(bob).messages_failed == 21
        assert health_of(bob).sent() == 0


def test_a_timeline_is_bounded() -> None:
    """The oldest entries go."""
    record = SessionHealth("s", "u", "r", 0, "websocket")
    for number in range(10 * timeline.MAX_ENTRIES):
        record.note(number, "failed", number)
    assert len(record.timeline) == timeline.MAX_ENTRIES
    assert record.timeline[-1][2] == 10 * timeline.MAX_ENTRIES - 1


@pytest.mark.parametrize("what", timeline.KINDS)
def test_every_kind_of_entry_has_words(what: str) -> None:
    """An operator reads sentences."""
    fields = timeline.KINDS[what].fields
    said = timeline.in_words((5, what, *range(len(fields))))
    assert said["at"] == 5
    assert said["event"] == what
    assert all(str(number) in said["text"] for number in range(len(fields)))
    assert "None" not in timeline.in_words((5, what, *[None] * len(fields)))["text"]


# Counting


async def test_a_round_trip_longer_than_the_interval_is_measured(autojump_clock: trio.abc.Clock) -> None:
    """A pong may answer an older ping; each ping is measured once, and a pong that nobody asked for never."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        await trio.sleep(25)
        first_sent = ann.connection.ping_sent - 10 * (ann.connection.ping_number - 1)
        for _ in range(2):
            take_pong(ann.connection, pack("!I", 1), first_sent + 15)
        for payload in (pack("!I", 99), b"", b"12345", pack("!I", 0)):
            take_pong(ann.connection, payload, first_sent + 16)
        latency = health_of(ann).latency
        assert latency is not None
        assert latency.count == sum(hub.counters.latency.counts) == 1
        assert latency.average() == pytest.approx(15_000)


async def test_events_given_to_a_poller_count_as_sent(autojump_clock: trio.abc.Clock) -> None:
    """The same words mean the same over every transport."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        for letter in "abc":
            ann.send("GRAFT", {"after": letter})
        await settle()
        before = hub.counters.messages_out
        await polls(hub, "bob")
        (bob,) = [record for record in hub.health.live() if record.user_id == "bob"]
        assert bob.sent() == 3
        assert hub.counters.messages_out == before + 3


async def test_only_events_count_as_received(autojump_clock: trio.abc.Clock) -> None:
    """PING, CLIENT_HEALTH and what is refused are no events."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        ann.send("GRAFT", 1)
        ann.send("CURSOR_MOVE", 1)
        ann.send("PING", {"sentAt": 1})
        ann.send("CLIENT_HEALTH", {"queuedMessages": 3})
        ann.send("USER_JOIN", 1)
        await settle()
        assert health_of(ann).messages_received == 2
        assert health_of(ann).client_queue == 3
        assert sum(hub.counters.messages_in.values()) == 2


async def test_a_client_may_not_report_the_latency_that_the_server_measures(autojump_clock: trio.abc.Clock) -> None:
    """Only where the server sees no pongs the client's own figure counts."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        bob.link.hears_pongs = False
        for client in (ann, bob):
            client.send("CLIENT_HEALTH", {"latencyMs": 70})
        assert health_of(ann).latency is None
        latency = health_of(bob).latency
        assert latency is not None
        assert latency.average() == 70


def test_figures_of_sessions_that_are_gone_are_bounded() -> None:
    """Those gone for longest are forgotten first; those that are there never."""
    records = HealthRecords(max_records=3)
    sessions = [SessionHealth(str(number), "u", "r", 0, "websocket") for number in range(6)]
    for session in sessions:
        records.came(session)
    for session in sessions[:5]:
        records.went(session, 10)
    assert [record.session_id for record in records] == ["5", "2", "3", "4"]
    assert records.forget_older_than(11) == 3
    assert records.get("5") is sessions[5]


async def test_event_types_that_nobody_configured_count_as_other(autojump_clock: trio.abc.Clock) -> None:
    """A label is never a client's own text."""
    async with running_hub(events=NOTES) as hub:
        ann = await come(hub, "ann")
        for number in range(300):
            ann.send(f"MINE_{number}", None)
        ann.send("NOTE", None)
        await settle()
        assert dict(hub.counters.messages_in) == {"other": 300, "NOTE": 1}
        assert "NOTE" in Intake(critical=(), persisted=("NOTE",)).kinds
