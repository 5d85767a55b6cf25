"""All runs, and what they share: the store, the committer, the counters, the clock.

Law of this file: it makes runs on first use and closes idle ones; everything that happens inside a run is the run's.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import trio

from collabd.auth import Authenticator, OpenDoor
from collabd.config import Config, is_loopback, parse_address
from collabd.hub.committer import Committer
from collabd.hub.connection import Connection
from collabd.hub.credentials import Credentials
from collabd.hub.health import HealthRecords, SessionHealth
from collabd.hub.heartbeat import Heartbeat
from collabd.hub.history import History, moment
from collabd.hub.limits import RateLimits
from collabd.hub.listing import StoredRuns
from collabd.hub.older import OlderChunks
from collabd.hub.ring import RingBudget
from collabd.hub.run import Loaded, Run
from collabd.hub.tick import Tick
from collabd.hub.turnstile import Turnstile
from collabd.metrics import Counters
from collabd.protocol import close_codes
from collabd.protocol.addresses import Proxies
from collabd.protocol.codec import control_payload, json_string, text_frame
from collabd.protocol.hosts import KnownHosts
from collabd.protocol.messages import Intake, state_place
from collabd.store.interface import RunHead, Store

logger = logging.getLogger("collabd.hub")

_JANITOR_INTERVAL: Final = 5.0
_user_json: Final = lru_cache(maxsize=4096)(json_string)


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _known_hosts(config: Config) -> KnownHosts:
    server = config.server
    names = (parse_address(server.bind)[0], urlsplit(server.public_url).hostname or "", *server.allowed_hosts)
    return KnownHosts(names, is_local=is_loopback(server.bind))


class Hub:
    """The runs of one daemon. `now_ms` and `random` are given so that tests decide them."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        counters: Counters | None = None,
        authenticator: Authenticator | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
        random: Random | None = None,
    ) -> None:
        self.config = config
        self.store = store
        self.counters = counters or Counters()
        self.authenticator = authenticator or OpenDoor()
        self.credentials = Credentials(self)
        self.rate_limits = RateLimits(config.limits, self.counters)
        self.proxies = Proxies(config.server.trusted_proxies)
        self.known_hosts = _known_hosts(config)
        self.names_are_free = config.auth.mode == "open"
        self.now_ms = now_ms
        self.random = random or Random()
        self.intake = Intake(
            critical=config.events.critical_event_types,
            persisted=config.events.persisted_event_types,
            state_keys=config.events.state_keys,
        )
        self.tick = Tick()
        self.committer = Committer(store, self.counters, self.tick)
        self.stored_runs = StoredRuns(store)
        self.turnstile = Turnstile()
        self.health = HealthRecords()
        self.heartbeat = Heartbeat(config.websocket.heartbeat_interval_s, self.random)
        self.history = History(moment(self.counters, None, at=now_ms(), steady=trio.current_time()))
        self.ring_budget = RingBudget(config.storage.ring_bytes_total)
        self.older_chunks = OlderChunks()
        self.runs: dict[str, Run] = {}
        self.connection_count = 0
        self.polling_count = 0
        self.waiting_polls = 0
        self.draining = False
        self.everyone_left = trio.Event()
        self.connections_by_address: dict[str, int] = {}
        self._opening: dict[str, trio.Event] = {}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

    # Small services for runs

    user_json = staticmethod(_user_json)

    @staticmethod
    def raw(text: bytes) -> msgspec.Raw:
        """JSON text to be put into a message as it is."""
        return msgspec.Raw(text)

    def state_place(self, event_type: str, data: bytes) -> tuple[str, str] | None:
        """The (type, key value) whose newest event is kept when trimmed, None for an event that is no state."""
        return state_place(self.intake.kinds, event_type, data)

    def log_fault(self, what: str, error: Exception) -> None:
        """Say in the log what went wrong on our side."""
        logger.error("%s: %s", what, error)

    def last_activity(self, record: SessionHealth) -> int:
        """When a session was last heard (milliseconds since 1970)."""
        run = self.runs.get(record.run_id)
        session = None if run is None else run.attendance.present(record.session_id)
        if session is None or session.connection is None:
            return record.last_activity
        return self.last_heard_ms(session.connection)

    def last_heard_ms(self, connection: Connection) -> int:
        """When the last byte of a connection came (milliseconds since 1970)."""
        return self.now_ms() - round((trio.current_time() - connection.last_heard) * 1000)

    def take_round_trip(self, record: SessionHealth, milliseconds: float) -> None:
        """Take one measured round trip of a session."""
        self.counters.latency.observe(milliseconds / 1000)
        record.add_latency(milliseconds, self.now_ms())

    def connection_left(self) -> None:
        """A session's WebSocket is gone."""
        self.connection_count -= 1
        if not self.connection_count:
            self.everyone_left.set()
            self.everyone_left = trio.Event()

    def reconfigure(self, config: Config) -> None:
        """Take over what may change while runs are open (service/reload.py says what that is)."""
        self.config = config
        self.rate_limits.change(config.limits)
        for run in self.runs.values():
            for session in run.attendance.sessions():
                if session.connection is not None:
                    session.connection.rates = self.rate_limits.of_session(session.connection.address)

    def new_session_id(self) -> str:
        """An unguessable id."""
        return secrets.token_urlsafe(18)

    # Life

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Hub]:
        """Run the hub's tasks for as long as the block lasts; leaving it ends them without waiting for peers."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.committer.run)
            nursery.start_soon(self._close_idle_runs)
            nursery.start_soon(self.credentials.run)
            nursery.start_soon(self.heartbeat.run)
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()

    async def open_run(self, run_id: str, *, create: bool) -> Run | None:
        """The run, loaded from the store on first use; None for one that is unknown and is not to be made.

        It is the one that is in use at the instant of the answer. Raises StorageUnavailable and DamagedEvent.
        """
        while True:
            run = self.runs.get(run_id)
            if run is not None:
                run.last_used = trio.current_time()
                return run
            opening = self._opening.get(run_id)
            if opening is not None:
                await opening.wait()
                continue
            opened = self._opening[run_id] = trio.Event()
            try:
                if await self._load(run_id, create) is None:
                    return None
            finally:
                del self._opening[run_id]
                opened.set()

    async def _load(self, run_id: str, create: bool) -> Run | None:
        # A run that failed may still have a commit under way, which this one must not miss.
        await self.committer.wait_settled(run_id)
        head = await self.store.head(run_id)
        if head is None:
            if not create or not self.config.runs.auto_create:
                return None
            head = RunHead(run_id, self.now_ms(), 0, 1)
        loaded = Loaded(head, [], b"", [])
        if head.head:
            loaded = Loaded(
                head,
                await self.store.read_newest(run_id, max_bytes=self.config.storage.ring_bytes_per_run),
                await self.store.critical_flags(run_id),
                await self.store.run_state(run_id),
            )
        assert self._nursery is not None, "the hub is not running"
        run: Run = await self._nursery.start(self._serve_run, loaded)
        return run

    async def _serve_run(self, loaded: Loaded, task_status: trio.TaskStatus[Run]) -> None:
        run_id = loaded.head.run_id
        run: Run | None = None
        try:
            async with trio.open_nursery() as nursery:
                run = Run(self, loaded, nursery)
                run.start_tasks()
                self.runs[run_id] = run
                self._scopes[run_id] = nursery.cancel_scope
                task_status.started(run)
        except Exception:
            # One run's fault must not take the others down: its clients come back and it is loaded afresh.
            logger.exception("run %s failed and is closed", run_id)
        finally:
            if run is not None:
                self._forget(run)

    def _forget(self, run: Run) -> None:
        if run.is_closed:
            return
        run.is_closed = True
        self.committer.abandon(run)
        run.older.forget(None)
        if self.runs.get(run.run_id) is run:
            del self.runs[run.run_id]
            del self._scopes[run.run_id]
        self.ring_budget.release(run.ring)
        for session in run.attendance.sessions():
            if session.connection is not None:
                session.connection.close(close_codes.SERVER_FAULT, "the run was closed")
            self.health.went(session.health, self.now_ms())
        self.polling_count -= run.attendance.polling_count
        run.wake_polls()

    def fail_run(self, run: Run) -> None:
        """Close a run whose memory can no longer be trusted; the log is the truth, and it is loaded from there."""
        logger.exception("run %s failed and is closed", run.run_id)
        scope = self._scopes.get(run.run_id)
        if self.runs.get(run.run_id) is run and scope is not None:
            scope.cancel()
            self._forget(run)

    async def _close_idle_runs(self) -> None:
        while True:
            await trio.sleep(_JANITOR_INTERVAL)
            deadline = trio.current_time() - self.config.runs.idle_close_s
            for run in list(self.runs.values()):
                if run.last_used <= deadline and run.is_idle():
                    scope = self._scopes[run.run_id]
                    self._forget(run)
                    scope.cancel()

    # Stopping

    async def drain(self, timeout_s: float) -> None:
        """Commit and tell what waits, then ask every session to come back later, within `timeout_s` seconds.

        From the first instant on new joins are refused (admission reads `draining`). What sessions go on sending is not
        waited for, or a busy server would never come to saying goodbye.
        """
        self.draining = True
        with trio.move_on_after(timeout_s):
            for run in self.runs.values():
                run.wake_polls()
            with trio.move_on_after(timeout_s / 2):
                await self.committer.wait_told()
            for run in list(self.runs.values()):
                self._say_goodbye(run)
            await self.committer.wait_idle()
            while self.connection_count:
                await self.everyone_left.wait()

    def _say_goodbye(self, run: Run) -> None:
        latest = min(30_000, 2_000 + 2 * (self.connection_count + self.polling_count))
        for session in run.attendance.sessions():
            if session.connection is not None:
                data: dict[str, Any] = {"retryAfterMs": self.random.randint(500, latest)}
                run.fanout.finish(session.connection, text_frame(control_payload("DRAIN", data)))
                session.connection.close(close_codes.RESTART, "server restart")
