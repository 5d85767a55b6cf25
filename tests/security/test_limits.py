"""Each limit: what it holds back, how that is answered, and that it is counted."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from collabd.config import Config
from collabd.errors import ProtocolError
from collabd.metrics import LIMITS
from collabd.protocol.rate import Allowance, Rates, Remembered, TokenBucket
from tests.hub.support import FakeClient, settle
from tests.security.gate import ADMIN_TOKEN, Answer, Gate, token_mode
from tests.security.signing import OTHER_RUN, RUN

FAR, NEAR = "192.0.2.1", "127.0.0.1"
POLL = f"/api/runs/{RUN}/collaboration/poll"
EVENTS = f"/api/runs/{RUN}/collaboration/events"


def everywhere(gate: Gate, user: str = "ann") -> str:
    """A token for all runs."""
    return gate.token(sub=user, runs="*")


async def refused(gate: Gate, limit: str, user: str, **options: Any) -> None:
    """One more WebSocket is one too many: 429, with when to come again, and counted."""
    before = gate.hub.counters.limited[limit]
    with pytest.raises(ProtocolError) as caught:
        await gate.join(everywhere(gate, user), **options)
    assert (caught.value.code, caught.value.status) == ("too_many_connections", 429)
    assert caught.value.retry_after_ms
    assert gate.hub.counters.limited[limit] == before + 1


def refused_answer(answer: Answer, code: str = "too_many_connections") -> bool:
    """Whether a request was held back as it should be."""
    if answer.status != 429:
        return False
    assert answer.code == code
    assert int(answer.headers["retry-after"]) >= 1
    return True


async def test_so_many_connections_in_all(autojump_clock: MockClock) -> None:
    """Polling sessions count; one that comes back takes its own place."""
    async with token_mode(limits={"connections": 3}) as gate:
        ann = await gate.join(everywhere(gate))
        await gate.join(everywhere(gate), run=OTHER_RUN)
        assert (await gate.ask(POLL, everywhere(gate, "bea"))).status == 200
        await refused(gate, "connections", "cy")
        assert refused_answer(await gate.ask(POLL, everywhere(gate, "cy")))
        assert (await gate.ask(f"{POLL}?userId=bea", everywhere(gate, "bea"))).status == 200
        await gate.join(everywhere(gate), sessionId=ann.welcome()["sessionId"])


async def test_so_many_connections_per_address(autojump_clock: MockClock) -> None:
    """IPv6 peers by their network; loopback has no address of its own."""
    async with token_mode(limits={"connections_per_address": 2}) as gate:
        for peer in ("2001:db8::1", "2001:db8::2"):
            await gate.join(everywhere(gate), peer=peer)
        await refused(gate, "connections_per_address", "ann", peer="2001:db8::3")
        assert refused_answer(await gate.ask(POLL, everywhere(gate, "bea"), peer="2001:db8::4"))
        await gate.join(everywhere(gate), peer="2001:db8:0:1::1")
        for _ in range(4):
            await gate.join(everywhere(gate), peer=NEAR)


async def test_many_at_once_find_no_more_room_than_one_after_the_other(autojump_clock: MockClock) -> None:
    """A connection counts from its first moment, not from when it is let in."""
    async with token_mode(limits={"connections_per_address": 2}) as gate:
        outcomes: list[str] = []

        async def join() -> None:
            try:
                await gate.join(everywhere(gate), peer=FAR)
                outcomes.append("in")
            except ProtocolError as error:
                outcomes.append(error.code)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(join)
        assert outcomes.count("in") <= 2
        gate.leave_all()
        await gate.join(everywhere(gate), peer=FAR)
        await gate.join(everywhere(gate), peer=FAR)
        assert sum(gate.hub.connections_by_address.values()) == 2


async def test_behind_a_proxy_the_forwarded_address_counts(autojump_clock: MockClock) -> None:
    """On every path."""
    limits = {"connections_per_address": 1, "requests_per_second_per_address": 1, "request_burst_per_address": 3}
    async with token_mode(server={"trusted_proxies": (NEAR,)}, limits=limits) as gate:
        await gate.join(everywhere(gate), headers={"x-forwarded-for": f"1.2.3.4, {FAR}"})
        await refused(gate, "connections_per_address", "ann", headers={"x-forwarded-for": FAR})
        headers = {"X-Forwarded-For": FAR}
        answers = [await gate.ask(POLL, everywhere(gate), **headers) for _ in range(4)]
        assert [answer.code for answer in answers if answer.status == 429][-1] == "rate_limited"
        assert (await gate.ask("/api/client-config", **{"X-Forwarded-For": "192.0.2.2"})).status == 200


async def test_a_stranger_cannot_take_another_address(autojump_clock: MockClock) -> None:
    """X-Forwarded-For of a peer that is no listed proxy changes nothing."""
    async with token_mode(limits={"connections_per_address": 1}) as gate:
        await gate.join(everywhere(gate), peer=FAR, headers={"x-forwarded-for": "198.51.100.1"})
        await refused(gate, "connections_per_address", "ann", peer=FAR, headers={"x-forwarded-for": "198.51.100.2"})


async def test_so_many_sessions_per_run_and_per_user(autojump_clock: MockClock) -> None:
    """Polling ones count, and one that is refused leaves nothing behind."""
    async with token_mode(limits={"connections_per_run": 3, "connections_per_user": 2}) as gate:
        await gate.join(everywhere(gate))
        assert (await gate.ask(POLL, everywhere(gate))).status == 200
        await refused(gate, "connections_per_user", "ann")
        assert refused_answer(await gate.ask(f"{POLL}?sessionId=new", everywhere(gate)))
        bea = await gate.join(everywhere(gate, "bea"))
        await refused(gate, "connections_per_run", "cy")
        sessions = len(gate.hub.runs[RUN].attendance._sessions)
        for number in range(20):
            assert refused_answer(await gate.ask(f"{POLL}?sessionId=s{number}", everywhere(gate, "cy")))
        assert len(gate.hub.runs[RUN].attendance._sessions) == sessions
        await gate.join(everywhere(gate, "bea"), sessionId=bea.welcome()["sessionId"])
        bea.leave(1000)


# Rates

BIG = {"eventType": "GRAFT", "data": "x" * 900}


def errors_of(client: FakeClient) -> list[dict[str, Any]]:
    """What the client was refused."""
    return [message["data"] for message in client.of_type("ERROR")]


async def test_so_many_messages_per_second_and_session(autojump_clock: MockClock) -> None:
    """A burst, then the rate; what is refused is told when to come again."""
    limits = {"messages_per_second": 10, "message_burst": 3}
    async with token_mode(limits=limits) as gate:
        client = await gate.join(everywhere(gate))
        for number in range(5):
            client.send("CURSOR_MOVE", {"nodeId": "n"}, f"m{number}")
        await settle()
        first, second = errors_of(client)
        assert (first["code"], first["clientMessageId"], first["retryAfterMs"]) == ("rate_limited", "m3", 100)
        assert second["clientMessageId"] == "m4"
        assert gate.hub.counters.limited["messages_per_second"] == 2
        await trio.sleep(0.1)
        client.send("CURSOR_MOVE", {"nodeId": "n"}, "m5")
        await settle()
        assert len(errors_of(client)) == 2


async def test_so_many_bytes_per_second_and_session(autojump_clock: MockClock) -> None:
    """Over WebSocket and in what is published, whatever connections that takes."""
    limits = {"bytes_per_second": 1000, "byte_burst": 2000}
    async with token_mode(limits=limits) as gate:
        client = await gate.join(everywhere(gate))
        for number in range(3):
            client.send("GRAFT", "x" * 900, f"m{number}")
        await settle()
        (error,) = errors_of(client)
        assert (error["code"], error["clientMessageId"]) == ("rate_limited", "m2")
        answer = await gate.ask(EVENTS, everywhere(gate, "bea"), method="POST", body={"events": [BIG] * 3})
        assert [ack.get("code") for ack in answer.body["acks"]] == [None, None, "rate_limited"]
        assert refused_answer(await gate.ask(EVENTS, everywhere(gate, "bea"), method="POST", body=BIG), "rate_limited")
        assert gate.hub.counters.limited["bytes_per_second"] == 3
        await trio.sleep(1)
        assert (await gate.ask(EVENTS, everywhere(gate, "bea"), method="POST", body=BIG)).status == 200


async def test_so_many_messages_per_second_and_address(autojump_clock: MockClock) -> None:
    """All sessions of an address share it, over WebSocket and HTTP; others do not."""
    limits = {"messages_per_second_per_address": 1, "message_burst_per_address": 4}
    async with token_mode(limits=limits) as gate:
        clients = [await gate.join(everywhere(gate, user), peer=FAR) for user in ("ann", "bea")]
        for client in clients:
            for _ in range(2):
                client.send("CURSOR_MOVE", {"nodeId": "n"})
        assert [errors_of(client) for client in clients] == [[], []]
        clients[1].send("CURSOR_MOVE", {"nodeId": "n"}, "m1")
        await settle()
        assert errors_of(clients[1])[0]["code"] == "rate_limited"
        move = {"eventType": "CURSOR_MOVE", "data": {}}
        refused_here = await gate.ask(EVENTS, everywhere(gate, "cy"), method="POST", body=move, peer=FAR)
        assert refused_answer(refused_here, "rate_limited")
        assert (await gate.ask(EVENTS, everywhere(gate), method="POST", body=move, peer="192.0.2.2")).status == 200
        assert (await gate.ask(EVENTS, everywhere(gate), method="POST", body=move, peer=NEAR)).status == 200
        assert gate.hub.counters.limited["messages_per_second_per_address"] == 2


@pytest.mark.parametrize(
    "path", [POLL, "/", "/nothing", "/api/admin/websocket/health", "/metrics", "/actuator/health", "/api/client-config"]
)
async def test_so_many_requests_per_second_and_address(path: str, autojump_clock: MockClock) -> None:
    """On every route, before anything else is looked at: guessing tokens is slow work."""
    limits = {"requests_per_second_per_address": 2, "request_burst_per_address": 3}
    async with token_mode(limits=limits) as gate:
        for _ in range(3):
            assert (await gate.ask(path, "a guess", peer=FAR)).status != 429
        assert refused_answer(await gate.ask(path, ADMIN_TOKEN, peer=FAR), "rate_limited")
        assert (await gate.ask(path, "a guess", peer="192.0.2.2")).status != 429
        assert (await gate.ask(path, "a guess", peer=NEAR)).status != 429
        assert gate.hub.counters.limited["requests_per_second_per_address"] == 1
        await trio.sleep(0.5)
        assert (await gate.ask(path, "a guess", peer=FAR)).status != 429


async def test_upgrades_are_requests_too(autojump_clock: MockClock) -> None:
    """Whatever becomes of them."""
    limits = {"requests_per_second_per_address": 1, "request_burst_per_address": 2}
    async with token_mode(limits=limits) as gate:
        for _ in range(2):
            with pytest.raises(ProtocolError, match="valid token"):
                await gate.join("x", peer=FAR)
        with pytest.raises(ProtocolError, match="too many requests") as caught:
            await gate.join(gate.token(), peer=FAR)
        assert caught.value.code == "rate_limited"


async def test_what_is_switched_off_limits_nobody(autojump_clock: MockClock) -> None:
    """0 is no limit, and then costs nothing."""
    off: dict[str, Any] = {name: 0 for name in LIMITS if name in Config().limits.__struct_fields__}
    del off["request_head_max_bytes"]
    async with token_mode(limits=off) as gate:
        clients = [await gate.join(everywhere(gate), peer=FAR) for _ in range(100)]
        assert clients[0].connection.rates is None
        for _ in range(300):
            clients[0].send("CURSOR_MOVE", {"nodeId": "n"})
        await settle()
        assert errors_of(clients[0]) == []
        assert not gate.hub.counters.limited


def test_every_counted_limit_is_a_setting() -> None:
    """Somebody who reads the figure finds the key to turn."""
    config = Config()
    settings = {*config.limits.__struct_fields__, *config.server.__struct_fields__, *config.websocket.__struct_fields__}
    assert set(LIMITS) <= settings


async def test_held_back_is_a_figure(autojump_clock: MockClock) -> None:
    """By the name of the limit, all of them from the start."""
    limits = {"requests_per_second_per_address": 1, "request_burst_per_address": 1}
    async with token_mode(limits=limits) as gate:
        for _ in range(3):
            await gate.ask(POLL, peer=FAR)
        text = (await gate.ask("/metrics", ADMIN_TOKEN)).body.decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("orchestrator_limited_total"))
    assert set(lines) == {f'orchestrator_limited_total{{limit="{name}"}}' for name in LIMITS}
    assert lines['orchestrator_limited_total{limit="requests_per_second_per_address"}'] == "2.0"


# The buckets themselves


def test_more_than_a_burst_is_let_through_once_in_a_while() -> None:
    """Rather than never: it is then paid off."""
    bucket = TokenBucket(10, 100, 0.0)
    assert bucket.take(0.0, 150) == 0.0
    assert bucket.take(0.0, 1) == pytest.approx(5.1)
    assert bucket.take(5.1, 1) == 0.0


def test_the_first_limit_that_forbids_is_the_one_that_is_named() -> None:
    """In the order in which they are asked."""
    rates = Rates([Allowance("a", TokenBucket(1, 2, 0)), Allowance("b", TokenBucket(1, 10, 0), counts_bytes=True)])
    assert rates.take(8, 0.0) is None
    assert rates.take(8, 0.0) == ("b", 6.0)
    assert rates.take(1, 0.0) == ("a", 1.0)


def test_the_least_recently_used_is_forgotten() -> None:
    """Memory is bounded however many come."""
    made: list[float] = []

    def make(now: float) -> list[float]:
        made.append(now)
        return [now]

    remembered: Remembered[str, list[float]] = Remembered(make, most=2)
    first = remembered.of("a", 1.0)
    remembered.of("b", 2.0)
    assert remembered.of("a", 3.0) is first
    remembered.of("c", 4.0)
    assert remembered.of("b", 5.0) == [5.0]
    assert made == [1.0, 2.0, 4.0, 5.0]
