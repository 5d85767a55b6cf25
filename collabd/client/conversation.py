"""What is said on one WebSocket after its WELCOME, until it ends.

Law of this file: Trio tasks that move messages between the link and the engine's pure parts (docs/client-behaviour.md
R13 to R21, R33, R35, R52, R82, R85). The task that watches never writes and never asks the application: a peer that
stops reading, or a token function that never returns, must not keep it from ending the connection.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import trio

from collabd.client.engine import Engine
from collabd.client.errors import ServerBusy, ServerUnreachable, TokenUnavailable
from collabd.client.link import Link, LinkEnded
from collabd.client.liveness import Liveness
from collabd.client.messages import Refusal, dump, field, parse_object, read_answer, read_event
from collabd.client.outbox import Outcome
from collabd.client.pulse import Pulse
from collabd.client.reconnect import OWN_WILL, Ending
from collabd.client.settings import CLOSE_TIMEOUT_S, CURSOR_INTERVAL_S


class Conversation:
    """One WebSocket's life from WELCOME on. `drop` ends it at once, for the reason given."""

    def __init__(self, engine: Engine, link: Link, liveness: Liveness, drop: Callable[[Ending], None]) -> None:
        self._engine = engine
        self._link = link
        self._live = liveness
        self._drop = drop
        self._due = Pulse()  # something may be due sooner than it was
        self._renewing = False
        self._leaving: trio.Event | None = None
        self.is_stable = False
        self.rate_told_ms: int | None = None

    async def serve(self) -> None:
        """Send and receive until the link ends. Raises LinkEnded or Malformed."""
        tasks = (self._send_messages, self._send_cursors, self._send_what_is_due, self._renew_tokens)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            for task in tasks:
                nursery.start_soon(self._until_ended, task)
            try:
                while True:
                    self._take(parse_object(await self._link.receive()))
            except LinkEnded:
                if self._leaving is not None:  # the closing handshake still needs the link
                    await self._leaving.wait()
                raise
            finally:
                nursery.cancel_scope.cancel()

    async def leave(self) -> None:
        """Close as one who leaves for good (R34)."""
        self._leaving = trio.Event()
        await self._link.close(1000, CLOSE_TIMEOUT_S)
        self._leaving.set()

    async def _until_ended(self, task: Callable[[], Any]) -> None:
        """Run a task that writes; why the link ended is for the reader to find out, if it does so soon."""
        try:
            await task()
        except LinkEnded:
            await trio.sleep(CLOSE_TIMEOUT_S)
            self._lost("it could not be written to")

    def _lost(self, why: str) -> None:
        self._drop(Ending(ServerUnreachable(self._engine.url, why)))

    # Receiving

    def _take(self, message: dict[str, Any]) -> None:
        self._live.heard(trio.current_time())
        kind = field(message, "eventType", str)
        if kind in ("ACK", "ERROR"):
            self._take_answer(field(message, "data", dict))
        elif kind == "PONG":
            self._take_pong(field(message, "data", dict))
        elif kind == "DRAIN":
            self._live.drain(field(field(message, "data", dict), "retryAfterMs", int, 0) / 1000)
        elif kind == "AUTH_OK":
            self._take_auth_ok(field(message, "data", dict, {}))
        elif kind != "WELCOME":
            self._take_event(message)

    def _take_event(self, message: dict[str, Any]) -> None:
        was_whole = self._engine.intake.replay_is_whole
        self._engine.take_event(read_event(message))
        if not was_whole and self._engine.intake.replay_is_whole:
            self._live.ping_now()
            self._due.ring()

    def _take_answer(self, data: dict[str, Any]) -> None:
        engine = self._engine
        answer = read_answer(data)
        if isinstance(answer, Refusal):
            if answer.code == "rate_limited":
                self._note_rate(answer)
            if answer.code == "unauthorized":
                engine.credentials.renew_at = 0.0
                self._due.ring()
        if engine.take_answer(answer) is Outcome.GIVEN_UP:
            self._drop(OWN_WILL)

    def _note_rate(self, refusal: Refusal) -> None:
        self.rate_told_ms = refusal.retry_after_ms
        if refusal.client_message_id is None:
            wait_s = (refusal.retry_after_ms or 1000) / 1000
            self._engine.quiet_until = self._live.heard_at + wait_s
            self._engine.outbox.pause(self._engine.quiet_until)

    def _take_pong(self, data: dict[str, Any]) -> None:
        latency_ms = self._live.pong(field(data, "sentAt", int, -1))
        if latency_ms is not None:
            self._engine.latency_ms = latency_ms
            self._due.ring()
            self._engine.observed.ring()

    def _take_auth_ok(self, data: dict[str, Any]) -> None:
        expires_at = field(data, "expiresAt", int, None)
        self._renewing = False
        self._engine.credentials.accepted(None if expires_at is None else expires_at / 1000)
        self._engine.note_problem(None)
        self._due.ring()

    # Sending

    async def _send_messages(self) -> None:
        engine = self._engine
        async with engine.posting:  # a POST of the fallback is still out: its answers first (R71)
            pass
        while True:
            await engine.flush_queue_file()
            now = trio.current_time()
            message = None if self._live.drained_until is not None else engine.outbox.next_to_send(now)
            if message is None:
                wake_at = engine.outbox.wake_at(now)
                await engine.outbox_changed.wait(math.inf if wake_at is None else wake_at)
                continue
            engine.outbox.mark_sent(message, now)
            await self._link.send(message.text)

    async def _send_cursors(self) -> None:
        engine = self._engine
        while True:
            await engine.outbox_changed.wait_until(lambda: engine.has_cursor)
            await trio.sleep_until(engine.quiet_until)
            engine.has_cursor = False
            await self._send("CURSOR_MOVE", {"nodeId": engine.cursor})
            await trio.sleep(CURSOR_INTERVAL_S)

    async def _send_what_is_due(self) -> None:
        """Pings, and health."""
        live, engine = self._live, self._engine
        while True:
            now = trio.current_time()
            health_at = max(live.health_at, engine.quiet_until)
            if now >= live.next_ping_at:
                await self._ping(now)
            elif now >= health_at:
                live.reported(now)
                await self._send("CLIENT_HEALTH", engine.health().report())
            else:
                await self._due.wait(min(live.next_ping_at, health_at))

    async def _ping(self, now: float) -> None:
        sent_at = round(self._engine.outside.wall() * 1000)
        self._live.pinged(sent_at, now)
        position = self._engine.intake.position
        last = {} if position is None else {"lastSequence": position.sequence_number}
        await self._send("PING", {"sentAt": sent_at} | last)

    async def _renew_tokens(self) -> None:
        """AUTH with a new token before the old one ends (R52)."""
        credentials = self._engine.credentials
        while True:
            renew_at = credentials.renew_at
            if renew_at is None or self._renewing:
                await self._due.wait()
            elif trio.current_time() < renew_at:
                await self._due.wait(renew_at)
            else:
                await self._renew()

    async def _renew(self) -> None:
        try:
            token = await self._engine.credentials.renew()
        except TokenUnavailable as problem:  # the connection is as good as its token still is
            self._engine.note_problem(problem)
            return
        if token is None:  # there is no function
            self._engine.credentials.renew_at = None
            return
        self._renewing = True
        await self._send("AUTH", {"token": token})

    async def _send(self, event_type: str, data: dict[str, Any]) -> None:
        await self._link.send(dump({"eventType": event_type, "data": data}))

    # Watching

    async def _watch(self) -> None:
        """See that the connection is dead, or good, because time passed."""
        while True:
            now = trio.current_time()
            if self._live.look(now, self._engine.wall_ahead()):
                self._due.ring()
            self._note_stability(now)
            self._drop_if_dead(now)
            await trio.sleep(self._live.look_again_in_s())

    def _note_stability(self, now: float) -> None:
        if not self.is_stable and self._live.is_stable(now):
            self.is_stable = True
            self._engine.reconnection.became_stable()

    def _drop_if_dead(self, now: float) -> None:
        why = self._live.why_dead(now, self._engine.outbox.unanswered_since())
        wait_s = self._live.drain_left_s(now)
        if why is not None:
            self._lost(why)
        elif wait_s is not None and self._live.waited_for_close(now):
            self._drop(Ending(ServerBusy("it restarts", wait_s), counts=False, wait_s=wait_s, wait_is_all=True))
