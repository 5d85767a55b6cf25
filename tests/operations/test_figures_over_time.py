"""Moments, windows, percentiles and the event loop's lag: rules of what a rate means."""

from __future__ import annotations

import time

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from collabd.hub.history import KEPT_MOMENTS, History, Moment, moment
from collabd.hub.watch import watching
from collabd.metrics import LATENCY_BOUNDS_S, Counters, Histogram, quantile
from tests.hub.support import running_hub


def at(steady: float, counters: Counters) -> Moment:
    """A moment without sessions, so many seconds after the beginning."""
    return moment(counters, None, at=round(steady * 1000), steady=steady)


@given(st.lists(st.floats(0.0001, 20), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_lies_within_the_bucket_of_the_true_one(values: list[float], fraction: float) -> None:
    """A histogram loses where in a bucket a value was, and nothing else."""
    histogram = Histogram(LATENCY_BOUNDS_S)
    for value in values:
        histogram.observe(value)
    found = quantile(LATENCY_BOUNDS_S, histogram.counts, fraction)
    true = sorted(values)[max(0, -int(-fraction * len(values) // 1) - 1)]
    assert found is not None
    bounds = (0.0, *LATENCY_BOUNDS_S)
    low = max(bound for bound in bounds if bound < true)
    high = min((bound for bound in bounds if bound >= true), default=bounds[-1])
    assert low <= found <= high or (true > bounds[-1] and found == bounds[-1])


def test_without_measurements_there_is_no_quantile() -> None:
    """Zero would be a claim."""
    assert quantile(LATENCY_BOUNDS_S, [0] * (len(LATENCY_BOUNDS_S) + 1), 0.95) is None


def test_a_measurement_on_a_bound_counts_below_it() -> None:
    """As Prometheus has it: le means lower or equal."""
    histogram = Histogram((1, 2))
    for value in (0, 1, 1.5, 2, 3):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 7.5


def test_a_window_is_the_difference_of_two_moments() -> None:
    """Rates are of that stretch, whatever came before."""
    counters = Counters()
    counters.connections["websocket"] = 1000
    counters.latency.observe(9)
    history = History(at(0, counters))
    for step in range(1, 31):
        counters.connections["websocket"] += 2
        counters.fallbacks += 1
        counters.reconnections += 5
        counters.disconnections["4000"] += 1
        counters.messages_out += 99
        counters.message_failures += 1
        counters.latency.observe(0.04)
        history.add(at(step * 10, counters))
    window = history.window(at(300, counters), 60)
    assert window.seconds == 60
    assert (window.connections, window.reconnections, window.closed) == (12, 30, {"4000": 6})
    assert window.per_minute(window.reconnections) == 30
    assert window.fallback_share() == 0.5
    assert window.failure_share() == 0.01
    figures = window.figures()
    assert figures["messageDeliveryRate"] == 0.99
    assert 25 < figures["p99LatencyMs"] <= 50
    assert len(list(history.windows())) == 30


def test_a_window_reaches_back_to_the_beginning_at_most() -> None:
    """A server that just began has short windows, not thin ones."""
    counters = Counters()
    history = History(at(100, counters))
    counters.reconnections = 1
    window = history.window(at(106, counters), 300)
    assert window.seconds == 6
    assert window.per_minute(window.reconnections) == 10


def test_history_is_bounded() -> None:
    """Half an hour, whatever happens."""
    history = History(at(0, Counters()))
    for step in range(1, 1000):
        history.add(at(step * 10, Counters()))
    windows = list(history.windows())
    assert len(windows) == KEPT_MOMENTS - 1
    assert windows[-1].at == 9_990_000


async def test_history_is_kept_while_the_hub_is_watched(autojump_clock: trio.abc.Clock) -> None:
    """A sample every ten seconds, with the sessions of that moment."""
    async with running_hub() as hub, watching(hub):
        await trio.sleep(35)
        windows = list(hub.history.windows())
        assert [round(window.seconds) for window in windows] == [10, 10, 10]
        assert windows[0].figures()["activeConnections"] == 0
        assert sum(hub.counters.loop_lag.counts) == pytest.approx(350, abs=2)


@pytest.mark.real_time
async def test_a_blocked_event_loop_is_seen_as_lag() -> None:
    """Blocks for a quarter of a second in real time, since that is what is measured."""
    async with running_hub() as hub, watching(hub):
        await trio.sleep(0.05)
        time.sleep(0.25)  # noqa: ASYNC251
        await trio.sleep(0.05)
        lag = quantile(LATENCY_BOUNDS_S, hub.counters.loop_lag.counts, 1.0)
        assert lag is not None
        assert lag >= 0.1
