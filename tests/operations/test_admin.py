"""What the admin routes tell and do."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
import trio

from collabd.errors import StorageUnavailable
from collabd.store.memory import MemoryStore
from tests.hub.support import RUN, come, running_hub, settle
from tests.operations.asking import operated_hub

SESSION_FIELDS = [
    "sessionId",
    "userId",
    "runId",
    "connectedAt",
    "disconnectedAt",
    "reconnectionCount",
    "messagesSent",
    "messagesReceived",
    "messageFailures",
    "averageLatencyMs",
    "maxLatencyMs",
    "p50LatencyMs",
    "p95LatencyMs",
    "p99LatencyMs",
    "messageDeliveryRate",
    "connectionQuality",
    "healthStatus",
    "queuedBytes",
    "lastActivity",
    "transport",
    "closeCode",
]
OTHER_RUN = "00000000-0000-4000-8000-000000000000"
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

READING = ["/connections", f"/connections/{RUN}", "/metrics", "/metrics/x", "/health", "/history", "/diagnosis"]


@pytest.mark.parametrize("path", [*READING, "/sessions/x/timeline"])
async def test_every_admin_route_asks_for_the_token(path: str, autojump_clock: trio.abc.Clock) -> None:
    """Also where there is nothing to tell: an answer would say so."""
    async with operated_hub(server={"public_url": "https://runs.example"}) as operator:
        status, body, _ = await operator.ask(f"/api/admin/websocket{path}", token=None)
        assert status == 401
        assert b"unauthorized" in body


@pytest.mark.parametrize(("method", "path"), [("POST", "/cleanup-stale"), ("DELETE", f"/connections/{RUN}/x")])
async def test_acting_asks_for_the_token_and_is_not_for_other_pages(
    method: str, path: str, autojump_clock: trio.abc.Clock
) -> None:
    """Where admin is free on loopback, a page that the operator happens to look at must not act through the browser."""
    async with operated_hub(server={"public_url": "https://runs.example"}) as operator:
        assert (await operator.ask(f"/api/admin/websocket{path}", method, token=None))[0] == 401
    async with operated_hub() as operator:
        status, body, _ = await operator.ask(
            f"/api/admin/websocket{path}", method, token=None, Origin="https://evil.example"
        )
        assert status == 403
        assert b"origin_not_allowed" in body


async def test_connections_are_counted_by_run_pollers_included(autojump_clock: trio.abc.Clock) -> None:
    """The sum, each run that has one, and who they are."""
    async with operated_hub() as operator:
        await come(operator.hub, "ann")
        await come(operator.hub, "bob")
        await come(operator.hub, "cat", run=OTHER_RUN)
        await operator.ask(f"/api/runs/{RUN}/collaboration/poll?userId=dan")
        assert await operator.json("/connections") == {
            "totalRuns": 2,
            "totalConnections": 4,
            "connectionsByRun": {RUN: 3, OTHER_RUN: 1},
        }
        of_run = await operator.json(f"/connections/{RUN.upper()}")
        assert of_run["runId"] == RUN
        assert of_run["connectionCount"] == 3
        assert of_run["activeUsers"] == ["ann", "bob", "dan"]
        ann, dan = of_run["connections"][0], of_run["connections"][2]
        assert set(ann) == {"sessionId", "userId", "connectedAt", "transport", "remoteAddress"}
        assert (ann["transport"], ann["remoteAddress"], dan["transport"]) == ("websocket", "127.0.0.1", "polling")
        assert RFC_3339.fullmatch(ann["connectedAt"])


async def test_a_run_that_nobody_is_in_has_no_connections(autojump_clock: trio.abc.Clock) -> None:
    """Known or not, and asking makes none."""
    async with operated_hub() as operator:
        client = await come(operator.hub, "ann")
        client.leave(1000)
        assert await operator.json("/connections") == {"totalRuns": 0, "totalConnections": 0, "connectionsByRun": {}}
        assert (await operator.json(f"/connections/{OTHER_RUN}"))["connections"] == []
        assert OTHER_RUN not in operator.hub.runs


async def test_metrics_have_exactly_the_fields_of_the_protocol(autojump_clock: trio.abc.Clock) -> None:
    """One session, and the list of all of them, those that are gone included unless only live ones are asked for."""
    async with operated_hub() as operator:
        ann, bob = await come(operator.hub, "ann"), await come(operator.hub, "bob")
        operator.hub.take_round_trip(ann.connection.session.health, 80)
        await settle()
        bob.leave(4000)
        everyone = await operator.json("/metrics")
        assert [session["userId"] for session in everyone] == ["ann", "bob"]
        assert all(list(session) == SESSION_FIELDS for session in everyone)
        assert everyone[0] == await operator.json(f"/metrics/{everyone[0]['sessionId']}")
        assert [session["userId"] for session in await operator.json("/metrics?live=true")] == ["ann"]
        first, gone = everyone
        assert (first["averageLatencyMs"], first["maxLatencyMs"], first["connectionQuality"]) == (80, 80, 96)
        assert abs(first["p50LatencyMs"] - 80) <= 2
        assert gone["closeCode"] == 4000
        assert RFC_3339.fullmatch(gone["disconnectedAt"])


async def test_health_says_how_many_are_how_well(autojump_clock: trio.abc.Clock) -> None:
    """The average of the scores decides over all; nobody there is healthy."""
    async with operated_hub() as operator:
        nobody = await operator.json("/health")
        assert nobody == {
            "totalConnections": 0,
            "healthyConnections": 0,
            "degradedConnections": 0,
            "unhealthyConnections": 0,
            "averageQualityScore": 100.0,
            "overallHealth": "HEALTHY",
        }
        clients = [await come(operator.hub, name) for name in ("ann", "bob", "cat")]
        worse, worst = (client.connection.session.health for client in clients[1:])
        worse.add_latency(800, 0)
        worst.add_latency(3000, 0)
        worst.reconnections = 20
        worst.messages_failed = 1000
        health = await operator.json("/health")
        assert [health[f"{name}Connections"] for name in ("healthy", "degraded", "unhealthy")] == [1, 1, 1]
        assert health["overallHealth"] == "DEGRADED"
        assert 50 <= health["averageQualityScore"] < 80


async def test_cleaning_up_forgets_only_who_is_gone_for_long(autojump_clock: trio.abc.Clock) -> None:
    """An hour by default; live sessions are never touched."""
    async with operated_hub(websocket={"heartbeat_interval_s": 100_000}) as operator:
        ann, bob = await come(operator.hub, "ann"), await come(operator.hub, "bob")
        ann.leave(1000)
        await trio.sleep(1800)
        bob.leave(1000)
        await come(operator.hub, "cat")
        await trio.sleep(1801)
        assert await operator.json("/cleanup-stale", "POST") == {"removed": 1}
        assert await operator.json("/cleanup-stale?maxAgeMs=3600000", "POST") == {"removed": 0}
        assert await operator.json("/cleanup-stale?maxAgeMs=0", "POST") == {"removed": 1}
        assert [session["userId"] for session in await operator.json("/metrics")] == ["cat"]


@pytest.mark.parametrize("value", ["", "-1", "abc", "1.5", "+1", "1e3", "١", " 1", "9" * 20, "01", "null"])
async def test_a_bad_age_is_refused(value: str, autojump_clock: trio.abc.Clock) -> None:
    """Plain ASCII digits within bounds, or 400; nothing is removed by a misunderstanding."""
    async with operated_hub() as operator:
        (await come(operator.hub, "ann")).leave(1000)
        refusal = (400, "invalid_parameter")
        assert await operator.refusal(f"/cleanup-stale?maxAgeMs={quote(value)}", "POST") == refusal
        assert await operator.refusal(f"/diagnosis?windowMs={quote(value)}") == refusal
        assert await operator.refusal(f"/metrics?live={quote(value)}") == refusal
        assert len(await operator.json("/metrics")) == 1


async def test_what_is_unknown_is_a_404(autojump_clock: trio.abc.Clock) -> None:
    """And what is no run id at all a 400."""
    async with operated_hub() as operator:
        ann = await come(operator.hub, "ann")
        session = ann.welcome()["sessionId"]
        for path in ("/metrics/nobody", "/sessions/nobody/timeline"):
            assert await operator.refusal(path) == (404, "session_not_found")
        for path in (f"/connections/{OTHER_RUN}/{session}", f"/connections/{RUN}/nobody"):
            assert await operator.refusal(path, "DELETE") == (404, "session_not_found")
        assert await operator.refusal("/connections/no-uuid") == (400, "invalid_parameter")
        assert await operator.refusal(f"/connections/no-uuid/{session}", "DELETE") == (400, "invalid_parameter")
        assert not ann.link.ended


async def test_a_timeline_is_told_in_order_and_in_words(autojump_clock: trio.abc.Clock) -> None:
    """Each entry has its time, its kind, its values and a sentence."""
    async with operated_hub() as operator:
        ann = await come(operator.hub, "ann")
        ann.send("GRAFT", 1)
        ann.send("PING", {"sentAt": 1, "lastSequence": 0})
        await settle()
        session = ann.welcome()["sessionId"]
        assert (await operator.json(f"/sessions/{session}/timeline"))["deliveryLag"] == 1
        ann.leave(1001)
        told = await operator.json(f"/sessions/{session}/timeline")
        assert (told["sessionId"], told["userId"], told["runId"], told["closeCode"]) == (session, "ann", RUN, 1001)
        assert [entry["event"] for entry in told["timeline"]] == ["joined", "closed"]
        closed = told["timeline"][1]
        assert set(closed) == {"at", "event", "closeCode", "reason", "text"}
        assert RFC_3339.fullmatch(closed["at"])
        assert closed["text"].startswith("closed with 1001")
        assert told["deliveryLag"] is None


async def test_an_operator_ends_a_session_with_a_reason(autojump_clock: trio.abc.Clock) -> None:
    """It is closed with 4403 and the reason, its user has left, and its timeline says so."""
    async with operated_hub() as operator:
        ann, bob = await come(operator.hub, "ann"), await come(operator.hub, "bob")
        session = ann.welcome()["sessionId"]
        answer = await operator.json(f"/connections/{RUN}/{session}?reason=too%20loud%20%F0%9F%94%8A", "DELETE")
        assert answer == {"runId": RUN, "sessionId": session, "reason": "too loud 🔊"}
        assert (ann.connection.close_code, ann.connection.close_reason) == (4403, "too loud 🔊")
        await settle()
        assert bob.of_type("USER_LEAVE")[0]["data"]["reason"] == "kicked"
        told = await operator.json(f"/sessions/{session}/timeline")
        assert told["timeline"][-1]["text"] == "ended by an operator: too loud 🔊"
        assert await operator.refusal(f"/connections/{RUN}/{session}", "DELETE") == (404, "session_not_found")


@pytest.mark.parametrize("reason", ["", "x" * 121, "ä" * 61, "two\nlines", "nul\0"])
async def test_a_reason_must_fit_into_a_close_frame(reason: str, autojump_clock: trio.abc.Clock) -> None:
    """At most 120 bytes, printable."""
    async with operated_hub() as operator:
        ann = await come(operator.hub, "ann")
        path = f"/connections/{RUN}/{ann.welcome()['sessionId']}?reason={quote(reason)}"
        assert await operator.refusal(path, "DELETE") == (400, "invalid_parameter")
        assert not ann.link.ended


async def test_a_polling_session_can_be_ended_too(autojump_clock: trio.abc.Clock) -> None:
    """It has no connection to close; it is gone at once."""
    async with operated_hub() as operator:
        await operator.ask(f"/api/runs/{RUN}/collaboration/poll?userId=dan")
        (dan,) = await operator.json("/metrics?live=true")
        await operator.json(f"/connections/{RUN}/{dan['sessionId']}", "DELETE")
        assert await operator.json("/metrics?live=true") == []
        assert (await operator.json(f"/connections/{RUN}"))["activeUsers"] == []


async def test_a_diagnosis_names_what_is_wrong(autojump_clock: trio.abc.Clock) -> None:
    """The same figures as everywhere, with causes and remedies."""

    class FullDisk(MemoryStore):
        async def append(self, events: object) -> object:  # type: ignore[override]
            raise StorageUnavailable("database or disk is full")

    async with operated_hub() as operator:
        assert (await operator.json("/diagnosis"))["status"] == "HEALTHY"
    async with running_hub(FullDisk(retention=10)) as hub, operated_hub() as operator:
        (await come(hub, "ann")).send("GRAFT", 1)
        await settle()
        operator.hub.committer.storage_error = hub.committer.storage_error
        told = await operator.json("/diagnosis?windowMs=60000")
        assert told["status"] == "UNHEALTHY"
        (finding,) = told["findings"]
        assert set(finding) == {"severity", "topic", "what", "why", "try"}
        assert "database or disk is full" in finding["why"]
        assert (await operator.scrape())["orchestrator_storage_available", ()] == 0
