"""The figures as Prometheus reads them. Law of this file: the only one that knows prometheus-client.

A collector on a registry of its own reads the counters and the hub when it is scraped, so that counting costs the hot
path nothing but integers, and no series has a `_created` twin.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from collabd import __version__
from collabd.errors import ERROR_TABLE, StorageUnavailable
from collabd.figures import BY_NAME
from collabd.hub.overview import TRANSPORTS, Overview, take_overview
from collabd.hub.receive import CURSOR_MOVE
from collabd.metrics import LIMITS, OTHER, POLLING_STOPPED, Histogram
from collabd.protocol.close_codes import CLOSE_CODES, close_class
from collabd.store.interface import Span

if TYPE_CHECKING:
    from collabd.hub.hub import Hub

_WS: Final = "orchestrator_websocket"
_CLOSE_CLASSES: Final = (*map(close_class, CLOSE_CODES), close_class(None), OTHER, POLLING_STOPPED)


class Exposition:
    """Answers scrapes from a registry (a new one where none is given)."""

    def __init__(self, hub: Hub, registry: CollectorRegistry | None = None) -> None:
        self._hub = hub
        self._registry = registry or CollectorRegistry()
        self._collector = HubCollector(hub)
        self._registry.register(self._collector)
        _Process(registry=self._registry)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The figures in the text format that an Accept header asks for, and its content type."""
        self._collector.overview = await take_overview(self._hub)
        self._collector.span = await _span(self._hub)
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Process(ProcessCollector):
    """The figures of the process, without /proc/stat: in a sandbox (ProcSubset=pid) it is not there."""

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class HubCollector(Collector):
    """Reads the hub's figures. `overview` is taken before each scrape, since that gives other tasks their turn."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.overview: Overview | None = None
        self.span = Span(None, None)

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known, and registering must not look at the hub."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every figure of collabd.figures but those of the process."""
        yield from self._counters()
        yield from self._histograms()
        if self.overview is not None:
            yield from self._sessions(self.overview)
        yield from self._server()

    def _counters(self) -> Iterator[Metric]:
        counters = self._hub.counters
        event_types = (*self._hub.intake.kinds, CURSOR_MOVE, OTHER)
        yield _counter(f"{_WS}_connections_total", {name: counters.connections[name] for name in TRANSPORTS})
        yield _counter(f"{_WS}_disconnections_total", {name: counters.disconnections[name] for name in _CLOSE_CLASSES})
        yield _counter(f"{_WS}_reconnections_total", counters.reconnections)
        yield _counter(f"{_WS}_messages_in_total", {name: counters.messages_in[name] for name in event_types})
        yield _counter(f"{_WS}_messages_out_total", counters.messages_out)
        yield _counter(f"{_WS}_message_failures_total", counters.message_failures)
        yield _counter(f"{_WS}_messages_refused_total", {code: counters.refused[code] for code in ERROR_TABLE})
        yield _counter(f"{_WS}_fallback_http_total", counters.fallbacks)
        yield _counter("orchestrator_limited_total", {limit: counters.limited[limit] for limit in LIMITS})

    def _histograms(self) -> Iterator[Metric]:
        counters = self._hub.counters
        yield _histogram(f"{_WS}_message_latency", counters.latency)
        yield _histogram("orchestrator_commit_latency_seconds", counters.commit_latency)
        yield _histogram("orchestrator_group_commit_events", counters.commit_events)
        yield _histogram("orchestrator_event_loop_lag_seconds", counters.loop_lag)

    def _sessions(self, overview: Overview) -> Iterator[Metric]:
        yield _gauge(f"{_WS}_active_connections", overview.transports)
        yield _gauge(f"{_WS}_active_runs", overview.runs)
        yield _gauge(f"{_WS}_connection_quality", overview.quality)
        yield _gauge(f"{_WS}_delivery_rate", overview.delivery_rate)
        yield _gauge(f"{_WS}_health_status", overview.statuses)
        yield _gauge(f"{_WS}_queued_client_messages", overview.queued_messages)
        yield _gauge(f"{_WS}_outbox_bytes", overview.outbox_bytes)

    def _server(self) -> Iterator[Metric]:
        hub = self._hub
        yield _gauge("orchestrator_log_head", max((run.ring.head for run in hub.runs.values()), default=0))
        yield _gauge("orchestrator_storage_available", 0 if hub.committer.storage_error else 1)
        disk = hub.store.disk_usage()
        yield _gauge("orchestrator_database_bytes", disk.database_bytes + disk.wal_bytes)
        yield _gauge("orchestrator_wal_bytes", disk.wal_bytes)
        yield _gauge("orchestrator_disk_free_bytes", disk.free_bytes)
        yield _gauge("orchestrator_oldest_event_timestamp_seconds", _seconds(self.span.oldest_at))
        yield _gauge("orchestrator_newest_event_timestamp_seconds", _seconds(self.span.newest_at))
        yield _gauge("orchestrator_build_info", {__version__: 1})


async def _span(hub: Hub) -> Span:
    try:
        return await hub.store.span()
    except StorageUnavailable:
        # A disk that cannot be read is told by other figures; a scrape that fails would take those away too.
        return Span(None, None)


def _seconds(milliseconds: int | None) -> float:
    return math.nan if milliseconds is None else milliseconds / 1000


_Values = float | Mapping[str, float]


def _counter(name: str, values: _Values) -> Metric:
    return _filled(CounterMetricFamily(name, BY_NAME[name].meaning, labels=BY_NAME[name].labels), values)


def _gauge(name: str, values: _Values) -> Metric:
    return _filled(GaugeMetricFamily(name, BY_NAME[name].meaning, labels=BY_NAME[name].labels), values)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: _Values) -> Metric:
    if isinstance(values, Mapping):
        for label, value in values.items():
            family.add_metric([label], value)
    else:
        family.add_metric([], values)
    return family


def _histogram(name: str, histogram: Histogram) -> Metric:
    bounds = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    family = HistogramMetricFamily(name, BY_NAME[name].meaning)
    family.add_metric([], list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)
    return family
