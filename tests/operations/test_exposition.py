"""What Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import pytest
import trio
from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from collabd.figures import BY_NAME, FIGURES
from collabd.routes.exposition import Exposition
from tests.hub.support import come, running_hub, settle
from tests.operations.asking import operated_hub

WS = "orchestrator_websocket"


def names_in(parse: Callable[[str], Iterable[Metric]], body: bytes) -> set[str]:
    """The names of the families in an exposition."""
    return {family.name for family in parse(body.decode())}


@pytest.mark.parametrize("path", ["/actuator/prometheus", "/metrics"])
async def test_figures_are_for_operators_only(path: str, autojump_clock: trio.abc.Clock) -> None:
    """Without the admin token nothing is told, on either path."""
    async with operated_hub(server={"public_url": "https://runs.example"}) as operator:
        assert (await operator.ask(path, token=None))[0] == 401
        assert (await operator.ask(path, token="a wrong token, quite long"))[0] == 401
        assert (await operator.ask(path))[0] == 200


async def test_the_format_is_negotiated(autojump_clock: trio.abc.Clock) -> None:
    """Text by default, OpenMetrics for those who ask; neither has `_created` series."""
    async with operated_hub() as operator:
        _, text, headers = await operator.ask("/metrics")
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        _, openmetrics, headers = await operator.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert openmetrics.endswith(b"# EOF\n")
        assert b"_created" not in text + openmetrics
        assert names_in(parse_openmetrics, openmetrics) == names_in(parse_text, text)


async def test_a_scrape_has_exactly_the_figures_of_the_table(autojump_clock: trio.abc.Clock) -> None:
    """Names, kinds, labels and meanings, from the first scrape on."""
    async with operated_hub() as operator:
        _, body, _ = await operator.ask("/metrics")
        families = {
            family.name + ("_total" if family.type == "counter" else ""): family for family in parse_text(body.decode())
        }
        assert set(families) == {figure.name for figure in FIGURES}
        for name, family in families.items():
            assert family.type == BY_NAME[name].kind
            if name.startswith("orchestrator"):
                assert family.documentation == BY_NAME[name].meaning
            assert {label for sample in family.samples for label in sample.labels} - {"le"} == set(BY_NAME[name].labels)


async def test_each_app_has_a_registry_of_its_own(autojump_clock: trio.abc.Clock) -> None:
    """Two apps in one process do not meet, and nothing is put into the library's global registry."""
    before = list(REGISTRY._names_to_collectors)
    registry = CollectorRegistry()
    async with operated_hub(registry) as one, operated_hub() as other:
        await come(one.hub, "ann")
        assert (await one.scrape())[f"{WS}_active_runs", ()] == 1
        assert (await other.scrape())[f"{WS}_active_runs", ()] == 0
        assert registry.get_sample_value(f"{WS}_active_runs") == 1
    assert list(REGISTRY._names_to_collectors) == before


async def test_what_happens_is_counted(autojump_clock: trio.abc.Clock) -> None:
    """Every counter and gauge, by what it counts."""
    async with operated_hub() as operator:
        hub = operator.hub
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        ann.send("GRAFT", {"after": "a"})
        ann.send("SHOUT", None)
        ann.send("welcome", None)
        ann.send("CLIENT_HEALTH", {"queuedMessages": 7})
        hub.take_round_trip(ann.connection.session.health, 80)
        await settle()
        bob.leave(1001)
        await come(hub, "bob", session=bob.welcome()["sessionId"])
        await settle()
        series = await operator.scrape()
    expected: dict[str, Any] = {
        "connections_total": (3, ("transport", "websocket")),
        "disconnections_total": (1, ("close_code", "1001")),
        "reconnections_total": (1,),
        "messages_in_total": (1, ("event_type", "GRAFT")),
        "messages_refused_total": (1, ("error_code", "invalid_event_type")),
        "message_latency_sum": (0.08,),
        "message_latency_bucket": (1, ("le", "0.1")),
        "active_connections": (2, ("transport", "websocket")),
        "active_runs": (1,),
        "health_status": (2, ("status", "HEALTHY")),
        "queued_client_messages": (7,),
        "delivery_rate": (1,),
        "connection_quality": (95,),  # ann 96 for her latency, bob 94 for his return
    }
    for name, (value, *labels) in expected.items():
        assert series[f"{WS}_{name}", tuple(labels)] == value, name
    assert series[f"{WS}_messages_in_total", (("event_type", "other"),)] == 1
    assert series[f"{WS}_message_latency_bucket", (("le", "0.05"),)] == 0
    assert series[f"{WS}_messages_out_total", ()] >= 4
    assert series["orchestrator_log_head", ()] == 1
    assert series["orchestrator_group_commit_events_sum", ()] == 1
    assert series["orchestrator_commit_latency_seconds_count", ()] == 1
    assert series["orchestrator_storage_available", ()] == 1


@pytest.mark.slow
async def test_ten_thousand_runs_and_users_add_no_series(autojump_clock: trio.abc.Clock) -> None:
    """What a client chooses is never a label: run, user, event type, close code."""
    async with operated_hub(runs={"idle_close_s": 0}, presence={"grace_s": 0}) as operator:
        hub = operator.hub
        before = set(await operator.scrape())
        for number in range(10_000):
            client = await come(hub, f"user-{uuid4()}", run=str(uuid4()))
            if number % 10 == 0:
                client.send(f"TYPE_{number}", None)
                client.send(f"bad {number}", None)
            client.leave(3000 + number % 2000)
            if number % 1000 == 0:
                await trio.sleep(10)
                assert set(await operator.scrape()) == before
        after = await operator.scrape()
        assert set(after) == before
        ended = {labels: value for (name, labels), value in after.items() if name == f"{WS}_disconnections_total"}
        assert sum(ended.values()) == hub.counters.connections.total() == 10_000
        assert ended[("close_code", "other"),] > 9_900


async def test_a_scrape_gives_others_their_turn(autojump_clock: trio.abc.Clock) -> None:
    """A thousand sessions are looked at in slices."""
    async with running_hub(limits={"connections_per_user": 0}) as hub:
        for _ in range(1000):
            await come(hub, "ann")
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await trio.lowlevel.checkpoint()
            before = turns
            await Exposition(hub).scrape("")
            assert turns - before >= 3
            nursery.cancel_scope.cancel()
